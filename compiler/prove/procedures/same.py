"""Whether two nodes are equal for all values of their leaves: by structure, by normal form, or refuted by numbers.

    same(left, right)     True, or False with numbers that tell them apart; else raises `Unsupported`

Both are first brought to one spelling. What is no ring operation and touches none of the `moving` leaves is then one
letter on both sides, for whatever it is, equal letters are equal. All work is bounded by how much there is to do.
"""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from typing import Any

import numpy as np

from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import Node, boolean, leaf, node, number, rebuild
from dotopt.compiler.ops.types import Mismatch, Type
from dotopt.compiler.prove.forms.normal import Normaliser, Unsupported
from dotopt.compiler.prove.fuel import TooLarge

RING = frozenset(("add", "sub", "neg", "mul", "matmul", "outer", "transpose", "sum", "trace", "const", "leaf", "ones",
                  "eye"))  # fmt: skip
MOST_NODES = 6000  # of one side; beyond it the comparison is given up
MOST_TERMS = 600  # of a polynomial on the way
MOST_WORK = 20_000  # terms of all of them together


def canonical(root: Node) -> Node:
    """The node in one spelling: sums of products as products of vectors, squares and quotients as products.

    >>> x = leaf("input", "x")
    >>> canonical(node("sub", node("pow", x, number(2)), x))
    x*x + -1*x
    """
    return rebuild(root, _respelled)


def _respelled(here: Node) -> Node:
    match here.op, here.args:
        case "loop", _:
            return _passes(here)
        case "item", (Node(op="tuple", args=values),):
            found: Node = values[here.attrs[0]]
            return found
        case "sum", (Node(op="mul", args=(a, b)),) if a.type.axes == b.type.axes == tuple(here.attrs[0]) != ():
            return node("matmul", a, b) if len(a.type.axes) == 1 else here
        case "matmul", (a, b) if len(a.type.axes) == 1 and len(b.type.axes) == 2:
            return _respelled(node("matmul", _turned(b), a))
        case "transpose", (a,):
            return _turned(a)
        case "mul", (a, b) if _diagonal(a, b) or _diagonal(b, a):
            return _weighted(a, b) if _diagonal(a, b) else _weighted(b, a)
        case "matmul", (a, b) if len(b.type.axes) == 1 and _weighs(a):
            return _applied(a, b)
        case "pow", (a, b) if b.value == 2:
            return node("mul", a, a)
        case "sub", (a, b):
            return node("add", a, node("mul", number(-1), b))
        case "neg", (a,):
            return number(-a.value) if a.value is not None else node("mul", number(-1), a)
        case "mul", (a, b) if a.value is not None and b.value is not None:
            return number(a.value * b.value)
        case "mul", (a, b) if b.value is not None:
            return _respelled(node("mul", b, a))
        case "mul", (a, Node(op="mul", args=(b, c))) if a.value is not None and b.value is not None:
            return c if a.value * b.value == 1 else node("mul", number(a.value * b.value), c)
        case "add", (a, b) if a.value is not None and b.value is not None:
            return number(a.value + b.value)
        case "div", (a, b) if b.value is not None and b.value:
            return _respelled(node("mul", number(1 / b.value), a))
        case "div", (a, b) if a.value != 1:
            return node("mul", a, node("div", number(1), b))
        case ("max" | "min"), (a, b) if a.value is not None and b.value is None:
            return node(here.op, b, a)
        case ("lt" | "le" | "gt" | "ge" | "eq" | "ne" | "mod"), (a, b) if a.value is not None and b.value is not None:
            return _decided(here.op, a.value, b.value)
        case ("and" | "or" | "not"), args if any(x.op == "bool" for x in args):
            return _logic(here)
        case "select", (condition, yes, no) if condition.op == "bool":
            return yes if condition.attrs[0] else no
        case ("sum" | "mean" | "norm" | "amax" | "amin" | "std"), (a,):
            axes, *more = here.attrs
            once = tuple(sorted(set(axes)))
            return here if once == axes else node(here.op, a, attrs=(once, *more))
        case "size", (a,):
            total = number(1)
            for axis in here.attrs[0]:
                total = node("mul", total, leaf("axis", axis, Type("int")))
            return total
    return here


