"""Every message, as users see it: a file for each code in `errors/`, with its transcript beside it."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path

import pytest

from dotopt.compiler.emit.torch.supported import supported
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.resolve import resolve
from dotopt.compiler.text.errors import Diagnostic, OptError
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.messages import MESSAGES, manual
from dotopt.compiler.text.read import read
from dotopt.compiler.text.render import apply, render, render_all, to_json
from dotopt.compiler.text.source import Source
from dotopt.runtime.report.checking import check

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "errors"
FILES = sorted(path for path in FOLDER.glob("*.opt") if path.name[0] in "EW")

# Codes that no file in a folder can show: these have tests of their own, in test_bad_input.py, test_loading.py and
# test_precision.py.
ELSEWHERE = {"E511", "E901", "E902", "E904", "E905", "E602", "E603", "E604", "E605"}
# Codes that nothing raises so far. A code leaves the list, and gets a file, with the pass that raises it.
NOT_RAISED = {
    "E305", "E306", "E310", "E402", "E403", "E404", "E405", "W301", "W302", "W303",
    "W402",
}  # fmt: skip


@cache
def diagnostics(path: Path) -> tuple[Diagnostic, ...]:
    """All that `check` says about a file, and for E6 what the compiler says."""
    report = check(path)
    found = (*report.errors, *report.warnings)
    if found or not path.stem.startswith("E6"):
        return found
    try:
        supported(lower(parse(read(path)), Static(), Library(path.parent)))
    except OptError as error:
        return error.diagnostics
    return ()


def transcript(path: Path) -> str:
    text = render_all(diagnostics(path))
    for folder in (FOLDER, ROOT / "dotopt", ROOT):
        text = text.replace(f"{folder}{os.sep}", "")
    return text + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript(path: Path, update_golden: bool) -> None:
    """The diagnostics of the file are those of its transcript, and the first has the code of its name."""
    shown = transcript(path)
    expected = path.with_suffix(".txt")
    if update_golden:
        expected.write_text(shown, encoding="utf-8")
    assert shown == expected.read_text(encoding="utf-8")
    assert diagnostics(path)[0].code == path.stem.split("_")[0]


def test_every_code_has_a_file() -> None:
    shown = {path.stem.split("_")[0] for path in FILES}
    assert shown <= set(MESSAGES)
    assert set(MESSAGES) - shown == ELSEWHERE | NOT_RAISED
    assert len(MESSAGES) >= 40


def test_what_is_raised_has_a_file() -> None:
    raised: set[str] = set()
    for folder in ("compiler", "runtime"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "messages.py":
                raised |= set(re.findall(r'"([EW]\d{3})"', path.read_text(encoding="utf-8")))
    assert raised <= set(MESSAGES)
    assert set(MESSAGES) - raised == NOT_RAISED


def test_no_transcript_without_its_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FILES}


def test_every_code_is_explained() -> None:
    for code, message in MESSAGES.items():
        assert message.why.endswith((".", "?")), code
        assert len(message.why) > 20, code


def test_the_manual_is_up_to_date(update_golden: bool) -> None:
    path = ROOT / "docs" / "errors.md"
    text = manual(FOLDER)
    if update_golden:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


OFFERS = [path for path in FILES if any(found.edit for found in diagnostics(path))]


@pytest.mark.parametrize("path", OFFERS, ids=lambda path: path.stem)
def test_an_edit_removes_its_diagnostic(path: Path) -> None:
    text = read(path).text
    for found in diagnostics(path):
        if found.edit is None:
            continue
        repaired = Source(str(path), apply([found.edit], text))
        left = _front(repaired)
        assert (found.code, found.message) not in [(other.code, other.message) for other in left], repaired.text


def _front(source: Source) -> tuple[Diagnostic, ...]:
    try:
        return resolve(parse(source)).warnings
    except OptError as error:
        return error.diagnostics


def test_edits_are_offered_where_one_repair_is_obvious() -> None:
    """Syntax errors and misspelt names come with an edit in most cases."""
    assert len(OFFERS) >= 50


def test_no_message_leaks_the_machine() -> None:
    """Messages speak of the file, not of tokens, terminals or classes of the compiler."""
    for path in FILES:
        for found in diagnostics(path):
            said = f"{found.message} {found.help or ''} {found.remark} {' '.join(found.notes)}"
            assert not re.search(r"Token|__ANON|LPAR|RSQB|\bNone\b|Traceback|dotopt\.compiler", said), said


def test_json_has_offsets_for_editors() -> None:
    path = FOLDER / "E101_juxtaposed.opt"
    (found,) = diagnostics(path)
    plain = to_json(found)
    text = read(path).text
    assert json.loads(json.dumps(plain)) == plain
    assert plain["code"] == "E101" and plain["severity"] == "error" and plain["line"] == 9
    edit = plain["edit"]
    assert isinstance(edit, dict)
    repaired = text[: edit["start_offset"]] + edit["text"] + text[edit["end_offset"] :]
    assert "m' = β*m + (1 - β)*g" in repaired


def test_columns_are_those_of_the_terminal() -> None:
    """Combining marks take no column, wide characters two, tabs go to the next stop."""
    text = "rule A\nobjective f\nparam x : real[...]\nm̂ = 1\n中 = 2\nx' = x - m̂*中*\tq*∇f(x)\n"
    with pytest.raises(OptError) as caught:
        resolve(parse(Source("a.opt", text)))
    lines = render_all(caught.value.diagnostics).split("\n")
    shown, caret = lines[3], lines[4]
    assert shown == " 6 | x' = x - m̂*中*  q*∇f(x)"
    # m̂ is two characters in one column, 中 one character in two
    assert caret.index("^") == shown.index("q")


def test_colours_change_nothing_else() -> None:
    for path in FILES:
        for found in diagnostics(path):
            painted = render(found, color=True)
            assert "\033[" in painted
            assert re.sub(r"\033\[[\d;]*m", "", painted) == render(found)


def test_more_than_ten_are_counted() -> None:
    names = [f"unknown_{letter}" for letter in "abcdefghijklm"]
    lines = "\n".join(f"y_{i} = {name}" for i, name in enumerate(names))
    text = f"rule A\nobjective f\nparam x : real[...]\n{lines}\nx' = x - ∇f(x)\n"
    with pytest.raises(OptError) as caught:
        resolve(parse(Source("a.opt", text)))
    assert len(caught.value.diagnostics) == 10
    assert render_all(caught.value.diagnostics * 2).endswith("… and 10 more")


@pytest.mark.parametrize("folder", ["tests/worked", "stdlib"])
def test_the_corpus_resolves_without_complaint(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.opt")):
        symbols = resolve(parse(read(path)))
        assert symbols.warnings == (), path.name
