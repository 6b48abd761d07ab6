"""Every program of the library is well formed, and every row of the table can be broken."""

from __future__ import annotations

from contextvars import Context
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dotopt.compiler.ir import Fold, Loop, Node, leaf, node, number
from dotopt.compiler.ir.wellformed import TABLE, Malformed, after, check, check_node, checking
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.ops.attributes import Member, Number
from dotopt.compiler.ops.types import BOOL, REAL, Type
from dotopt.compiler.text.library import Library, load

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "stdlib").rglob("*.opt")) + sorted((ROOT / "tests" / "worked").glob("*.opt"))


@pytest.mark.parametrize("rank", [None, 1, 2])
def test_the_library_is_well_formed(rank: int | None) -> None:
    library = Library()
    for path in FILES:
        check(lower(load(path), Static({}, rank), library))


def forged(op: str, *args: Node, attrs: tuple[Any, ...] = (), type: Type = REAL) -> Node:
    """A node that `node` would not have made."""
    made = Node()
    made.op, made.args, made.attrs, made.type, made._hash = op, args, attrs, type, hash((op, args))
    return made


s, v, i = leaf("free", "s"), leaf("free", "v", Type("real", ("n",))), leaf("index", "i")
loop = leaf("loop", "z")
BROKEN: dict[str, Node] = {
    "the operation is one of the table of operations": forged("frobnicate", s),
    "a node is the one node of its operation, arguments and attributes": forged("add", s, s),
    "the type is the one that the rule of the operation gives": forged("add", v, s),
    "it has as many attributes as the table says": forged("sum", v, attrs=(("n",),)),
    "a leaf has a known role and a name": leaf("rolle", "x"),
    "a number is an exact fraction": forged("const", attrs=Number(0.5)),
    "a truth value is a bool": node("bool", attrs=("yes",)),
    "a comparison gives a proposition": forged("lt", s, s),
    "connectives take propositions": node("and", s, leaf("free", "p", BOOL)),
    "a choice is made by a proposition": node("select", s, s, s),
    "only axes of the argument are summed away": node("sum", v, attrs=(("m",), False)),
    "a loop has one start and one next value for each of its variables, which are loop leaves": node(
        "loop", number(3), s, s, attrs=(Loop((loop,), (loop,)),)
    ),
    "a fold binds at least one index": node("fold", node("range", number(1), number(2)), attrs=(Fold("sum", (), s),)),
    "an item is one that the tuple has": forged("item", node("tuple", s, s), attrs=Member(2)),
    "indices and points of a question are among its arguments": node(
        "oracle", s, attrs=("f", "value", None, (1, 1), REAL)
    ),
    "an inner problem is about a function of leaves": node("argmin", attrs=(s, None, (), REAL)),
}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.sentence)
def test_every_row_can_be_broken(row: Any) -> None:
    here = BROKEN[row.sentence]
    broken = not row.holds(here) if not row.ops or here.op in row.ops else False
    assert broken
    with pytest.raises(Malformed):
        check_node(here)


def test_programs() -> None:
    program = lower(load(ROOT / "stdlib" / "optimizers" / "lion.opt"))
    check(program)
    (state,) = program.states
    for spoiled, sentence in (
        (replace(program, states=()), "a state that is read is declared"),
        (replace(program, hypers=()), "a hyper that is read is declared"),
        (replace(program, states=(state, state)), "states have different names"),
        (replace(program, states=(replace(state, kind="frozen"),)), "a state starts with"),
        (replace(program, states=(replace(state, type=REAL),)), "the next value of m fits its type"),
        (replace(program, next={"y": number(1)}), "what moves is a parameter"),
        (replace(program, next={"x": loop}), "variables of a loop stay inside it"),
    ):
        with pytest.raises(Malformed, match=sentence):
            check(spoiled)


def test_passes_are_checked_only_when_asked() -> None:
    @after
    def spoil(root: Node) -> Node:
        return forged("add", root, root)

    Context().run(spoil, s)  # a fresh context: nothing is checked
    with checking(), pytest.raises(Malformed, match="a node is the one node"):
        spoil(s)
