"""What a run reaches: a counterexample may not choose the states, nor the parameter after the first step.

Premises that fix a name are put into the sentence itself. Those about numbers that never change (`given β == 0`), and
functions that are defined, hold in the steps before as well; what is said of this step (`given t == 2`, `given m == 0`)
is an equation that the run has to fulfil when it gets there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

from dotopt.compiler.ir import TIME, Node, Program, node, number, substitute
from dotopt.compiler.prove.statements.run import Step, any_step, first_step, moves, steps
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.prove.statements.unroll import state_leaves

LATEST = 16  # the last step that a premise `t == k` may ask for
TIMED = 6  # the steps that are looked at where a sentence speaks of t

Form = tuple[tuple[Node, ...], Node]  # premises and a goal


def every_step(case: Case) -> Case:
    """The case with those premises only that speak of every step: also what they put in, and functions they define."""
    return replace(
        case,
        premises=[p for p in case.premises if not moves(p)],
        substitutions=[table for table in case.substitutions if not _of_this_step(table)],
        functions={
            name: (variable, body)
            for name, (variable, body) in case.functions.items()
            if not moves(substitute(body, {variable: number(0)}))
        },
    )


def _of_this_step(table: dict[Node, Node]) -> bool:
    return any(moves(here) for pair in table.items() for here in pair)


def hangs_on_time(case: Case) -> bool:
    """Whether a premise says which step it is, other than the first."""
    written = (*case.premises, *(here for table in case.substitutions for pair in table.items() for here in pair))
    return not case.at_start and any(TIME in set(here.walk()) for here in written)


def given_at(case: Case, table: dict[Node, Node]) -> tuple[Node, ...] | None:
    """What premises that hold in every step say of the step in which the leaves are what the table says.

    None if one of them is false there.
    """
    put_in = (node("eq", *pair) for fixed in case.substitutions for pair in fixed.items())  # of this step's inputs too
    written = [case.settle(substitute(p, table)) for p in (*case.premises, *case.point_premises, *put_in)]
    if any(p.op == "bool" and not p.attrs[0] for p in written):
        return None
    return tuple(p for p in written if p.op != "bool")


@dataclass(frozen=True)
class Reached:
    """The steps of a program, with what standing premises put into it, and the equations of the step in question."""

    program: Program
    fixed: tuple[tuple[Node, Node], ...] = ()
    readable: bool = True  # whether it can be said what the steps before do

    @property
    def asked(self) -> int | None:
        """The step that a premise `t == k` names."""
        return next((int(k) for name, body in self.fixed if name is TIME and (k := body.value) is not None), None)

    def nodes(self, count: int) -> frozenset[Node]:
        """What the rule computes in its first steps."""
        return frozenset(
            here for m in steps(self._begin, count) for root in self.program.roots for here in m.written(root).walk()
        )

    @property
    def _begin(self) -> Step:
        """The first step of a run in which every step has its own sample."""
        return replace(first_step(self.program, fold), renewed=any_step(self.program, fold).renewed)

    def last(self, premises: Sequence[Node]) -> int | None:
        """The last step that premises such as `t == 3` and `t <= 3` allow, if they say one."""
        bounds = [
            floor(high.value) if p.op in ("le", "ge") else ceil(high.value) - 1
            for p in premises
            if p.op in ("le", "lt", "ge", "gt")
            for low, high in [p.args if p.op in ("le", "lt") else p.args[::-1]]
            if low is TIME and high.value is not None
        ]
        return self.asked if self.asked is not None else min(bounds, default=None)

    def written_out(self, premises: Sequence[Node], goal: Node, last: int) -> list[Form]:
        """The sentence in the steps up to the last one that premises allow, for proofs."""
        return list(self._instants(premises, goal, steps(self._begin, last)))

    def forms(self, premises: Sequence[Node], goal: Node, count: int) -> list[Form]:
        """The sentence in steps that a run can reach; as it stands if it reads nothing that steps change."""
        put_in = [here for pair in self.fixed for here in pair] if self.asked != 1 else []
        states = state_leaves([*premises, goal, *put_in])
        timed = any(here is TIME or here.op == "fires" for root in (*premises, goal) for here in root.walk())
        asked = self.asked
        moving = any(here.role == "param" for root in (*premises, goal) for here in root.walk())
        if not states and not (moving and self.program.next and (timed or asked not in (None, 1))):
            return [(tuple(premises), goal)]
        if not self.readable or {x.name for x in states} - {x.name for x in self.program.states}:
            return []  # a state that no equation reads is not in the program, so its values are not known
        if asked is not None:
            count = min(asked, LATEST)
        elif timed:
            count = max(count, TIMED)
        return list(self._instants(premises, goal, steps(first_step(self.program, fold), count)))

    def _instants(self, premises: Sequence[Node], goal: Node, moments: Iterator[Step]) -> Iterator[Form]:
        for moment in moments:
            written = [moment.written(here) for here in (*premises, goal)]
            waiting = [(moment.written(name), moment.read(body)) for name, body in self.fixed]
            equations: list[Node] = []
            while waiting:
                name, body = waiting.pop(0)
                if name.op == "leaf" and name.role != "const" and name not in set(body.walk()):
                    put = {name: body}
                    written = [substitute(here, put) for here in written]
                    equations = [substitute(here, put) for here in equations]
                    waiting = [(substitute(x, put), substitute(y, put)) for x, y in waiting]
                else:
                    equations.append(node("eq", name, body))
            given = [fold(here) for here in (*written[:-1], *equations)]
            if not any(here.op == "bool" and not here.attrs[0] for here in given):
                yield tuple(here for here in given if here.op != "bool"), written[-1]


def reached(case: Case) -> Reached:
    """What a run of the rule reaches under the premises of the case."""
    standing = every_step(case)
    fixed = tuple(
        pair
        for table in case.substitutions
        if _of_this_step(table)
        for pair in table.items()
        if pair[0].op == "leaf"  # answers of functions that are fixed at a point are premises of their own
    )
    program = case.program.mapped(standing.settle)
    return Reached(program, fixed, set(standing.functions) == set(case.functions))


__all__ = ["LATEST", "Form", "Reached", "every_step", "given_at", "hangs_on_time", "reached"]
