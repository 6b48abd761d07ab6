"""Every example of the documentation is compiled, and every generated part of it is what the tool makes today."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dotopt.compiler.analysis import ranges, units
from dotopt.compiler.emit.text.format import format_text
from dotopt.compiler.lower import lower
from dotopt.compiler.parse import parse
from dotopt.compiler.resolve import resolve
from dotopt.compiler.resolve.builtins import FUNCTIONS
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.source import Source
from dotopt.grammar.files import file_name
from dotopt.runtime.loading.load import load

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = re.compile(r"^```opt([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str, str]]:
    """(title, expected code or nothing, text) of each `opt` block of the manual and the README."""
    found = []
    for page in ("docs/language.md", "docs/nested.md", "README.md"):
        for block in EXAMPLE.finditer((ROOT / page).read_text(encoding="utf-8")):
            head = re.search(r"^(?:rule|formula|transform|theorem) (\w+)", block[2], re.MULTILINE)
            assert head, f"an example of {page} without a head: {block[2][:80]}"
            found.append((head[1], block[1].strip(), block[2]))
    return found


def compiled(text: str) -> str:
    """The code of the first error; empty if there is none."""
    try:
        file = parse(Source("example.opt", text))
        resolve(file)
        program = lower(file)
        if errors := (*ranges.check(program), *units.check(program, file)):
            raise OptError(*errors)
    except OptError as error:
        return error.diagnostics[0].code
    return ""


@pytest.mark.parametrize(("title", "code", "text"), examples(), ids=[title for title, _, _ in examples()])
def test_example(title: str, code: str, text: str) -> None:
    assert compiled(text) == code


def test_examples_without_errors_raise_no_warning_and_are_in_house_style() -> None:
    for title, code, text in examples():
        if not code:
            assert not resolve(parse(Source("example.opt", text))).warnings, title
            assert format_text(text) == text, title


def test_every_example_loads_unless_the_manual_says_otherwise(tmp_path: Path) -> None:
    """What the page lists as not compiled yet may be compiled one day; what it does not list must be."""
    text = (ROOT / "docs/language.md").read_text(encoding="utf-8")
    listed = re.search(r"<!-- not compiled: (.*?) -->", text)
    assert listed is not None
    refused = set()
    for title, code, source in examples():
        if code:
            continue
        path = tmp_path / file_name(title)
        path.write_text(source, encoding="utf-8")
        try:
            assert hasattr(load(path), title)
        except OptError as error:
            assert error.diagnostics[0].code in ("E601", "E606"), title  # E606: a theorem
            refused.add(title)
    assert refused <= set(listed[1].split(", "))


def test_the_page_on_nested_learning_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python, from top to bottom, next to its first file, which is ten lines and a sentence."""
    text = (ROOT / "docs/nested.md").read_text(encoding="utf-8")
    first = EXAMPLE.search(text)
    assert first is not None and len(first[2].strip().splitlines()) == 11
    (tmp_path / "deltanet.opt").write_text(first[2], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    for block in blocks:
        exec(compile(block, "docs/nested.md", "exec"), names)
    assert "by_hand" in names and "loss" in names


def test_the_page_on_kinds_runs() -> None:
    text = (ROOT / "docs/kinds.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/kinds.md", "exec"), {})


def test_there_are_examples_of_success_and_failure() -> None:
    codes = [code for _, code, _ in examples()]
    assert codes.count("") >= 20
    assert len({code for code in codes if code}) >= 10


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    """Links inside the page lead to a heading, relative ones to a file."""
    text = (ROOT / page).read_text(encoding="utf-8")
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    prose = re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith(("http", "mailto:")):
            assert (ROOT / page).parent.joinpath(target.split("#")[0]).exists(), target


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", generator().PAGES)
def test_generated_parts_are_current(page: str) -> None:
    """`python docs/generate.py` would change nothing."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert ": generated -->" in text
    assert generator().fill(text) == text


def test_every_built_in_function_is_in_the_manual() -> None:
    assert generator().built_in_names() == set(FUNCTIONS)


def test_every_rule_of_the_library_is_in_the_readme() -> None:
    from dotopt.runtime.loading.catalogue import names

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in names() if f"[{name}](stdlib/" not in text] == []


SCRIPTS = sorted(path for path in (ROOT / "examples").glob("*.py") if path.stem != "figure")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_examples_run(script: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "error", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
