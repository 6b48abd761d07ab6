"""Builds equations, blocks and claims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lark

from dotopt.compiler.parse.builder import Builder
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.source import Span


def every_step(body: tuple[s.Statement, ...]) -> tuple[s.Statement, ...]:
    """The lines of a claim; where one of them is `for all steps`, each `show` of a condition holds for all steps."""
    quantified = [name for clause in body if isinstance(clause, s.ForAll) for name in clause.names]
    if not any(map(is_steps, quantified)):
        return body
    kept: list[s.Statement] = []
    for clause in body:
        match clause:
            case s.ForAll(names=names):
                others = tuple(name for name in names if not is_steps(name))
                kept += [replace(clause, names=others)] if others else []
            case s.Show(goal=s.Holds() as goal):
                kept.append(replace(clause, goal=replace(goal, all_steps=True)))
            case _:
                kept.append(clause)
    return tuple(kept)


def is_steps(name: s.Quantified) -> bool:
    """Whether it is the word `steps` alone."""
    return name.name == "steps" and not name.indices and name.type is None and name.bounds is None


class Statements(Builder):
    """Lines and blocks of lines."""

    def definition(self, span: Span, targets: Any, type: Any, value: Any, phase: Any, family: Any) -> s.Definition:
        return s.Definition(span, targets, value, type, phase, family)

    def equation(self, span: Span, definition: s.Definition, *where: s.Definition | None) -> s.Definition:
        return replace(definition, where=tuple(w for w in where if isinstance(w, s.Definition)))

    def equation_by_cases(self, span: Span, targets: Any, type: Any, *lines: Any) -> s.Definition:
        cases = tuple(line for line in lines if isinstance(line, s.Case))
        where = tuple(line for line in lines if isinstance(line, s.Definition))
        value = s.Cases(cases[0].span.to(cases[-1].span), cases)
        return s.Definition(span, targets, value, type, where=where)

    def where(self, span: Span, definition: s.Definition, *_: Any) -> s.Definition:
        return definition

    def case_if(self, span: Span, value: s.Expression, condition: s.Expression, *_: Any) -> s.Case:
        return s.Case(span, value, condition)

    def case_otherwise(self, span: Span, value: s.Expression, *_: Any) -> s.Case:
        return s.Case(span, value, None)

    def targets(self, span: Span, *items: s.Expression) -> tuple[s.Expression, ...]:
        return items

    def draw(self, span: Span, targets: Any, type: Any, law: s.Expression) -> s.Draw:
        return s.Draw(span, targets, law, type)

    def phase(self, span: Span, period: Any, start: Any, otherwise: Any) -> s.Phase:
        return s.Phase(span, period, start, otherwise)

    def range_of(self, span: Span, name: lark.Token, domain: Any, condition: Any) -> s.IndexName:
        return s.IndexName(span, self.spelled(name), domain)

    def evaluation(self, span: Span, name: lark.Token, value: s.Expression) -> s.Evaluation:
        return s.Evaluation(span, self.spelled(name), value)

    def send(self, span: Span, name: lark.Token, value: s.Expression) -> s.Message:
        return s.Message(span, "send", self.spelled(name), value)

    def broadcast(self, span: Span, name: lark.Token, value: s.Expression) -> s.Message:
        return s.Message(span, "broadcast", self.spelled(name), value)

    def block(self, span: Span, *statements: Any) -> tuple[s.Statement, ...]:
        return tuple(statement for statement in statements if isinstance(statement, s.Statement))

    def when(self, span: Span, condition: Any, type: Any, body: Any, otherwise: Any) -> s.When:
        return s.When(span, condition, type, body, otherwise or ())

    def iterate(self, span: Span, *parts: Any) -> s.Iterate:
        variables, (kind, values), body = parts[:-2], parts[-2], parts[-1]
        match kind:
            case "repeat":
                return s.Iterate(span, variables, body, count=values[0])
            case "until":
                return s.Iterate(span, variables, body, until=values[0], most=values[1])
            case _:
                return s.Iterate(span, variables, body, index=values[0])

    def loop_variable(self, span: Span, name: lark.Token, indices: Any, type: Any, start: Any) -> s.LoopVariable:
        return s.LoopVariable(span, self.spelled(name), indices or (), type, start)

    def repeat(self, span: Span, count: s.Expression) -> tuple[str, tuple[Any, ...]]:
        return "repeat", (count,)

    def until(self, span: Span, condition: s.Expression, most: s.Expression) -> tuple[str, tuple[Any, ...]]:
        return "until", (condition, most)

    def for_each(self, span: Span, name: lark.Token, domain: s.Expression) -> tuple[str, tuple[Any, ...]]:
        return "for", (s.IndexName(span, self.spelled(name), domain),)

    def role(self, span: Span, name: lark.Token, indices: Any, condition: Any, body: Any) -> s.Role:
        return s.Role(span, self.spelled(name), indices or (), condition, body)

    def claim(self, span: Span, name: lark.Token, *body: Any) -> s.Claim:
        return s.Claim(span, str(name), every_step(tuple(item for item in body if isinstance(item, s.Statement))))

    def given(self, span: Span, condition: s.Expression) -> s.Given:
        return s.Given(span, condition)

    def show(self, span: Span, goal: s.Goal) -> s.Show:
        return s.Show(span, goal)

    def refute(self, span: Span, goal: s.Goal) -> s.Show:
        return s.Show(span, goal, refute=True)

    def derive(self, span: Span, *names: lark.Token) -> s.Derive:
        return s.Derive(span, tuple(self.spelled(name) for name in names))

    def flow(self, span: Span) -> s.Flow:
        return s.Flow(span)

    def precision(self, span: Span, name: lark.Token) -> s.Precision:
        return s.Precision(span, str(name))

    def by(self, span: Span, *methods: s.Expression) -> s.By:
        return s.By(span, methods)

    def holds(self, span: Span, condition: s.Expression, all_steps: Any) -> s.Holds:
        return s.Holds(span, condition, all_steps is not None)

    def invariant(self, span: Span, value: s.Expression, *maps: s.Map) -> s.Becomes:
        return s.Becomes(span, value, value, maps, invariant=True)

    def becomes(self, span: Span, change: s.Map, *maps: s.Map) -> s.Becomes:
        return s.Becomes(span, change.old, change.new, maps)

    def equivalent(self, span: Span, rule: s.Expression, *rest: Any) -> s.Equivalent:
        text = self.origin.text
        reduces = text.startswith("reduces", span.start)
        matching_from = text.find(" matching ", rule.span.end, span.end)
        namings = [item for item in rest if isinstance(item, s.Naming)]
        with_ = tuple(n for n in namings if matching_from < 0 or n.span.start < matching_from)
        matching = tuple(n for n in namings if 0 <= matching_from < n.span.start)
        condition = next((item for item in rest if isinstance(item, s.Expression)), None)
        return s.Equivalent(span, rule, with_, matching, condition, reduces)

    def stable(self, span: Span, strictly: Any, exactly: Any, condition: s.Expression) -> s.Stable:
        return s.Stable(span, condition, exactly is not None, strictly is not None)

    def map(self, span: Span, old: s.Expression, _: Any, new: s.Expression) -> s.Map:
        return s.Map(span, old, new)

    def naming(self, span: Span, name: lark.Token, value: s.Expression) -> s.Naming:
        return s.Naming(span, self.spelled(name), value)
