"""Next values read as affine functions of one or more states: what a recurrence is made of.

    M' = Σ_j scale_j*M_j + Σ weight*(Σ_j M_j @ p_j + u) yᵀ + rest

The coefficients do not depend on these states. Nothing is guessed: what is not affine raises `NotAffine`, with the
reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from dotopt.compiler.ir import Node, leaf, node, number
from dotopt.compiler.ops.types import Mismatch, Type
from dotopt.compiler.rewrite import simplify

Low = tuple[Node, Node, "Node | None", "Node | None"]  # weight * f gᵀ, over a window of the last C tokens


class NotAffine(Exception):
    """The next value is not an affine function of the states; `why` is a sentence."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Pair:
    """The term `weight*(Σ_j M_j @ p_j + u) yᵀ`. None is zero for `u`, one for `weight`.

    With a `window` C it is the sum over the last C tokens, and each part has a first axis for them.
    """

    p: Mapping[str, Node]
    u: Node | None
    y: Node
    weight: Node | None = None
    window: Node | None = None

    def scaled(self, factor: Node) -> Pair:
        return Pair(self.p, self.u, self.y, _mul(factor, self.weight) or factor, self.window)


@dataclass(frozen=True, slots=True)
class Affine:
    """`Σ scale*state + Σ pairs + rest`; None is zero."""

    scale: Mapping[str, Node] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    rest: Node | None = None

    @property
    def elementwise(self) -> bool:
        """No term reads a state across its entries."""
        return not any(pair.p for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class Vector:
    """`Σ_j M_j @ x_j + u`, a vector on the way."""

    x: Mapping[str, Node]
    u: Node | None


RECENT = "window"  # the axis of what is kept of the last C tokens


def recent(value: Node, length: Node) -> Node:
    """The leaf that stands for the values of the last C tokens, the oldest first; `kept` tells which."""
    return leaf("sequence", "last", Type("real", (RECENT, *value.type.axes)), value, length)


def kept(here: Node) -> tuple[Node, Node] | None:
    """Of the leaf of `recent`: the value and the length of the window."""
    return (here.args[0], here.args[1]) if here.role == "sequence" and len(here.args) == 2 else None


def key_of(value: Node, length: Node) -> str:
    """The name under which a window keeps values: the same in every form of the code, however it writes them."""
    return f"last {simplify(value)!r}, {length!r}"


def affine(root: Node, *own: Node) -> Affine:
    """`root` as an affine function of the leaves `own`; raises `NotAffine`.

    >>> M, k = leaf("state", "M", Type("real", ("n", "d"))), leaf("input", "k", Type("real", ("d",)))
    >>> form = affine(node("sub", M, node("outer", node("matmul", M, k), k)), M)
    >>> form.pairs[0].p["M"], form.pairs[0].weight
    (k, -1)
    """
    try:
        found = _Reader({x: x.name for x in own}).read(root)
    except Mismatch as error:
        raise NotAffine(f"weights of different axes meet: {error}") from None
    if isinstance(found, Vector):
        raise NotAffine("a vector where the state is a matrix")
    return _merged(found)


@dataclass(eq=False)
class _Reader:
    """Reads a node as an affine function of the states `own`; each node once."""

    own: Mapping[Node, str]
    done: dict[Node, Affine | Vector] = field(default_factory=dict)
    touched: dict[Node, bool] = field(default_factory=dict)

    @property
    def matrices(self) -> bool:
        return any(len(x.type.axes) == 2 for x in self.own)

    def by_columns(self, factor: Node) -> bool:
        """Whether an entrywise factor is a number for each column, of states whose axes have two names."""
        axes = {x.type.axes for x in self.own}
        return all(len(a) == 2 and a[0] != a[1] and factor.type.axes == a[1:] for a in axes)

    def involves(self, here: Node) -> bool:
        """Whether the value depends on the states."""
        if here not in self.touched:
            for below in here.walk():
                if below not in self.touched:
                    self.touched[below] = below in self.own or any(self.touched[c] for c in below.children)
        return self.touched[here]

    def read(self, here: Node) -> Affine | Vector:
        if here not in self.done:
            self.done[here] = self._read(here)
        return self.done[here]

    def _read(self, here: Node) -> Affine | Vector:
        if here in self.own:
            return Affine({self.own[here]: number(1)})
        if not self.involves(here):
            return self.constant(here)
        match here.op, here.args:
            case "add", (a, b):
                return _add(self.read(a), self.read(b), number(1))
            case "sub", (a, b):
                return _add(self.read(a), self.read(b), number(-1))
            case "neg", (a,):
                return self.scaled(self.read(a), number(-1))
            case "stop", _:
                raise NotAffine(f"`{here!r}` hides how it depends on the state")
            case "mul", (a, b):
                if self.involves(a) and self.involves(b):
                    raise NotAffine(f"`{here!r}` multiplies the state by itself")
                factor, rest = (b, a) if self.involves(a) else (a, b)
                return self.scaled(self.read(rest), factor)
            case "div", (a, b) if not self.involves(b):
                return self.scaled(self.read(a), node("div", number(1), b))
            case "matmul", (a, b) if not self.involves(b):
                return self.product(self.read(a), b)
            case "matmul", (a, b) if self.involves(b) and not self.involves(a):
                raise NotAffine(f"`{here!r}` has a factor on the left of the state")
            case "outer", (a, b) if not self.involves(b):
                inner = self.read(a)
                if isinstance(inner, Vector):
                    return Affine({}, (Pair(inner.x, inner.u, b),))
        names = ", ".join(f"`{name}`" for name in self.own.values())
        raise NotAffine(f"`{here!r}` is not affine in {names}")

    def constant(self, here: Node) -> Affine | Vector:
        if len(here.type.axes) == 1 and self.matrices:
            return Vector({}, here)
        found = low_rank(here)
        if found is not None and found[0] is None:
            return Affine({}, tuple(Pair({}, f, g, weight, window) for f, g, weight, window in found[1]))
        return Affine({}, (), here)

    def scaled(self, form: Affine | Vector, factor: Node) -> Affine | Vector:
        if isinstance(form, Vector):
            if factor.type.axes and form.x:
                raise NotAffine(f"`{factor!r}` weighs the entries of a product with the state")
            return Vector({n: _times(factor, x) for n, x in form.x.items()}, _mul(factor, form.u))
        scale = {n: self.weighed(factor, x) for n, x in form.scale.items()}
        if not factor.type.axes:
            return Affine(scale, tuple(pair.scaled(factor) for pair in form.pairs), _mul(factor, form.rest))
        if self.by_columns(factor) and not any(pair.window is not None for pair in form.pairs):
            pairs = tuple(Pair(pair.p, pair.u, _times(factor, pair.y), pair.weight) for pair in form.pairs)
            return Affine(scale, pairs, _mul(factor, form.rest))
        if not form.elementwise or any(pair.window is not None for pair in form.pairs):
            raise NotAffine(f"`{factor!r}` weighs the entries of a product with the state")
        return Affine(scale, (), _mul(factor, added(form)))

    def weighed(self, factor: Node, x: Node) -> Node:
        """The product of two weights; of one for the rows and one for the columns it is a matrix."""
        if len(factor.type.axes) == len(x.type.axes) == 1 and factor.type.axes != x.type.axes:
            rows = next(iter(self.own)).type.axes[0]
            return node("outer", *((factor, x) if factor.type.axes == (rows,) else (x, factor)))
        return _times(factor, x)

    def product(self, form: Affine | Vector, right: Node) -> Affine | Vector:
        if isinstance(form, Vector):
            raise NotAffine("a product of a vector with a matrix")
        if len(right.type.axes) == 1 or right.type.axes[:1] == (RECENT,):
            return self.applied(form, right)
        found = low_rank(right)
        if found is None or any(factor.type.axes for factor in form.scale.values()):
            raise NotAffine(f"`{right!r}` is not a multiple of the identity plus a term of low rank")
        identity, terms = found
        total: Affine | Vector = self.scaled(form, identity) if identity is not None else Affine()
        for f, g, weight, window in terms:
            inner = self.applied(form, f)
            pair = Pair(inner.x, inner.u, g, weight, window)
            total = _add(total, Affine({}, (pair,)), number(1))
        return total

    def applied(self, form: Affine, right: Node) -> Vector:
        """The matrix times a vector, or times the vectors of a window."""
        several = right.type.axes[:1] == (RECENT,)
        entrywise = [factor for factor in form.scale.values() if factor.type.axes]
        if entrywise and (several or not all(map(self.by_columns, entrywise))):
            raise NotAffine(f"a state with entrywise decay is multiplied by `{right!r}`")
        if any(pair.window is not None for pair in form.pairs) or (several and (form.pairs or form.rest is not None)):
            raise NotAffine("a term over a window is read by the token that writes it")
        x = {n: _times(factor, right) for n, factor in form.scale.items()}
        u = None if form.rest is None else node("matmul", form.rest, right)
        for pair in form.pairs:
            weight = _times(_dot(pair.y, right), pair.weight or number(1))
            x = _plus_all(x, {n: _times(weight, p) for n, p in pair.p.items()})
            u = _plus(u, _mul(weight, pair.u))
        return Vector(x, u)


# ---- matrices of low rank --------------------------------------------------------------------------------------------


def low_rank(here: Node) -> tuple[Node | None, tuple[Low, ...]] | None:
    """`s*I + Σ weight*f gᵀ` as (s, terms), for matrices that are written so; sums over windows included."""
    match here.op, here.args:
        case "eye", ():
            return number(1), ()
        case "outer", (f, g):
            return None, ((f, g, None, None),)
        case "transpose", (a,):
            inner = low_rank(a)
            return None if inner is None else (inner[0], tuple((g, f, weight, w) for f, g, weight, w in inner[1]))
        case ("add" | "sub"), (a, b):
            left, right = low_rank(a), low_rank(b)
            if left is None or right is None:
                return None
            right = right if here.op == "add" else _scaled_low_rank(right, number(-1))
            return _plus(left[0], right[0]), left[1] + right[1]
        case "neg", (a,):
            inner = low_rank(a)
            return None if inner is None else _scaled_low_rank(inner, number(-1))
        case "mul", (a, b):
            for factor, rest in ((a, b), (b, a)):
                inner = low_rank(rest) if not factor.type.axes else None
                if inner is not None:
                    return _scaled_low_rank(inner, factor)
        case "div", (a, b) if not b.type.axes:
            inner = low_rank(a)
            return None if inner is None else _scaled_low_rank(inner, node("div", number(1), b))
        case "window", (a, length) if here.attrs.kind == "sum" and length.type.kind == "int":
            inner = low_rank(a)
            if inner is None or inner[0] is not None or any(window is not None for *_, window in inner[1]):
                return None
            return None, tuple(
                (recent(f if w is None or _moves(w) else _times(w, f), length), recent(g, length),
                 recent(w, length) if w is not None and _moves(w) else None, length)
                for f, g, w, _ in inner[1]
            )  # fmt: skip
    return None


def _moves(weight: Node) -> bool:
    """Whether a weight has a value of its own at every token, which a window must keep."""
    return any(here.role not in ("", "hyper", "option", "axis") for here in weight.walk())


def _scaled_low_rank(form: tuple[Node | None, tuple[Low, ...]], factor: Node) -> tuple[Node | None, tuple[Low, ...]]:
    return _mul(factor, form[0]), tuple((f, g, _times(factor, w or number(1)), window) for f, g, w, window in form[1])


# ---- sums and products, where None is zero ---------------------------------------------------------------------------


def added(form: Affine) -> Node | None:
    """What does not depend on the states, as a matrix."""
    total = form.rest
    for pair in form.pairs:
        if pair.u is not None:
            term = node("outer", pair.u, pair.y)
            term = term if pair.weight is None else _times(pair.weight, term)
            total = term if total is None else node("add", total, term)
    return total


def _add(a: Affine | Vector, b: Affine | Vector, sign: Node) -> Affine | Vector:
    if isinstance(a, Vector) and isinstance(b, Vector):
        return Vector(_plus_all(a.x, {n: _times(sign, x) for n, x in b.x.items()}), _plus(a.u, _mul(sign, b.u)))
    if isinstance(a, Vector) or isinstance(b, Vector):
        raise NotAffine("a vector added to a matrix")
    other = b.pairs if sign.value == 1 else tuple(pair.scaled(sign) for pair in b.pairs)
    scale = _plus_all(a.scale, {n: _times(sign, x) for n, x in b.scale.items()})
    return Affine(scale, a.pairs + other, _plus(a.rest, _mul(sign, b.rest)))


def _merged(form: Affine) -> Affine:
    """Terms with one y become one term: those with equal weights keep it, others are weighted before they are added."""
    by_y: dict[tuple[Node, Node | None], list[tuple[Fraction, Node | None, Pair]]] = {}
    for pair in form.pairs:
        by_y.setdefault((pair.y, pair.window), []).append((*_split(pair.weight), pair))
    pairs = []
    for (y, window), found in by_y.items():
        first, common = found[0][:2]
        if any(factor is not common for _, factor, _ in found):
            first, common = Fraction(1), None
        p: dict[str, list[tuple[Fraction, Node]]] = {}
        u: list[tuple[Fraction, Node]] = []
        for coefficient, factor, pair in found:
            inside = None if factor is common else factor
            for name, x in pair.p.items():
                p.setdefault(name, []).append((coefficient / first, x if inside is None else _times(inside, x)))
            if pair.u is not None:
                u.append((coefficient / first, pair.u if inside is None else _times(inside, pair.u)))
        weight = number(first) if common is None else _times(number(first), common)
        sums = {name: _sum(terms) for name, terms in p.items()}
        pairs.append(
            Pair({n: x for n, x in sums.items() if x is not None}, _sum(u), y, None if weight.value == 1 else weight,
                 window)
        )  # fmt: skip
    return Affine({n: simplify(x) for n, x in form.scale.items()}, tuple(pairs), form.rest)


def _sum(terms: list[tuple[Fraction, Node]]) -> Node | None:
    """The sum, equal nodes added up; None if nothing is left."""
    counts: dict[Node, Fraction] = {}
    for coefficient, term in terms:
        number_, factor = _split(simplify(term))
        factor = factor or number(1)
        counts[factor] = counts.get(factor, Fraction(0)) + coefficient * number_
    total: Node | None = None
    for factor, count in counts.items():
        if count:
            total = _plus(total, _times(number(count), factor))
    return total


def _split(weight: Node | None) -> tuple[Fraction, Node | None]:
    """A weight as a number times a product in a fixed order."""
    coefficient, factors = _factors(None if weight is None else simplify(weight))
    total: Node | None = None
    for factor in sorted(factors, key=repr):
        total = factor if total is None else node("mul", total, factor)
    return coefficient, total


def _factors(weight: Node | None) -> tuple[Fraction, tuple[Node, ...]]:
    if weight is None:
        return Fraction(1), ()
    if weight.value is not None:
        return weight.value, ()
    match weight.op, weight.args:
        case "neg", (a,):
            coefficient, factors = _factors(a)
            return -coefficient, factors
        case "mul", (a, b):
            (left, x), (right, y) = _factors(a), _factors(b)
            return left * right, x + y
    return Fraction(1), (weight,)


def _mul(a: Node | None, b: Node | None) -> Node | None:
    return None if a is None or b is None else _times(a, b)


def _times(a: Node, b: Node) -> Node:
    if a.value == 1:
        return b
    if b.value == 1:
        return a
    if a.value is not None and b.value is not None:
        return number(a.value * b.value)
    if a.value == -1:
        return b.args[0] if b.op == "neg" else node("neg", b)
    return node("mul", a, b)


def _plus(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None:
        return b if a is None else a
    return node("sub", a, b.args[0]) if b.op == "neg" else node("add", a, b)


def _plus_all(a: Mapping[str, Node], b: Mapping[str, Node]) -> dict[str, Node]:
    total = dict(a)
    for name, value in b.items():
        both = _plus(total.get(name), value)
        assert both is not None
        total[name] = both
    return total


def _dot(a: Node, b: Node) -> Node:
    product = node("mul", a, b)
    return node("sum", product, attrs=(product.type.axes, False))
