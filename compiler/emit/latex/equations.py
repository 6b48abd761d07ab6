r"""A file as the aligned equations of a paper.

    row = left side, right side, remark        one equation
    heading = words                            a loop, a role, a branch

The value after a step is written `m_{t}`, the one before it `m_{t-1}`; inside a loop the counter is `j`. Products of
two tensors are `\odot`, matrix products stand side by side. `rows` gives the pieces, for renderers that know no
environments; `latex` joins them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dotopt.compiler.emit.latex.expression import SUM, Writer, indexed, operator, prose, subscript, upright
from dotopt.compiler.emit.latex.tense import Names
from dotopt.compiler.text import syntax as s
from dotopt.grammar import spelling


@dataclass(frozen=True, slots=True)
class Row:
    r"""`left = right`, and words beside it; `cases` instead of `right` where the value depends on a condition.

    A row without a left side is a heading. `depth` counts the blocks around it, `relation` is `=` or `\sim`.
    """

    left: str
    right: str = ""
    remark: str = ""
    cases: tuple[tuple[str, str], ...] = ()
    depth: int = 0
    relation: str = "="


def latex(file: s.File) -> str:
    r"""The equations of `file` as one `aligned` environment, to be put between dollar signs.

    >>> from dotopt.compiler.parse import parse
    >>> from dotopt.compiler.text.source import Source
    >>> text = "rule A\nobjective f\nparam x : real[...]\nhyper lr = 1\nx' = x - lr*grad f(x)\n"
    >>> print(latex(parse(Source("a.opt", text))))
    \begin{aligned}
    x_{t} &= x_{t-1} - \mathrm{lr}\,\nabla f(x_{t-1})
    \end{aligned}
    """
    lines = " \\\\\n".join(_aligned(row) for row in rows(file))
    return f"\\begin{{aligned}}\n{lines}\n\\end{{aligned}}"


def _aligned(row: Row) -> str:
    indent = r"\quad " * row.depth
    if not row.left:
        return rf"& {indent}{row.right}"
    remark = rf" \quad {row.remark}" if row.remark else ""
    if row.cases:
        inner = r" \\ ".join(rf"{value} & {condition}" for value, condition in row.cases)
        return rf"{indent}{row.left} &= \begin{{cases}} {inner} \end{{cases}}{remark}"
    return rf"{indent}{row.left} &{row.relation} {row.right}{remark}"


def flat(row: Row) -> Iterator[tuple[str, str]]:
    r"""The row as (left, right) lines without environments: each case is a line of its own.

    >>> list(flat(Row("w", cases=(("s", r"\text{if }a"), ("v", r"\text{otherwise}")))))
    [('w', '= s\\quad \\text{if }a'), ('', '\\quad v\\quad \\text{otherwise}')]
    """
    remark = rf"\quad {row.remark}" if row.remark else ""
    relation = f"{row.relation} " if row.left else ""
    if not row.cases:
        yield row.left, relation + row.right + remark
    for position, (value, condition) in enumerate(row.cases):
        start = relation if position == 0 else r"\quad "
        yield (row.left if position == 0 else ""), rf"{start}{value}\quad {condition}" + remark * (position == 0)


def rows(file: s.File) -> tuple[Row, ...]:
    """The equations of `file` in its own order; states that start at something else than 0 come first."""
    writer = Writer(Names.of(file))
    head = file.head
    if head.word == "composition" and head.value is not None:
        return (Row(upright(head.name), writer.write(head.value)),)
    first: tuple[Row, ...] = ()
    if head.word == "formula" and head.value is not None:
        inside = ", ".join(spelling.latex(parameter.name) for parameter in head.parameters)
        first = (Row(f"{operator(head.name)}({inside})", writer.write(head.value)),)
    return first + tuple(_starts(file, writer)) + tuple(_statements(file.statements, writer, 0))


def _starts(file: s.File, writer: Writer) -> Iterator[Row]:
    for statement in file.statements:
        if isinstance(statement, s.Declaration) and statement.word == "state" and statement.value is not None:
            here = replace(writer, first=statement.value_kind == "first")
            left = subscript(indexed(statement.name, statement.indices), "0")
            right = here.write(statement.value)
            if right not in ("0", left):  # a state starts at 0 unless something else is said
                yield Row(left, right, relation=r"\sim" if statement.value_kind == "draw" else "=")


def _statements(statements: Iterable[s.Statement], writer: Writer, depth: int) -> Iterator[Row]:
    for statement in statements:
        match statement:
            case s.Definition():
                yield from _definition(statement, writer, depth)
            case s.Draw(targets=targets, law=law):
                yield Row(", ".join(map(writer.write, targets)), writer.write(law), depth=depth, relation=r"\sim")
            case s.Evaluation(name=name, value=value):
                yield Row(spelling.latex(name), writer.write(value), r"\text{(evaluation)}", depth=depth)
            case s.Message(word=word, name=name, value=value):
                left = writer.write(s.Name(statement.span, name))
                yield Row(left, writer.write(value), prose(f"({word})"), depth=depth)
            case s.When(condition=condition, type=type, body=body, otherwise=otherwise):
                kind = r" \in " + _type(type) if type is not None else ""
                yield Row("", prose("when ") + writer.write(condition) + kind + ":", depth=depth)
                yield from _statements(body, writer, depth + 1)
                if otherwise:
                    yield Row("", prose("otherwise:"), depth=depth)
                    yield from _statements(otherwise, writer, depth + 1)
            case s.Role(name=name, condition=condition, body=body):
                held = prose(" if ") + writer.write(condition) if condition is not None else ""
                indices = ", ".join(writer.index(index) for index in statement.indices)
                yield Row("", prose(f"{name} " if indices else name) + indices + held + ":", depth=depth)
                yield from _statements(body, writer, depth + 1)
            case s.Iterate():
                yield from _loop(statement, writer, depth)


def _definition(statement: s.Definition, writer: Writer, depth: int) -> Iterator[Row]:
    function = statement.targets[0]
    bound: frozenset[str] = frozenset()
    if isinstance(function, s.Call):
        bound = frozenset(argument.name for argument in function.arguments if isinstance(argument, s.Name))
    here = replace(writer, bound=writer.bound | bound)
    left = ", ".join(map(here.write, statement.targets))
    remark = ""
    if statement.family is not None:
        remark = prose("for ") + here.index(statement.family)
    if statement.phase is not None:
        remark = here.phase(statement.phase)
    for inner in statement.where:
        yield from _definition(inner, here, depth)
    yield Row(left, *here.value(statement.value, remark), depth=depth)


def _loop(statement: s.Iterate, writer: Writer, depth: int) -> Iterator[Row]:
    names = frozenset(variable.name for variable in statement.variables)
    inner = replace(writer, loop=writer.loop | names, counter=_COUNTERS[min(len(writer.loop) and 1, 1)])
    for variable in statement.variables:
        yield Row(subscript(indexed(variable.name, variable.indices), "0"), writer.write(variable.start), depth=depth)
    if statement.index is not None:
        head = prose("for ") + writer.index(statement.index)
    elif statement.until is not None and statement.most is not None:
        head = prose("until ") + inner.write(statement.until) + prose(", at most ") + writer.write(statement.most)
    else:
        assert statement.count is not None
        head = prose("for ") + rf"{inner.counter} = 0, \ldots, {writer.write(statement.count, SUM)} - 1"
    yield Row("", head + ":", depth=depth)
    yield from _statements(statement.body, inner, depth + 1)


_COUNTERS = ("j", "i")


def _type(type: s.TypeSyntax) -> str:
    if isinstance(type, s.Array):
        axes = r" \times ".join(r"\cdots" if axis.name == "…" else upright(axis.name) for axis in type.axes)
        return rf"\mathbb{{R}}^{{{axes}}}"
    return prose(type.span.text)
