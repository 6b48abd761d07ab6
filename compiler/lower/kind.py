"""The kind of a rule, inferred from what its file uses (language semantics S18), and the line that decided."""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.source import Span

HOST = {"append", "suffix", "occurs", "top"}
SEQUENCE = {"attention"}  # looks back over the tokens, without a state of the file


def kind_of(file: s.File) -> tuple[str, Span]:
    """The kind, and what decided it. First match wins."""
    for kind, span in _candidates(file):
        if span is not None:
            return kind, span
    return "function", file.head.span


def _candidates(file: s.File) -> Iterator[tuple[str, Span | None]]:
    if file.head.word in ("formula", "transform", "theorem"):
        yield file.head.word, file.head.span
    declared = [x for x in _statements(file.statements) if isinstance(x, s.Declaration)]

    def first(word: str, *, test: str = "") -> Span | None:
        return next((d.span for d in declared if d.word == word and (not test or _passes(d, test))), None)

    yield "protocol", next((x.span for x in file.statements if isinstance(x, s.Role)), None)
    yield "host", next((d.span for d in declared if isinstance(d.type, s.ListOf)), None) or _call_of(HOST, file)
    yield "minimize", _population(file)
    indexed = first("objective", test="indexed")
    output = next((d.span for d in declared if d.word == "output" and isinstance(d.type, s.Like)), None)
    yield "aggregator", output if indexed and output else None
    moved = {t.name for x in _statements(file.statements) if isinstance(x, s.Definition) for t in x.targets
             if isinstance(t, s.Name) and t.primed}
    families = {t.base.name for x in _statements(file.statements) if isinstance(x, s.Definition) for t in x.targets
                if isinstance(t, s.Index) and isinstance(t.base, s.Name) and t.base.primed}
    yield "optimizer", next((d.span for d in declared if d.word == "param" and d.name in moved | families), None)
    inputs = first("input")
    yield "module", (first("state") or _call_of(SEQUENCE, file)) if inputs else None
    yield "solver", inputs


def _passes(d: s.Declaration, test: str) -> bool:
    return bool(d.indices) if test == "indexed" else True


def _statements(statements: tuple[s.Statement, ...]) -> Iterator[s.Statement]:
    for x in statements:
        yield x
        if isinstance(x, s.When):
            yield from _statements((*x.body, *x.otherwise))


def _call_of(names: set[str], file: s.File) -> Span | None:
    """The first call of one of these functions, outside claims."""
    for x in file.statements:
        if isinstance(x, s.Claim):
            continue
        for inner in x.walk():
            if isinstance(inner, s.Call) and isinstance(inner.function, s.Name) and inner.function.name in names:
                return inner.span
    return None


def _population(file: s.File) -> Span | None:
    """A value of the objective for each particle, `f(V, per=N)`."""
    objectives = {d.name for d in file.statements if isinstance(d, s.Declaration) and d.word == "objective"}
    for x in file.statements:
        if isinstance(x, s.Claim):
            continue
        for inner in x.walk():
            if not (isinstance(inner, s.Call) and isinstance(inner.function, s.Name)):
                continue
            if inner.function.name in objectives and any(k.name == "per" for k in inner.keywords):
                return inner.span
    return None
