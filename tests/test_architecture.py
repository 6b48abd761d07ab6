"""ARCHITECTURE.md holds: the chain of stages, the rooms, the glossary, and the paths that it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PARSES_WHAT_IT_FINDS = "compiler/text/library.py"  # the one exception of the chain


def table(mark: str) -> list[list[str]]:
    """The cells of the rows of the table behind `<!-- mark -->`."""
    _, _, rest = PAGE.partition(f"<!-- {mark} -->\n")
    rows = rest.split("\n\n")[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


STAGES = [row[0].strip("`") for row in table("stages")]


def home(stage: str) -> Path:
    return ROOT / stage if stage in ("grammar", "runtime") else ROOT / "compiler" / stage


def stage_of(module: str) -> str | None:
    """The stage of a dotted name; None for what is none of dotopt."""
    parts = module.split(".")
    if parts[0] != "dotopt" or len(parts) < 2:
        return None
    return parts[2] if parts[1] == "compiler" and len(parts) > 2 else parts[1]


def imported(node: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and name of each import, in functions too, but for those that only type checkers see."""
    match node:
        case ast.Import(names=names):
            yield from ((node.lineno, name.name) for name in names)
        case ast.ImportFrom(module="dotopt.compiler" | "dotopt", names=names):
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in names)
        case ast.ImportFrom(module=str(module)):
            yield node.lineno, module
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            pass
        case _:
            for child in ast.iter_child_nodes(node):
                yield from imported(child)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_those_above_it(stage: str) -> None:
    above = STAGES[: STAGES.index(stage) + 1]
    found = {
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sorted(home(stage).rglob("*.py"))
        for line, module in imported(parsed(path))
        if (other := stage_of(module)) in STAGES and other not in above
        if path != ROOT / PARSES_WHAT_IT_FINDS or other != "parse"
    }
    assert found == set()


def test_every_room_is_a_stage() -> None:
    rooms = {path.parent.name for path in (ROOT / "compiler").glob("*/__init__.py")}
    assert rooms == set(STAGES) - {"grammar", "runtime"}
    assert [path.name for path in (ROOT / "compiler").glob("*.py")] == ["__init__.py"], "no file lies loose"
    rooms = {path.parent.name for path in (ROOT / "runtime").glob("*/__init__.py")}
    assert all(f"`{room}`" in PAGE for room in rooms)


def classes(stage: str) -> dict[str, list[str]]:
    """The public classes of a stage, with the modules that define them."""
    found: dict[str, list[str]] = {}
    for path in sorted(home(stage).rglob("*.py")):
        module = ".".join(path.relative_to(home(stage).parent).with_suffix("").parts)
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    return found


# `prove` has its own worlds and words; the runtime repeats the words of the compiler for what exists at run time
WITHIN = [stage for stage in STAGES if stage not in ("prove", "runtime")]
DEFINED = {stage: classes(stage) for stage in WITHIN}
SHARED = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in table("shared")}


@pytest.mark.parametrize("row", table("glossary"), ids=lambda row: row[0])
def test_a_type_of_the_glossary_is_defined_once(row: list[str]) -> None:
    word, type, sentence = row
    assert word and sentence
    if not type:
        return
    module, _, name = type.strip("`").rpartition(".")
    stage = module.split(".")[0]
    path = home(stage).parent.joinpath(*module.split(".")).with_suffix(".py")
    names = {getattr(node, "name", None) for node in parsed(path).body}
    assigned = [n.targets[0] for n in parsed(path).body if isinstance(n, ast.Assign)]
    names |= {target.id for target in assigned if isinstance(target, ast.Name)}
    assert name in names, f"{path.relative_to(ROOT)} defines no {name}"
    elsewhere = {m for defined in DEFINED.values() for m in defined.get(name, ())} - {module}
    assert {m.split(".")[0] for m in elsewhere} <= SHARED.get(name, set())


def test_classes_of_one_name_are_listed() -> None:
    """A new type takes a name that no stage has; one that gets a name of its own leaves the list."""
    found: dict[str, list[str]] = {}
    for defined in DEFINED.values():
        for name, modules in defined.items():
            found.setdefault(name, []).extend(modules)
    shared = {name: {m.split(".")[0] for m in modules} for name, modules in found.items() if len(modules) > 1}
    assert shared == SHARED


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_paths_of_a_page_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.(?:py|md|opt|lark))?)[ `]", text)
    missing = [
        path for path in named
        if not (ROOT / path).exists() and not (ROOT / "compiler" / path).exists()
    ]  # fmt: skip
    assert named and missing == []
