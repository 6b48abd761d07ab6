"""Transforms: the base rule is inlined, so that a composed rule is one program, fused as one."""

from __future__ import annotations

from collections.abc import Callable

from dotopt.compiler import ir
from dotopt.compiler.ir import Node, Program, node
from dotopt.compiler.lower.context import Application, Context
from dotopt.compiler.lower.expression import value
from dotopt.compiler.lower.scope import Base, Scope
from dotopt.compiler.ops.types import ANY, REAL
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.source import Span
from dotopt.grammar.spelling import canonical

HOLE = "·gradient"  # stands for the base's own gradient until the given one takes its place


def apply(context: Context, name: str, e: s.Call, scope: Scope) -> Node:
    """`B(θ, g; lr=…)`: where the base rule goes. Applied once: its states advance once."""
    arguments = tuple(value(context, argument, scope) for argument in e.arguments)
    if not 1 <= len(arguments) <= 2:
        raise fail("E313", e.span, name=name, expected=1, plural="", found=len(arguments))
    overrides = {k.name: value(context, k.value, scope) for k in e.keywords}
    if context.base is None:
        names = tuple(overrides)
        return node("base", *arguments, *overrides.values(), attrs=(names, arguments[0].type), span=e.span)
    key = (*arguments, *overrides.values())
    if context.applied is not None:
        if context.applied.arguments != key:
            raise fail("E506", e.span, times="more than once")
        return context.applied.result
    change = _change(context, context.base, arguments, overrides, e.span)
    program = context.base.mapped(change)
    if context.scope.equations is not None:
        context.scope.equations.extend(program.equations)
    (param,) = context.base.params
    context.applied = Application(program, program.next[param.name], key)
    return context.applied.result


def _change(
    context: Context, base: Program, arguments: tuple[Node, ...], overrides: dict[str, Node], span: Span
) -> Callable[[Node], Node]:
    (param,) = base.params
    own = ir.leaf("param", param.name, param.type)
    objective = _objective(context)
    gradients: dict[Node, Node] = {}
    for asked in base.oracles:
        name, what, argument, split, type = asked.attrs
        if len(arguments) == 2:
            if what != "gradient" or asked.args != (own,):
                raise fail("E507", span, name=base.name)
            gradients[asked] = ir.leaf("free", HOLE, type)
        elif objective is not None and name != objective:
            renamed = (objective, what, argument, split, type)
            gradients[asked] = node("oracle", *asked.args, attrs=renamed, span=asked.span)
    table: dict[Node, Node] = {own: arguments[0]}
    for keyword, replacement in overrides.items():
        table[_hyper(base, keyword, span)] = replacement
    if len(arguments) == 2:
        table[ir.leaf("free", HOLE, own.type)] = arguments[1]

    def change(root: Node) -> Node:
        return ir.substitute(ir.substitute(root, gradients), table)

    return change


def _objective(context: Context) -> str | None:
    for statement in context.file.statements:
        if isinstance(statement, s.Declaration) and statement.word == "objective":
            return statement.name
    return None


def _hyper(base: Program, keyword: str, span: Span) -> Node:
    for hyper in base.hypers:
        if (keyword in (canonical(hyper.keyword), hyper.keyword) and hyper.position is None) or keyword == hyper.name:
            return ir.leaf("hyper", hyper.name, hyper.type)
    raise fail("E508", span, base=base.name, name=keyword)


def member(context: Context, name: str, attribute: str, span: Span) -> Node:
    """`B.lr`: a hyperparameter of the base rule by its Python name; `B.u`: one of its outputs."""
    found = context.scope.find(name)
    if found is None or not isinstance(found[0], Base):
        raise fail("E201", span, name=name)
    if context.base is None:
        return node("base_member", attrs=(attribute, REAL if attribute in ("lr", "weight_decay") else ANY), span=span)
    for hyper in context.base.hypers:
        if attribute in (canonical(hyper.keyword), hyper.keyword) and hyper.position is None:
            return ir.leaf("hyper", hyper.name, hyper.type)
    if attribute in context.base.outputs:
        if context.applied is None:
            _apply_first(context, name)
        assert context.applied is not None
        return context.applied.program.outputs[attribute]
    raise fail("E508", span, base=context.base.name, name=attribute)


def _apply_first(context: Context, name: str) -> None:
    for statement in context.file.statements:
        for inner in statement.walk():
            if isinstance(inner, s.Call) and isinstance(inner.function, s.Name) and inner.function.name == name:
                apply(context, name, inner, context.scope)
                return
    raise fail("E506", context.file.head.span, times="nowhere")


def clashes(file: s.File, base: Program) -> dict[str, str]:
    """Names of the transform that the base rule uses too, with what they are called in the composed rule."""
    prefix = canonical(prefix_of(file))
    taken = {x.name for x in base.states} | {x.name for x in base.hypers} | {x.name for x in base.options}
    mine = [d for d in file.statements if isinstance(d, s.Declaration) and d.word in ("state", "hyper", "option")]
    return {d.name: f"{prefix}_{d.name}" for d in mine if d.name in taken}


def prefix_of(file: s.File) -> str:
    """What a transform puts before its own names where the base rule has them too: its name in snake case."""
    from dotopt.grammar.files import file_name

    return file_name(file.head.name).removesuffix(".opt")


