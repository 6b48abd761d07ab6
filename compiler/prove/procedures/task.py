"""What a sentence is decided under."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dotopt.compiler.ir import Node, Program
from dotopt.compiler.prove.forms.facts import Facts, facts_of
from dotopt.compiler.prove.forms.families import instances
from dotopt.compiler.prove.fuel import FAST
from dotopt.compiler.prove.statements.reached import Reached
from dotopt.compiler.prove.worlds.refute import Search


@dataclass
class Task:
    """Premises, and what else the procedures need to know about the rule."""

    premises: tuple[Node, ...]
    program: Program | None = None
    of_rule: frozenset[Node] = frozenset()  # nodes of the rule: its own quotients are taken as defined
    index_sets: dict[str, Node] = field(default_factory=dict)
    classes: dict[str, Any] = field(default_factory=dict)  # the user's functions with properties, for counterexamples
    reached: Reached | None = None  # what runs reach; None where nothing moves, or counterexamples may choose it
    points: tuple[Node, ...] = ()  # premises that the proofs have put in, for counterexamples
    fuel: float = FAST
    refute: bool = True  # whether to look for counterexamples
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        shared = frozenset(s.name for s in self.program.states if s.shared) if self.program else frozenset()
        randoms = self.program.randoms if self.program else ()
        chosen = tuple((r.name, r.args[0]) for r in randoms if r.law == "choose")
        self.facts = facts_of((*self.premises, *instances(self.premises, self.index_sets)), shared, chosen)

    def search(self, goal: Node) -> Search:
        """A search for numbers for which the premises hold and the goal fails."""
        premises = (*self.premises, *self.points)
        return Search(premises, goal, self.program, self.classes, self.index_sets, reached=self.reached)


__all__ = ["Task"]
