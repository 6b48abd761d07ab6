"""A program split by the conditions that are one truth value for a whole step and decide what memory is touched.

`norm(h, over=model)` under `if G > 0` needs a pass of its own, but only with clipping; a state with a first value reads
as that value at `t == 1`. Such a choice is made before the step; each outcome is a program of its own, scheduled and
compiled when it first occurs. Other conditions are decided inside the kernel.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dotopt.compiler.ir import ENTRYWISE, TIME, Node, Program, State, node, number, rebuild
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.schedule.places import MATRIX, NUMBERS, Unsupported, order

FIRST_STEP = node("eq", TIME, number(1))
MOST = 4  # conditions of which every combination is looked at before the first step

_UNIFORM_ROLES = ("hyper", "time", "option", "rank", "const")


def conditions(program: Program) -> tuple[Node, ...]:
    """The conditions of `program` that are worth a program of their own, in the order of the text.

    They are those whose usual outcome touches less memory than the undecided program; the usual outcome of `t == 1` is
    that it is false. `t == 1` is always one of them where the value of a state before step 1 is computed in step 1.
    """
    shared = frozenset(state.name for state in program.states if state.shared)
    first = any(state.starts_late for state in program.states)
    found: dict[Node, None] = {FIRST_STEP: None} if first else {}
    for here in order(program.roots):
        if here.op == "select" and here.args[0] not in found and _uniform(here.args[0], shared):
            usual = (False,) if here.args[0] is FIRST_STEP else (False, True)
            if any(_touches(specialise(program, {here.args[0]: truth})) < _touches(program) for truth in usual):
                found[here.args[0]] = None
    return tuple(found)


def outcomes(conditions: Sequence[Node]) -> Iterator[dict[Node, bool]]:
    """What may come of the conditions in a step: every combination, the usual one first; of many, those near it."""
    for truth in itertools.product((False, True), repeat=len(conditions)):
        if len(conditions) <= MOST or sum(truth) <= 1:
            yield dict(zip(conditions, truth, strict=True))


def specialise(program: Program, truth: Mapping[Node, bool]) -> Program:
    """`program` where the conditions in `truth` have been decided; the branches not taken are gone.

    Raises `Unsupported` where a branch that is a number is left alone in a product of matrices.
    """
    if truth.get(FIRST_STEP) and any(state.starts_late for state in program.states):
        program = _at_first_step(program)

    def decide(here: Node) -> Node:
        if here.op == "select" and here.args[0] in truth:
            return here.args[1] if truth[here.args[0]] else here.args[2]
        return here

    try:
        return program.mapped(lambda root: rebuild(root, decide))
    except Mismatch:
        raise Unsupported("a product of matrices has a number in the place of a matrix, in one of the cases") from None


def _at_first_step(program: Program) -> Program:
    starts = {_leaf_of(state, program): state.start for state in program.states if state.starts_late}

    def settle(root: Node) -> Node:
        for _ in starts:  # a first value may read another one
            root = rebuild(root, lambda here: starts.get(here, here))
        return root

    firsts = tuple(
        replace(state, next=state.start) if state.starts_late and state.next is None else state
        for state in program.states
    )
    settled = replace(program, states=firsts).mapped(settle)
    return replace(settled, states=tuple(replace(state, kind="zero", start=number(0)) for state in settled.states))


def _leaf_of(state: State, program: Program) -> Node:
    for here in order(program.roots):
        if here.role == "state" and here.name == state.name:
            return here
    return node("leaf", attrs=("state", state.name, state.type))


def _uniform(condition: Node, shared: frozenset[str]) -> bool:
    """Whether `condition` is one truth value for all tensors, known before the step."""
    for here in order([condition]):
        if here.op == "leaf" and here.role not in _UNIFORM_ROLES and here.name not in shared:
            return False
        if here.op not in _SCALAR_OPS:
            return False
    return True


_SCALAR_OPS = NUMBERS | ENTRYWISE | {"leaf", "fires"}


@dataclass(frozen=True)
class _Touched:
    """The arrays that a step reads with the sums that it waits for, and how much matrix work it does."""

    arrays: frozenset[Node]
    matrix_work: Counter[str]

    def __lt__(self, other: _Touched) -> bool:
        return self.arrays <= other.arrays and self.matrix_work <= other.matrix_work and self != other


def _touches(program: Program) -> _Touched:
    nodes = list(order(program.roots))
    arrays = (here for here in nodes if here.op == "leaf" and here.role in ("param", "state") and here.type.axes)
    sums = (here for here in nodes if here.op in _WAITED_FOR)
    return _Touched(frozenset((*arrays, *sums)), Counter(here.op for here in nodes if here.op in MATRIX))


_WAITED_FOR = frozenset(["oracle", "sum", "mean", "amax", "amin", "norm", "std"])
