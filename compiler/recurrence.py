"""What kind of recurrence a state follows, and with it how a whole sequence can be computed at once.

    elementwise   x' = a*x + b                              an associative scan
    low rank      M' = a*M + Σ (M @ p + u) yᵀ               chunks in WY form
    frozen        P' = … every C                            constant inside a chunk
    sequential    anything else                             a loop, one token after the other

The coefficients must not depend on the state. They are found by reading the equation as an affine function of it;
nothing is guessed, and what is not recognised is sequential, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dotopt.compiler.ir import Node, Program, State, leaf, node, number, substitute
from dotopt.compiler.rewrite import simplify


class NotAffine(Exception):
    """The next value is not an affine function of the state; `why` is a sentence."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Pair:
    """The term `(M @ p + u) yᵀ`; either part may be absent."""

    p: Node | None
    u: Node | None
    y: Node


@dataclass(frozen=True, slots=True)
class Affine:
    """`scale*M + Σ pairs + rest`; None is zero."""

    scale: Node | None
    pairs: tuple[Pair, ...] = ()
    rest: Node | None = None

    @property
    def elementwise(self) -> bool:
        """No term reads the state across its entries."""
        return all(pair.p is None for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class Vector:
    """`M @ x + u`, a vector on the way."""

    x: Node | None
    u: Node | None


@dataclass(frozen=True, slots=True)
class Solved:
    """How one state is computed over a sequence: `kind` as in the module docstring, and why."""

    state: State
    kind: str
    form: Affine | None
    why: str
    period: Node | None = None


def classify(program: Program) -> tuple[Solved, ...]:
    """The states in an order in which each needs only earlier ones, with their kinds.

    In the forms of later states, the next value of an elementwise one is the leaf `sequence` of its name.
    """
    solved: dict[str, Solved] = {}
    leaves = {x.name: leaf("state", x.name, x.type) for x in program.states}
    for state in program.states:
        period = _period(state, leaves[state.name])
        if period is not None:
            solved[state.name] = Solved(state, "frozen", None, f"constant between firings every {period!r}", period)
        elif state.next is None:
            solved[state.name] = Solved(state, "frozen", None, "never changes")
    waiting = [x for x in program.states if x.name not in solved]
    sequences: dict[Node, Node] = {}  # next values that are there already, for all tokens
    moved = True
    while moved:
        moved = False
        for state in list(waiting):
            found = _solve(state, leaves, set(solved), sequences)
            if found is not None and found.kind != "sequential":
                solved[state.name] = found
                if found.kind == "elementwise" and state.next is not None:
                    sequences[state.next] = leaf("sequence", state.name, state.type)
                waiting.remove(state)
                moved = True
    for state in waiting:
        found = _solve(state, leaves, set(solved), sequences)
        why = found.why if found is not None else _tangle(state, leaves, set(solved))
        solved[state.name] = Solved(state, "sequential", None, why)
    order = {name: i for i, name in enumerate(solved)}
    return tuple(sorted(solved.values(), key=lambda x: order[x.state.name]))


def _period(state: State, own: Node) -> Node | None:
    """C of `x' = e every C` that holds its value otherwise, and fires at C, 2C, …"""
    match state.next:
        case Node(op="select", args=(Node(op="fires", args=(period, start)), _, held)):
            return period if held is own and start is period else None
    return None


def _others(root: Node, own: Node, leaves: dict[str, Node]) -> set[str]:
    return {x.name for x in root.walk() if x.role == "state" and x is not own and x.name in leaves}


def _tangle(state: State, leaves: dict[str, Node], known: set[str]) -> str:
    assert state.next is not None
    needed = sorted(_others(state.next, leaves[state.name], leaves) - known)
    return f"`{state.name}'` needs {', '.join(f'`{n}`' for n in needed)}, which need one another"


def _solve(state: State, leaves: dict[str, Node], known: set[str], sequences: dict[Node, Node]) -> Solved | None:
    assert state.next is not None
    own = leaves[state.name]
    root = substitute(state.next, {n: later for n, later in sequences.items() if n is not state.next})
    if not _others(root, own, leaves) <= known:
        return None
    try:
        form = affine(root, own)
    except NotAffine as error:
        return Solved(state, "sequential", None, error.why)
    if form.elementwise:
        return Solved(state, "elementwise", form, f"`{state.name}'` is affine in `{state.name}`, entry by entry")
    if form.scale is not None and form.scale.type.axes:
        return Solved(state, "sequential", None, "entrywise decay together with a term of low rank")
    if form.rest is not None:
        return Solved(state, "sequential", None, "a full-rank term is added at every token")
    why = f"a multiple of the identity plus rank {len(form.pairs)}, applied to `{own.name}`"
    return Solved(state, "low rank", form, why)


# ---- affine functions of a state -------------------------------------------------------------------------------------


def affine(root: Node, own: Node) -> Affine:
    """`root` as an affine function of the leaf `own`; raises `NotAffine`.

    >>> from dotopt.compiler.types import Type
    >>> M, k = leaf("state", "M", Type("real", ("n", "d"))), leaf("input", "k", Type("real", ("d",)))
    >>> affine(node("sub", M, node("outer", node("matmul", M, k), k)), M).pairs[0].p
    -k
    """
    found = _Reader(own).read(root)
    if isinstance(found, Vector):
        raise NotAffine("a vector where the state is a matrix")
    return _merged(found)


class _Reader:
    """Reads a node as an affine function of `own`; each node once."""

    def __init__(self, own: Node) -> None:
        self.own = own
        self.done: dict[Node, Affine | Vector] = {}

    def involves(self, here: Node) -> bool:
        """Whether the value depends on the state."""
        return any(x is self.own for x in here.walk())

    def read(self, here: Node) -> Affine | Vector:
        if here not in self.done:
            self.done[here] = self._read(here)
        return self.done[here]

    def _read(self, here: Node) -> Affine | Vector:
        if here is self.own:
            return Affine(number(1))
        if not self.involves(here):
            return self.constant(here)
        match here.op, here.args:
            case "add", (a, b):
                return _add(self.read(a), self.read(b), number(1))
            case "sub", (a, b):
                return _add(self.read(a), self.read(b), number(-1))
            case "neg", (a,):
                return self.scaled(self.read(a), number(-1))
            case "stop", (a,):
                return self.read(a)
            case "mul", (a, b):
                if self.involves(a) and self.involves(b):
                    raise NotAffine(f"`{here!r}` multiplies the state by itself")
                factor, rest = (b, a) if self.involves(a) else (a, b)
                return self.scaled(self.read(rest), factor)
            case "div", (a, b) if not self.involves(b):
                return self.scaled(self.read(a), node("div", number(1), b))
            case "matmul", (a, b) if not self.involves(b):
                return self.product(self.read(a), b)
            case "outer", (a, b) if not self.involves(b):
                inner = self.read(a)
                if isinstance(inner, Vector):
                    return Affine(None, (Pair(inner.x, inner.u, b),))
        raise NotAffine(f"`{here!r}` is not affine in `{self.own.name}`")

    def constant(self, here: Node) -> Affine | Vector:
        if len(here.type.axes) == 1 and len(self.own.type.axes) == 2:
            return Vector(None, here)
        found = _low_rank(here)
        if found is not None and found[0] is None:
            return Affine(None, tuple(Pair(None, u, y) for u, y in found[1]))
        return Affine(None, (), here)

    def scaled(self, form: Affine | Vector, factor: Node) -> Affine | Vector:
        if isinstance(form, Vector):
            if factor.type.axes and form.x is not None:
                raise NotAffine(f"`{factor!r}` weighs the entries of a product with the state")
            return Vector(_mul(factor, form.x), _mul(factor, form.u))
        if factor.type.axes:
            if not form.elementwise:
                raise NotAffine(f"`{factor!r}` weighs the entries of a product with the state")
            whole = [node("outer", p.u, p.y) for p in form.pairs if p.u is not None]
            rest = form.rest
            for term in whole:
                rest = term if rest is None else node("add", rest, term)
            return Affine(_mul(factor, form.scale), (), _mul(factor, rest))
        pairs = tuple(Pair(_mul(factor, p.p), _mul(factor, p.u), p.y) for p in form.pairs)
        return Affine(_mul(factor, form.scale), pairs, _mul(factor, form.rest))

    def product(self, form: Affine | Vector, right: Node) -> Affine | Vector:
        if isinstance(form, Vector):
            raise NotAffine("a product of a vector with a matrix")
        if len(right.type.axes) == 1:
            x = _mul(form.scale, right)
            u = None if form.rest is None else node("matmul", form.rest, right)
            for pair in form.pairs:
                weight = _dot(pair.y, right)
                x, u = _plus(x, _mul(weight, pair.p)), _plus(u, _mul(weight, pair.u))
            return Vector(x, u)
        found = _low_rank(right)
        if found is None or (form.scale is not None and form.scale.type.axes):
            raise NotAffine(f"`{right!r}` is not a multiple of the identity plus a term of low rank")
        identity, terms = found
        total: Affine | Vector = self.scaled(form, identity) if identity is not None else Affine(None)
        for f, g in terms:
            inner = self.product(form, f)
            assert isinstance(inner, Vector)
            total = _add(total, Affine(None, (Pair(inner.x, inner.u, g),)), number(1))
        return total


def _low_rank(here: Node) -> tuple[Node | None, tuple[tuple[Node, Node], ...]] | None:
    """`s*I + Σ f gᵀ` as (s, ((f, g), …)), for matrices that are written so."""
    match here.op, here.args:
        case "eye", ():
            return number(1), ()
        case "outer", (f, g):
            return None, ((f, g),)
        case ("add" | "sub"), (a, b):
            left, right = _low_rank(a), _low_rank(b)
            if left is None or right is None:
                return None
            sign = number(1 if here.op == "add" else -1)
            flipped = tuple((_known(_mul(sign, f)), g) for f, g in right[1])
            return _plus(left[0], _mul(sign, right[0])), left[1] + flipped
        case "neg", (a,):
            inner = _low_rank(a)
            return None if inner is None else _scaled_low_rank(inner, number(-1))
        case "mul", (a, b):
            for factor, rest in ((a, b), (b, a)):
                inner = _low_rank(rest)
                if not factor.type.axes and inner is not None:
                    return _scaled_low_rank(inner, factor)
    return None


def _scaled_low_rank(
    form: tuple[Node | None, tuple[tuple[Node, Node], ...]], factor: Node
) -> tuple[Node | None, tuple[tuple[Node, Node], ...]]:
    return _mul(factor, form[0]), tuple((_known(_mul(factor, f)), g) for f, g in form[1])


def _add(a: Affine | Vector, b: Affine | Vector, sign: Node) -> Affine | Vector:
    if isinstance(a, Vector) and isinstance(b, Vector):
        return Vector(_plus(a.x, _mul(sign, b.x)), _plus(a.u, _mul(sign, b.u)))
    if isinstance(a, Vector) or isinstance(b, Vector):
        raise NotAffine("a vector added to a matrix")
    other = tuple(Pair(_mul(sign, p.p), _mul(sign, p.u), p.y) for p in b.pairs)
    return Affine(_plus(a.scale, _mul(sign, b.scale)), a.pairs + other, _plus(a.rest, _mul(sign, b.rest)))


def _merged(form: Affine) -> Affine:
    """Terms with one y become one term."""
    by_y: dict[Node, Pair] = {}
    for pair in form.pairs:
        old = by_y.get(pair.y)
        by_y[pair.y] = pair if old is None else replace(old, p=_plus(old.p, pair.p), u=_plus(old.u, pair.u))
    pairs = tuple(Pair(_tidy(p.p), _tidy(p.u), p.y) for p in by_y.values())
    return Affine(_tidy(form.scale), pairs, form.rest)  # the rest keeps the names that its parts have


def _tidy(value: Node | None) -> Node | None:
    return None if value is None else simplify(value)


def _known(value: Node | None) -> Node:
    assert value is not None
    return value


def _mul(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None:
        return None
    if a.value == 1:
        return b
    if b.value == 1:
        return a
    if a.value == -1:
        return b.args[0] if b.op == "neg" else node("neg", b)
    return node("mul", a, b)


def _plus(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None:
        return b if a is None else a
    return node("sub", a, b.args[0]) if b.op == "neg" else node("add", a, b)


def _dot(a: Node, b: Node) -> Node:
    product = node("mul", a, b)
    return node("sum", product, attrs=(product.type.axes, False))


