"""Derivations: from an inner objective to its gradient, or its minimiser, to the update that a rule takes.

derivations(file, program, context) -> (Derivation, …)      shown by `dotopt explain`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dotopt.compiler.ir import Program
from dotopt.compiler.ir.print import infix
from dotopt.compiler.lower.context import Context
from dotopt.compiler.lower.expression import value
from dotopt.compiler.lower.scope import Local
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError

SOLVERS = ("argmin", "prox", "root")


@dataclass(frozen=True, slots=True)
class Derivation:
    """One use of an inner objective, as texts: `L(S) = …`, `∇L(m) = …`, `m' = …`, and what a claim says of it."""

    objective: str
    derived: str
    update: str
    published: str


def derivations(file: s.File, program: Program, context: Context) -> tuple[Derivation, ...]:
    """What is derived in the equations that `program` keeps, in the order of the file."""
    functions = {
        name: entry.definition
        for name, entry in context.scope.names.items()
        if isinstance(entry, Local) and not entry.indices
    }
    labels = {equation.label: equation for equation in program.equations}
    live = {here for root in program.roots for here in root.walk()} | {e.node for e in program.equations}
    names = program.names
    found = []
    for equation, call, name in _uses(file, functions):
        try:
            derived = value(context, call, context.scope)
        except OptError:  # inside an index or a branch that is not this one
            continue
        label = equation.targets[0].span.text.strip()
        if derived not in live and derived.op not in ("const", "leaf"):
            continue
        update = labels.get(label)
        right = infix(update.node, {k: v for k, v in names.items() if v != label}) if update is not None else ""
        found.append(
            Derivation(
                _one_line(functions[name].span.text),
                f"{_one_line(call.span.text)} = {infix(derived, {k: v for k, v in names.items() if k is not derived})}",
                f"{label} = {right or _one_line(_right(equation.span.text))}",
                _published(file, label),
            )
        )
    return tuple(dict.fromkeys(found))


def _uses(file: s.File, functions: Mapping[str, s.Definition]) -> Iterator[tuple[s.Definition, s.Call, str]]:
    """Equations with a gradient or a minimiser of a local function in them."""
    for statement in _equations(file.statements):
        for here in statement.value.walk():
            match here:
                case s.Call(_, s.Gradient(_, s.Name(_, name))) if name in functions:
                    yield statement, here, name
                case s.Call(_, s.Name(_, word), (s.Name(_, name), *_)) if word in SOLVERS and name in functions:
                    yield statement, here, name


def _equations(statements: tuple[s.Statement, ...]) -> Iterator[s.Definition]:
    for statement in statements:
        if isinstance(statement, s.When):
            yield from _equations((*statement.body, *statement.otherwise))
        elif isinstance(statement, s.Definition):
            yield statement


def _published(file: s.File, label: str) -> str:
    """What the first claim says that shows the next value to be something, without premises."""
    for claim in file.claims:
        if any(isinstance(part, s.Given) for part in claim.body):
            continue
        for part in claim.body:
            if isinstance(part, s.Show) and not part.refute and isinstance(part.goal, s.Holds):
                left, equal, right = part.goal.span.text.partition("==")
                if equal and left.strip() == label:
                    return f"{label} = {_one_line(right)}   (claim {claim.name})"
    return ""


def _right(text: str) -> str:
    return re.split(r"(?<![<>=!])=(?!=)", text, maxsplit=1)[-1]


def _one_line(text: str) -> str:
    return " ".join(" ".join(line.split("#")[0] for line in text.splitlines()).split())
