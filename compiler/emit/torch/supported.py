"""What this emitter refuses, and the little algebra that it does before it writes."""

from __future__ import annotations

from dataclasses import replace

from dotopt.compiler.emit.torch.layers import layer_values
from dotopt.compiler.ir import Node, Program, node, number, rebuild
from dotopt.compiler.ir.program import at_its_places
from dotopt.compiler.text.errors import fail


@at_its_places
def supported(program: Program) -> None:
    """Raises E601, naming the construct, for programs that this emitter does not know, and E606 for theorems."""
    if program.kind != "optimizer":
        if program.kind == "transform":
            name = program.name
            hint = f"compile it with the rule that it wraps: `rule {name}SGD = {name}(SGD)`"
            raise fail("E601", program.decided_by, construct="a transform without its base rule", help=hint)
        if program.kind == "theorem":
            raise fail("E606", program.decided_by, name=program.name)
        raise fail("E601", program.decided_by, construct=f"a rule of the kind `{program.kind}`")
    if len(program.params) != 1 or program.params[0].indices or program.roles or program.inputs:
        raise fail("E601", program.decided_by, construct="a family of parameters, or a rule with inputs,")
    if program.evaluation and layer_values(program):
        raise fail("E601", program.decided_by, construct="an evaluation point beside inputs of layers")
    for here in dict.fromkeys(inner for root in program.roots for inner in root.walk()):
        if here.op == "item" and here.args[0].op != "loop":
            raise fail("E601", here.span, construct=f"`{here!r}`, an index of a tensor,")
    keywords = {(hyper.keyword, hyper.position) for hyper in program.hypers}
    for hyper in program.hypers:
        if hyper.position and (hyper.keyword, hyper.position - 1) not in keywords:
            missing = f"`{hyper.keyword}[{hyper.position}]` without `{hyper.keyword}[{hyper.position - 1}]`"
            raise fail("E601", hyper.span, construct=missing)


@at_its_places
def simplified(program: Program) -> Program:
    """The program without the factors 1, terms 0 and the like that inlining left behind."""
    starts = [x.start for x in program.states]
    nexts = [x.next for x in program.states if x.next is not None]
    values = (*program.next.values(), *program.evaluation.values(), *(e.node for e in program.equations))
    roots = tuple(dict.fromkeys((*starts, *nexts, *values)))
    changed = dict(zip(roots, rebuild(node("tuple", *roots), _simpler).args, strict=True))  # all in one walk
    return replace(
        program,
        states=tuple(
            replace(x, start=changed[x.start], next=None if x.next is None else changed[x.next])
            for x in program.states
        ),
        equations=tuple(replace(e, node=changed[e.node]) for e in program.equations),
        next={name: changed[root] for name, root in program.next.items()},
        evaluation={name: changed[root] for name, root in program.evaluation.items()},
    )


def _simpler(here: Node) -> Node:
    zero, one = number(0), number(1)
    match here.op, here.args:
        case "mul", (a, b) if (a is one or b is one) and here.type == (b if a is one else a).type:
            return b if a is one else a
        case "mul", (a, b) if (a is zero or b is zero) and here.type.scalar:
            return zero
        case "div" | "pow", (a, b) if b is one and here.type == a.type:
            return a
        case "add", (a, b) if a is zero and here.type == b.type:
            return b
        case "add" | "sub", (a, b) if b is zero and here.type == a.type:
            return a
        case "select", (_, a, b) if a is b and here.type == a.type:
            return a
    return here
