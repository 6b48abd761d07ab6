"""Sums, means and extremes over an index: over a whole axis at once, or element by element."""

from __future__ import annotations

from dotopt.compiler.emit.functions.statements import restricted, serial, write
from dotopt.compiler.emit.functions.writer import Writer, aligned
from dotopt.compiler.emit.sequence.batched import POSTFIX, PRODUCT, Text
from dotopt.compiler.ir import Fold, Node
from dotopt.compiler.ir.print import infix
from dotopt.compiler.text.errors import fail

METHOD = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin", "argmax": "argmax"}
EMPTY = {"sum": "0", "mean": "0", "max": "-torch.inf", "min": "torch.inf", "argmax": "-torch.inf"}


def fold(b: Writer, here: Node) -> Text:
    """The text of `kind(body for indices in S if condition)`; raises E601 for lists."""
    body: Fold = here.attrs.body
    if body.kind == "list":
        raise fail("E601", here.span, construct=f"the list `{infix(here)}`")
    return _one_by_one(b, here, body) if serial(b, body) else _at_once(b, here, body)


def _at_once(b: Writer, here: Node, body: Fold) -> Text:
    """A reduction over the axes of the indices, which stand between those of other indices and the value's own."""
    inner = b
    if restricted(here):
        inner = b.inner(deeper=False)
        for index in body.indices:
            inner.restrict(index, b.code(here.args[0]))
    write(inner, *body.nodes)
    ours = tuple(f"[{index.name}]" for index in body.indices)
    nodes = body.nodes
    others = tuple(dict.fromkeys(a for n in nodes for a in inner.axes(n) if a.startswith("[") and a not in ours))
    own = tuple(body.body.type.axes)
    dims = tuple(range(len(others), len(others) + len(ours)))
    dim = str(dims[0]) if len(dims) == 1 else str(dims)
    if body.kind == "sum" and body.condition is None:
        rest = ("…",) if body.body.type.any else own
        text = contracted(inner, body.body, (*others, *rest))
        if text is not None:
            return text, POSTFIX
    value = _spread(inner, body, body.body, (*others, *ours, *own), len(others))
    if body.condition is not None:
        mask = _spread(inner, body, body.condition, (*others, *ours), len(others))
        wide = mask + f"[..., {', '.join(['None'] * len(own))}]" if own else mask
        value = f"torch.where({wide}, {value}, {EMPTY[body.kind]})"
        if body.kind == "mean":
            count = f"{mask}.sum({dim})" + (f"[..., {', '.join(['None'] * len(own))}]" if own else "")
            return f"{value}.sum({dim})/{count}", PRODUCT
    text = f"{value}.{METHOD[body.kind]}({dim})"
    if body.kind != "argmax":
        return text, POSTFIX
    (index,) = body.indices
    return f"{inner.code(index, POSTFIX)}[{text}]", POSTFIX


def contracted(b: Writer, product: Node, kept: tuple[str, ...]) -> str | None:
    """The sum of a product over the axes that are not kept, without the product itself; None where that is no saving.

    `sum(G[i, j]*w[j] for j)` is `torch.einsum("ab,b->a", G, w)`: nothing of the size of all axes together is made.
    """
    if product.op != "mul" or b.named(product) is not None:
        return None
    axes = [(*(f"[{i.name}]" for i in b.indices(x)), *(("…",) if x.type.any else x.type.axes)) for x in product.args]
    every = dict.fromkeys(axis for own in axes for axis in own)
    plain = all(x.type.kind == "real" and b.is_tensor(x) for x in product.args)
    if not plain or len(every) > 26 or set(axes[0]) == set(axes[1]) or not set(kept) <= set(every):
        return None
    letters = dict(zip(every, "abcdefghijklmnopqrstuvwxyz", strict=False))
    left, right, out = ("".join(letters[axis] for axis in part) for part in (*axes, kept))
    first, second = (b.code(x) for x in product.args)
    return f'torch.einsum("{left},{right}->{out}", {first}, {second})'


def _spread(b: Writer, body: Fold, here: Node, wanted: tuple[str, ...], outer: int) -> str:
    """The text of a node with exactly these axes; along an index that it does not depend on it is repeated."""
    axes = b.axes(here)
    text = b.code(here, POSTFIX)
    if not b.is_tensor(here):
        dtype = "torch.bool" if here.type.kind == "bool" else "dtype"
        text = f"torch.as_tensor({text}, dtype={dtype}, device=device)"
    text = aligned(text, axes, wanted) if axes != wanted else text
    missing = [index for index in body.indices if f"[{index.name}]" not in axes]
    if not missing:
        return text
    sizes = ["-1"] * outer + [b.count(i) if i in missing else "-1" for i in body.indices]
    sizes += ["-1"] * (len(wanted) - len(sizes))
    return f"{text}.expand({', '.join(sizes)})"


def _one_by_one(b: Writer, here: Node, body: Fold) -> Text:
    """`for i in S:` with what the elements add up to."""
    if len(body.indices) > 1:
        raise fail("E601", here.span, construct=f"`{infix(here)}`, over several indices of functions,")
    if body.kind == "argmax":
        raise fail("E601", here.span, construct="`argmax` over functions of the user")
    (index,) = body.indices
    domain = here.args[0]
    total, element = b.fresh("total"), b.fresh(index.name)
    count = b.fresh("count") if body.kind == "mean" else ""
    inner = b.inner()
    inner.bind(index, element)
    elements = b.code(domain) if domain.role == "draw" else b.elements(index)
    first = {"max": "torch.tensor(-torch.inf)", "min": "torch.tensor(torch.inf)"}.get(body.kind, "0.0")
    b.lines.append(f"{b.indent}{total} = {first}")
    b.lines += [f"{b.indent}{count} = 0"] if count else []
    b.lines.append(f"{b.indent}for {element} in {elements}:")
    if body.condition is not None:
        write(inner, body.condition)
        b.lines += [f"{inner.indent}if not ({inner.code(body.condition)}):", f"{inner.indent}    continue"]
    write(inner, body.body)
    value = inner.code(body.body)
    word = {"max": "torch.maximum", "min": "torch.minimum"}.get(body.kind)
    b.lines.append(f"{inner.indent}{total} = " + (f"{word}({total}, {value})" if word else f"{total} + {value}"))
    b.lines += [f"{inner.indent}{count} += 1"] if count else []
    return (f"{total}/{count}", PRODUCT) if count else (total, POSTFIX)
