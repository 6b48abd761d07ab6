"""A claim with its options chosen: the program, the scope of its text, and its premises.

Equations among the premises that fix a name are put in wherever the claim is read (`given ε == 0`, `given t == 1`,
`given f(θ) == …`). `cases` makes these, `premises` fills them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial, reduce

from dotopt.compiler.calculus import gradient, jacobian_vector
from dotopt.compiler.ir import Node, Program, free_indices, instance, leaf, node, number, rebuild, substitute
from dotopt.compiler.lower import Context, Scope, value
from dotopt.compiler.prove.statements.expectation import expectations
from dotopt.compiler.prove.statements.simplify import clocked, fold
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library


class Unreadable(Exception):
    """The claim says something that the engine has no meaning for; the message says what."""


MOST_MEMBERS = 8  # of a family, for which sentences on all of them are written out


def few(elements: Node | None) -> list[int]:
    """The elements of a range between numbers, a few at most; empty for other sets."""
    if elements is None or elements.op != "range" or any(end.value is None for end in elements.args):
        return []
    first, last = (int(end.value or 0) for end in elements.args)
    return list(range(first, last + 1)) if last - first < MOST_MEMBERS else []


@dataclass(frozen=True)
class Recurrence:
    """`name[t + lead] = body` gives the values from the index `first` on."""

    lead: int
    body: Node
    first: int


@dataclass
class Case:
    """One choice of options and rank: the program, the scope of the claim, and the premises."""

    claim: s.Claim
    file: s.File
    program: Program
    context: Context
    scope: Scope
    library: Library
    options: dict[str, bool | str]
    rank: int | None
    premises: list[Node] = field(default_factory=list)
    substitutions: list[dict[Node, Node]] = field(default_factory=list)
    functions: dict[str, tuple[Node, Node]] = field(default_factory=dict)  # f -> (variable, body)
    recurrences: dict[str, Recurrence] = field(default_factory=dict)  # of sequences in the claim
    lemmas: list[Node] = field(default_factory=list)  # what is proved of every step
    begins: dict[str, int] = field(default_factory=dict)  # the first index of each sequence
    at_start: bool = False  # `given t == 1`
    point_premises: list[Node] = field(default_factory=list)  # equations that fix an answer at a point, as written
    asked: list[Node] = field(default_factory=list)  # oracles whose answer a premise fixes

    def value(self, expression: s.Expression) -> Node:
        """The node of an expression, with the premises that fix names put in, and means over draws taken."""
        here = value(self.context, expression, self.scope)
        return self.settle(expectations(here, self.context.randoms))

    def settle(self, here: Node) -> Node:
        """A node with the substitutions of the premises."""
        here = clocked(here)
        for table in self.substitutions:
            here = substitute(here, table)
        if self.functions:
            here = rebuild(here, self._defined)
            for table in self.substitutions:
                here = substitute(here, table)
        return fold(here)

    def _defined(self, here: Node) -> Node:
        """An oracle of a function that the premises define."""
        if here.op not in ("oracle", "apply") or here.attrs[0] not in self.functions:
            return here
        variable, body = self.functions[here.attrs[0]]
        what = here.attrs[1]
        first = here.attrs[3][0]
        point = here.args[first]
        match what:
            case "value" | "field" | 0:
                return substitute(body, {variable: point})
            case "gradient" | 1:
                return substitute(gradient(body, variable), {variable: point})
            case "hessian_vector":
                direction = leaf("free", "direction of the product", variable.type)
                product_ = jacobian_vector(gradient(body, variable), variable, direction)
                return substitute(product_, {variable: point, direction: here.args[-1]})
        return here

    @property
    def index_sets(self) -> dict[str, Node]:
        """What each index runs over, with what the premises fix put in: `i in 1..n` is 1..2 where `n == 2` is given."""
        return {name: self.settle(elements) for name, elements in self.context.index_sets.items()}

    def members(self, here: Node) -> Node:
        """A sentence for every value of its free indices that are known and few: the conjunction of its instances."""
        sets = self.index_sets
        for index in sorted(free_indices(here), key=lambda i: i.name):
            elements = few(sets.get(index.name))
            if elements:
                here = reduce(partial(node, "and"), [instance(here, {index: number(k)}) for k in elements])
        return self.settle(here)

    @property
    def standing(self) -> bool:
        """Whether the claim speaks of all steps, and its premises with it."""
        goals = [clause.goal for clause in self.claim.body if isinstance(clause, s.Show)]
        return bool(self.begins) or any(isinstance(goal, s.Holds) and goal.all_steps for goal in goals)

    @property
    def label(self) -> str:
        """The options and rank of the case, for the report."""
        parts = [f"{name} = {str(value).lower()}" for name, value in self.options.items()]
        return ", ".join(parts + ([f"rank = {self.rank}"] if self.rank is not None else []))


__all__ = ["Case", "Unreadable"]
