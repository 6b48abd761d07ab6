"""Rules around rules: the base is applied once, and a composition has what its transforms ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dotopt.compiler.resolve.claims import declarations, parts
from dotopt.compiler.resolve.imports import Lookup, tree
from dotopt.compiler.resolve.names import name_span
from dotopt.compiler.resolve.python import python_name
from dotopt.compiler.resolve.suggest import closest
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Edit, Label, Report, diagnostic
from dotopt.compiler.text.source import Span

TIMES = {0: "nowhere", 2: "twice"}


def check_base(file: s.File, report: Report) -> None:
    """E505 for a base outside a transform, E506 unless it is applied once."""
    bases = [node for node in declarations(file) if node.word == "base"]
    for base in bases:
        if file.head.word != "transform":
            report.add(diagnostic("E505", base.span))
    if file.head.word != "transform":
        return
    if not bases:
        report.add(diagnostic("E510", file.head.span, name=file.head.name))
    for base in bases:
        calls = _applied(base.name, file.statements)
        if len(calls) != 1:
            labels = tuple(Label(call.span, "applied here") for call in calls[:1])
            place = calls[1].span if len(calls) > 1 else base.name_span
            times = TIMES.get(len(calls), f"{len(calls)} times")
            report.add(diagnostic("E506", place, times=times, name=base.name, labels=labels))


def _applied(name: str, statements: Iterable[s.Statement]) -> list[s.Call]:
    """The different applications of the base in one step; of two branches, the one with more."""
    found: dict[s.Call, None] = {}
    for statement in statements:
        match statement:
            case s.Claim():
                continue
            case s.When(condition=condition, body=body, otherwise=otherwise):
                sides = max(_applied(name, body), _applied(name, otherwise), key=len)
                found |= dict.fromkeys([*_calls(name, condition), *sides])
            case _:
                found |= dict.fromkeys(_calls(name, statement))
    return list(found)


def _calls(name: str, node: s.Syntax) -> Iterator[s.Call]:
    for below in node.walk():
        match below:
            case s.Call(function=s.Name(name=called)) if called == name:
                yield below


def check_composition(file: s.File, report: Report, lookup: Lookup) -> None:
    """E508 where a transform asks its base for a name that it lacks; E511 for keywords that nobody has."""
    if file.head.word == "composition" and file.head.value is not None:
        _check(file.head.value, report, lookup)


def _check(node: s.Expression, report: Report, lookup: Lookup) -> set[str]:
    """The Python names that the rule offers, once it and everything inside it has been checked."""
    match node:
        case s.Name(name=name):
            return _offered(name, lookup)
        case s.Call(function=s.Name(name=name), arguments=arguments, keywords=keywords):
            inner: set[str] = set()
            for argument in arguments:
                inner |= _check(argument, report, lookup)
            outer = tree(name, lookup)
            if outer is None or not inner:
                return inner
            for wanted, where in _asked(outer):
                if wanted not in inner:
                    base = arguments[0].span.text
                    label = Label(where, f"`{name}` asks for it here")
                    labels = (label,) if where.source == node.span.source else ()
                    notes = () if labels else (f"`{name}` reads it as `{where.text}`",)
                    span = arguments[0].span
                    report.add(diagnostic("E508", span, base=base, name=wanted, labels=labels, notes=notes))
            offered = inner | _offered(name, lookup)
            for keyword in keywords:
                if keyword.name not in offered:
                    suggestion = closest(keyword.name, offered)
                    place = name_span(keyword.span, keyword.name)
                    help = f"did you mean `{suggestion}`?" if suggestion else None
                    edit = Edit(place, suggestion) if suggestion else None
                    report.add(diagnostic("E315", place, name=name, keyword=keyword.name, help=help, edit=edit))
            return offered
    return set()


def _offered(name: str, lookup: Lookup) -> set[str]:
    """The Python names of the hyperparameters, options and outputs of a rule, with their symbols."""
    file = tree(name, lookup)
    if file is None:
        return set()
    return {
        spelled
        for part in parts(file, lookup)
        for node in declarations(part)
        if node.word in ("hyper", "option", "output", "function")
        for spelled in (node.name, python_name(node))
    }


def _asked(file: s.File) -> Iterator[tuple[str, Span]]:
    """What a transform reads or overrides in its base."""
    bases = {node.name for node in declarations(file) if node.word == "base"}
    for statement in file.statements:
        if isinstance(statement, s.Claim):
            continue
        for node in statement.walk():
            match node:
                case s.Member(base=s.Name(name=owner), name=name) if owner in bases:
                    yield name, node.span
                case s.Call(function=s.Name(name=owner), keywords=keywords) if owner in bases:
                    for keyword in keywords:
                        yield keyword.name, keyword.span