def _decided(op: str, a: Fraction, b: Fraction) -> Node:
    """A comparison of numbers, or what is left of one."""
    if op == "mod":
        return number(a % b) if b else node("mod", number(a), number(b))
    return boolean({"lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b, "eq": a == b, "ne": a != b}[op])


def _logic(here: Node) -> Node:
    """`and`, `or`, `not` where a side is known."""
    known = [x.attrs[0] for x in here.args if x.op == "bool"]
    rest = [x for x in here.args if x.op != "bool"]
    if here.op == "not":
        return boolean(not known[0])
    if (here.op == "or") in known:
        return boolean(here.op == "or")
    return rest[0] if rest else boolean(here.op == "and")


def _diagonal(x: Node, a: Node) -> bool:
    """Whether `x*a` weighs the rows or columns of a matrix, told apart by their names."""
    return len(x.type.axes) == 1 and len(set(a.type.axes)) == 2


def _weighted(x: Node, a: Node) -> Node:
    """`x*a`, with the weights moved down to what cannot be taken apart."""
    match a.op, a.args:
        case "add", (p, q):
            return node("add", _weighted(x, p), _weighted(x, q))
        case "mul", (p, q) if not p.type.axes:
            return node("mul", p, _weighted(x, q))
        case "mul", (p, q) if _diagonal(q, p) and q.type.axes == x.type.axes:
            return node("mul", p, node("mul", x, q))
        case "outer", (p, q):
            columns = x.type.axes == q.type.axes
            return node("outer", p, node("mul", x, q)) if columns else node("outer", node("mul", x, p), q)
    return node("mul", a, x)


def _weighs(a: Node) -> bool:
    """Whether a sum has a matrix whose rows or columns are weighed."""
    match a.op, a.args:
        case "add", (p, q):
            return _weighs(p) or _weighs(q)
        case "mul", (p, q):
            return _diagonal(q, p) or _weighs(q)
    return False


def _applied(a: Node, v: Node) -> Node:
    """`a @ v`, term by term: weights of columns belong to v, those of rows to the product."""
    match a.op, a.args:
        case "add", (p, q):
            return node("add", _applied(p, v), _applied(q, v))
        case "mul", (p, q) if not p.type.axes:
            return node("mul", p, _applied(q, v))
        case "mul", (p, q) if _diagonal(q, p):
            if q.type.axes == v.type.axes:
                return _applied(p, node("mul", q, v))
            return node("mul", q, _applied(p, v))
        case "outer", (p, q):
            return node("mul", node("matmul", q, v), p)
    return node("matmul", a, v)


def _turned(a: Node) -> Node:
    """The transpose, moved down to what cannot be taken apart."""
    match a.op, a.args:
        case _ if len(a.type.axes) < 2:
            return a
        case "transpose", (inner,):
            return inner
        case ("add" | "mul"), (x, y):
            return node(a.op, _turned(x), _turned(y))
        case "outer", (x, y):
            return node("outer", y, x)
        case "matmul", (x, y) if len(x.type.axes) == len(y.type.axes) == 2:
            return node("matmul", _turned(y), _turned(x))
        case "ones", _:
            return node("ones", attrs=(Type("real", tuple(reversed(a.type.axes))),))
        case "eye", _:
            return a
    return node("transpose", a)


def _passes(here: Node) -> Node:
    """A loop over a known number of passes, written out."""
    body, domain = here.attrs[0], here.args[0]
    ends = (domain.args if domain.op == "range" else (number(1), domain))[:2]
    first, last = (x.value for x in ends)
    if body.until is not None or first is None or last is None or last > 64:
        raise Unsupported("a loop without a known number of passes")
    values = list(here.args[1:])
    for at in range(int(first), int(last) + 1):
        table = dict(zip(body.variables, values, strict=True))
        if body.index is not None:
            table[body.index] = number(at)
        values = [rebuild(n, lambda x, table=table: _respelled(table.get(x, x))) for n in body.nexts]  # type: ignore[misc]
    return node("tuple", *values)


def same(left: Node, right: Node, moving: Collection[Node] = ()) -> bool:
    """Whether both are equal; False only if numbers tell them apart; raises `Unsupported` if it was not found out."""
    try:
        a, b = canonical(left), canonical(right)
    except Mismatch as error:
        raise Unsupported(f"the shapes {error} in one place") from None
    if a is b:
        return True
    sizes = [sum(1 for _ in x.walk()) for x in (a, b)]
    if max(sizes) > MOST_NODES:
        raise Unsupported(f"{max(sizes)} operations are too many to compare")
    lettered = [_lettered(a, b, set(moving), whole) for whole in (True, False)]
    if any(_normal(*pair) for pair in lettered):
        return True
    if _told_apart(a, b):
        return False
    raise Unsupported("equal where it was tried, but not in normal form")


def _normal(left: Node, right: Node) -> bool:
    """Whether the normal forms are found, and equal."""
    normal = Normaliser(biggest=MOST_TERMS, budget=MOST_WORK)
    try:
        return left is right or normal(left) == normal(right)
    except (Unsupported, TooLarge, ZeroDivisionError):
        return False


def _lettered(left: Node, right: Node, moving: set[Node], whole: bool) -> tuple[Node, Node]:
    """Both with one leaf for each value that is no ring operation.

    What does not move is one leaf if it is one node, with `whole` every product that is a vector too, up to scalar
    factors; functions of what moves are one leaf if their arguments are found equal.
    """
    letters: dict[Node, Node] = {}
    functions: dict[tuple[object, ...], list[tuple[tuple[Node, ...], Node]]] = {}

    def letter(like: Node) -> Node:
        count = len(letters) + sum(map(len, functions.values()))
        return leaf("free", f"letter {count + 1}", Type(like.type.kind, like.type.axes))

    def function(here: Node, args: tuple[Node, ...]) -> Node:
        known = functions.setdefault((here.op, here.attrs, here.type), [])
        for others, stands in known:
            if all(p is q or _normal(p, q) for p, q in zip(args, others, strict=True)):
                return stands
        stands = letter(here)
        known.append((args, stands))
        return stands

    def opaque(here: Node) -> bool:
        scaled = here.op == "mul" and not all(x.type.axes for x in here.args)
        vector = whole and len(here.type.axes) == 1 and here.op in ("matmul", "mul") and not scaled
        return here.op not in RING or vector

    done: dict[Node, Node] = {}
    touched: dict[Node, bool] = {}
    for root in (left, right):
        for here in root.walk():
            touched[here] = here in moving or any(touched[c] for c in here.children)
        stack = [root]
        while stack:
            here = stack[-1]
            if here in done:
                stack.pop()
                continue
            if not touched[here] and opaque(here):
                done[here] = letters.setdefault(here, letter(here))
                continue
            waiting = [x for x in here.args if x not in done]
            if waiting:
                stack += waiting
                continue
            args = tuple(done[x] for x in here.args)
            if here.op not in RING and args:
                done[here] = function(here, args)
            else:
                alike = all(p is q for p, q in zip(args, here.args, strict=True))
                done[here] = here if alike else node(here.op, *args, attrs=here.attrs)
    return done[left], done[right]


def _told_apart(left: Node, right: Node) -> bool:
    """Whether the values differ where they are tried."""
    leaves = sorted({x for root in (left, right) for x in root.walk() if x.op == "leaf" and x.role != "axis"}, key=repr)
    sizes: dict[str, int] = {}
    for here in {x for root in (left, right) for x in root.walk()}:
        for axis in here.type.axes:
            sizes.setdefault(axis, int(axis) if axis.isdigit() else 0)
    for i, axis in enumerate(sorted(a for a, n in sizes.items() if not n)):
        sizes[axis] = 2 + i
    draw = np.random.default_rng(0)
    values: dict[Node, Any] = {x: draw.uniform(0.2, 0.8, [sizes[axis] for axis in x.type.axes]) for x in leaves}
    values |= {leaf("axis", axis, Type("int")): np.float64(n) for axis, n in sizes.items()}
    try:
        found = [evaluate(x, values) for x in (left, right)]
    except (KeyError, NotImplementedError, ValueError) as error:
        raise Unsupported(f"what has no value to try: {error}") from None
    return not np.allclose(found[0], found[1], rtol=1e-9, atol=1e-12)
