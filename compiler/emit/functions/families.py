"""How operations are written where values are families; what is not in the table is written as for sequences."""

from __future__ import annotations

from collections.abc import Callable

from dotopt.compiler.emit.functions.loops import item, loop
from dotopt.compiler.emit.functions.questions import QUESTIONS
from dotopt.compiler.emit.functions.statements import write
from dotopt.compiler.emit.functions.sums import contracted, fold
from dotopt.compiler.emit.functions.writer import Writer, aligned
from dotopt.compiler.emit.sequence.batched import POSTFIX as POST
from dotopt.compiler.emit.sequence.batched import PRODUCT, WRITERS, Batched, Text, decimal
from dotopt.compiler.ir import Node
from dotopt.compiler.ir.print import infix
from dotopt.compiler.text.errors import fail

Write = Callable[[Writer, Node], Text]


def _leaf(b: Writer, here: Node) -> Text:
    match here.role:
        case "index":
            return (b.bound[here] if here in b.bound else _numbers(b, here)), POST
        case "set":
            return f"range(1, {b.sizes[here.name]} + 1)", POST
        case "time":
            return "t", POST
        case "hyper" | "axis":
            return b.sizes[here.name], POST
        case "param" | "state" | "input" | "loop" | "hyper" if here.args:
            return _relative(b, here), POST
    return WRITERS["leaf"](b, here)


def _numbers(b: Writer, index: Node) -> str:
    """The variable with the elements of an index, as numbers."""
    name = b.fresh(index.name)
    if index in b.among:
        text = f"torch.tensor({b.among[index]}, dtype=dtype, device=device)"
    else:
        elements = b.elements(index).removeprefix("range(").removesuffix(")")
        text = f"torch.arange({elements}, dtype=dtype, device=device)"
    b.lines.append(f"{b.indent}{name} = {text}")
    b.names[index] = name
    return name


def _relative(b: Writer, here: Node) -> str:
    """A member of a family whose name is known for other indices: `p[j]` where `p[i]` is a variable."""
    for known in b.names:
        same = known.op == "leaf" and known.attrs == here.attrs and len(known.args) == len(here.args)
        if same:
            table = dict(zip(known.args, here.args, strict=True))
            return b.member(known, {old: new for old, new in table.items() if old is not new})
    raise fail("E601", here.span, construct=f"`{here!r}`")


def _matmul(b: Writer, here: Node) -> Text:
    left, right = here.args
    if not (b.indices(left) or b.indices(right)):
        return WRITERS["matmul"](b, here)
    family = b.axes(here)[: len(b.indices(here))]
    x = aligned(b.code(left, POST), b.axes(left), (*family, *left.type.axes))
    y = aligned(b.code(right, POST), b.axes(right), (*family, *right.type.axes))
    match len(left.type.axes), len(right.type.axes):
        case 2, 2:
            return f"{x} @ {y}", PRODUCT
        case 2, 1:
            return f'torch.einsum("...ij,...j->...i", {x}, {y})', POST
        case 1, 2:
            return f'torch.einsum("...i,...ij->...j", {x}, {y})', POST
    return f"({x}*{y}).sum(-1)", POST


def _size(b: Writer, here: Node) -> Text:
    domain = here.args[0]
    if domain.type.any:
        return f"{b.code(domain, POST)}.numel()", POST
    if domain.type.kind == "set":
        return (f"len({b.code(domain)})" if domain.role == "draw" else b.sizes[domain.name]), POST
    return "*".join(b.sizes[axis] for axis in domain.type.axes) or "1", PRODUCT


def _select(b: Writer, here: Node) -> Text:
    condition, yes, no = here.args
    if not b.is_tensor(condition):
        return _branches(b, here)
    parts = [b.fitted(part, here) for part in (condition, yes, no)]
    if not b.is_tensor(yes) and not b.is_tensor(no):
        parts[1] = f"torch.as_tensor({parts[1]}, dtype=dtype, device=device)"
    return f"torch.where({', '.join(parts)})", POST


def _branches(b: Writer, here: Node) -> Text:
    """A choice by a number of the host: only the branch that is taken is computed, as an expression or as lines."""
    condition, yes, no = here.args
    plain = all(
        not any(x.op in ("loop", "fold", *QUESTIONS) for x in part.walk() if x not in b.names) for part in (yes, no)
    )
    if plain:
        return f"({_branch(b, here, yes)} if {b.code(condition)} else {_branch(b, here, no)})", POST
    name = b.fresh("chosen")
    for head, part in ((f"if {b.code(condition)}:", yes), ("else:", no)):
        inner = b.inner()
        b.lines.append(f"{b.indent}{head}")
        write(inner, part)
        b.lines.append(f"{inner.indent}{name} = {_branch(inner, here, part)}")
    b.names[here] = name
    return name, POST


