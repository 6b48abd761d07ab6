"""Loops as lines of Python: what is the same in every pass stands before them."""

from __future__ import annotations

from dotopt.compiler.emit.functions.statements import hoist, write
from dotopt.compiler.emit.functions.writer import Writer, binds
from dotopt.compiler.emit.sequence.batched import POSTFIX, Text
from dotopt.compiler.ir import Loop, Node
from dotopt.compiler.ir.print import infix


def loop(b: Writer, here: Node) -> Text:
    """Writes the passes as lines, and returns the tuple of the loop's variables."""
    body: Loop = here.attrs.body
    count, *starts = here.args
    names = []
    values = []
    for variable, start in zip(body.variables, starts, strict=True):
        write(b, start)
        values.append(_start(b, variable, start))
        names.append(b.fresh(variable.name))
    b.lines += [f"{b.indent}{name} = {value}" for name, value in zip(names, values, strict=True)]
    inner = b.inner()
    hoist(b, body.nodes, binds(body, {x for root in body.nodes for x in root.walk()}))
    inner.names |= b.names
    inner.items |= b.items
    for variable, name in zip(body.variables, names, strict=True):
        inner.names[variable] = name
    number = b.fresh(body.index.name if body.index is not None else "turn")
    if body.index is None:
        most = b.code(count) if count.value is not None else f"int({b.code(count)})"
        watched = body.until is not None and not b.path  # a loop of its own, not one for each pass of another
        b.lines.append(f"{b.indent}for {number} in range(1, {most} + {2 if watched else 1}):")
    else:
        inner.bind(body.index, number)
        for variable in body.variables:
            inner.names[variable] = names[body.variables.index(variable)]
        b.lines.append(
            f"{b.indent}for {number} in {b.code(count) if count.role == 'draw' else b.elements(body.index)}:"
        )
    inner.path = (*b.path, number)
    if body.until is not None:
        write(inner, body.until, equations=body.equations)
        b.lines += [f"{inner.indent}if bool({inner.code(body.until)}):", f"{inner.indent}    break"]
        if body.index is None and not b.path:
            b.lines += [
                f"{inner.indent}if {number} > {most}:",
                f"{inner.indent}    solvers.unmet({most}, {infix(body.until)!r})",
                f"{inner.indent}    break",
            ]
    write(inner, *body.nexts, equations=body.equations)
    nexts = ", ".join(inner.fitted(n, v) for n, v in zip(body.nexts, body.variables, strict=True))
    b.lines.append(f"{inner.indent}{', '.join(names)} = {nexts}")
    b.names[here] = f"({', '.join(names)},)"
    for position, name in enumerate(names):
        b.items[here, position] = name
    return b.names[here], POSTFIX


def _start(b: Writer, variable: Node, start: Node) -> str:
    """The value before the first pass, in the shape of the variable."""
    text = b.fitted(start, variable)
    axes = [axis for axis in b.axes(variable) if axis not in b.axes(start)]
    if not axes and b.axes(start):
        return text
    if not b.axes(variable):
        return text if b.is_tensor(start) else f"torch.as_tensor({text}, dtype=dtype, device=device)"
    own = ", ".join(b.sizes.get(a, a) for a in variable.type.axes)
    family = ", ".join(b.count(index) for index in b.indices(variable))
    shape = ", ".join(part for part in (family, own) if part)
    dtype = "asks.complex_of(dtype)" if variable.type.kind == "complex" else "dtype"
    if b.is_tensor(start):
        return f"{text}.expand({shape})" + (f".to({dtype})" if variable.type.kind == "complex" else "")
    return f"torch.full(({shape},), {text}, dtype={dtype}, device=device)"


def item(b: Writer, here: Node) -> Text:
    whole, position = here.args[0], here.attrs.position
    if whole.op == "loop":
        if (whole, position) not in b.items:
            b.text(whole)
        variable = whole.attrs.body.variables[position]
        name = b.items[whole, position]
        if not here.args[1:]:
            return name, POSTFIX
        table = dict(zip(variable.args, here.args[1:], strict=True))
        return b.member(variable, {old: new for old, new in table.items() if old is not new}, name), POSTFIX
    return f"{b.code(whole, POSTFIX)}[{position}]", POSTFIX