def _branch(b: Writer, here: Node, part: Node) -> str:
    """One branch; a number becomes a tensor where the other branch is one, in the shape of the choice."""
    text = b.fitted(part, here)
    if not b.axes(part) and here.type.axes and all(axis in b.sizes for axis in here.type.axes):
        shape = ", ".join((*(b.count(index) for index in b.indices(here)), *(b.sizes[a] for a in here.type.axes)))
        if not b.is_tensor(part):
            return f"torch.full(({shape},), {text}, dtype=dtype, device=device)"
        return f"({text}).expand({shape})"
    if b.is_tensor(here) and not b.is_tensor(part) and part.type.kind in ("real", "int"):
        return f"torch.as_tensor({text}, dtype=dtype, device=device)"
    return text


def _norm(b: Writer, here: Node) -> Text:
    (operand,), order = here.args, here.attrs.order
    spelled = "torch.inf" if order is None else decimal(order)
    dim = _dim(here, operand)
    return f"torch.linalg.vector_norm({b.code(operand)}, {spelled}{', ' + dim if dim else ''})", POST


def _power(b: Writer, here: Node) -> Text:
    base, exponent = here.args
    if exponent.value == 2 and base.op == "norm" and base.attrs.order == 2 and b.named(base) is None:
        (operand,) = base.args
        return f"{b.code(operand, POST)}.square().sum({_dim(base, operand)})", POST
    return WRITERS["pow"](b, here)


def _dim(here: Node, operand: Node) -> str:
    if operand.type.any:
        return ""
    axes = here.attrs.axes or operand.type.axes
    places = [i - len(operand.type.axes) for i, axis in enumerate(operand.type.axes) if axis in axes] or [-1]
    return str(places[0]) if len(places) == 1 else str(tuple(places))


def _reduced(method: str) -> Write:
    def write(b: Writer, here: Node) -> Text:
        (operand,) = here.args
        if method == "sum" and b.indices(here):
            text = contracted(b, operand, b.axes(here))
            if text is not None:
                return text, POST
        return f"{b.code(operand, POST)}.{method}({_dim(here, operand)})", POST

    return write


def _keep_largest(b: Batched, here: Node) -> Text:
    entries, count = here.args
    most = f"float({b.code(count)})" if b.is_tensor(count) else b.code(count)
    return f"matrices.keep_largest([{b.code(entries)}], {most})[0]", POST


def _indicator(b: Writer, here: Node) -> Text:
    shape = ", ".join(b.sizes.get(axis, axis) for axis in here.type.axes)
    return f"asks.indicator({b.code(here.args[0])}, ({shape},), dtype, device)", POST


def _contains(b: Writer, here: Node) -> Text:
    elements, element = here.args
    if element.role != "index" or element not in b.bound:
        raise fail("E601", here.span, construct=f"`{infix(here)}` for all elements at once")
    return f"({b.code(element)} in {b.code(elements)})", POST


def _tuple(b: Batched, here: Node) -> Text:
    return f"({', '.join(b.code(arg) for arg in here.args)},)", POST


FAMILIES: dict[str, Write] = {
    "leaf": _leaf,
    "fold": fold,
    "loop": loop,
    "item": item,
    "matmul": _matmul,
    "size": _size,
    "select": _select,
    "norm": _norm,
    "pow": _power,
    **{op: _reduced(op) for op in ("sum", "mean", "amax", "amin", "std")},
    "keep_largest": _keep_largest,
    "rank_of": lambda b, here: (f"matrices.rank_of([{b.code(here.args[0])}])[0]", POST),
    "tuple": _tuple,
    "contains": _contains,
    "range": lambda b, here: (f"range({b.code(here.args[0])}, {b.code(here.args[1])} + 1)", POST),
    "indicator": _indicator,
    "cis": lambda b, here: (f"torch.polar(torch.ones_like({b.code(here.args[0])}), {b.code(here.args[0])})"
                            if b.is_tensor(here.args[0]) else f"cmath.exp(1j*({b.code(here.args[0])}))", POST),
    "re": lambda b, here: (f"{b.code(here.args[0], POST)}.real", POST),
    **QUESTIONS,
}  # fmt: skip
