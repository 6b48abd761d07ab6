"""From the IR to normal forms N1-N3: a node becomes a polynomial over atoms, as a function of its named axes.

Entrywise operations act on the value at one place, so a tensor is a polynomial whose atoms vary along its axes. Sums
are linear and pull out what does not vary (`reductions`); products of matrices are words (`matrices`). All else is an
atom that is known by the normal form of its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

from dotopt.compiler.calculus import gradient
from dotopt.compiler.ir import FUNCTIONS, Node, sentence
from dotopt.compiler.ops import OPERATIONS, Absent, present
from dotopt.compiler.prove.forms import reductions
from dotopt.compiler.prove.forms.families import family
from dotopt.compiler.prove.forms.matrices import direction, inverted, matrix, spectral, turn
from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    ZERO,
    Atom,
    Polynomial,
    atom,
    fraction,
    inverse,
    number,
    single,
    single_product,
)
from dotopt.compiler.prove.forms.reductions import reduction
from dotopt.compiler.prove.forms.scalars import Scalars, Unsupported
from dotopt.compiler.prove.forms.words import MODEL, Words
from dotopt.compiler.prove.fuel import spend

VARYING = ("param", "state", "draw", "input")
NODE = 10  # work for the law of a node, besides that of its polynomials
BIGGEST = 4000  # terms; a normal form larger than this is given up
LAWFUL = frozenset(
    ("inverse", "sqrt", "abs", "sign", "pow", "sum", "amax", "amin", "trace", "size", "ones", "word", "floor")
)
HALF = Fraction(1, 2)
# made of other operations, without laws of their own; and functions of one number that are atoms
DEFINED = tuple(op for op, row in OPERATIONS.items() if row.definition and row.axioms == ())
ATOMIC = tuple(op for op in FUNCTIONS if op not in (*DEFINED, "neg", "sqrt", "abs", "sign", "floor"))


@dataclass
class Normaliser(Scalars):
    """Normal forms of nodes; `shared` names the states that all tensors of the optimizer have in common."""

    shared: frozenset[str] = frozenset()
    chosen: Mapping[str, Node] = field(default_factory=dict)  # sets that are drawn, and from which
    words: Words = field(default_factory=Words)
    done: dict[Node, Polynomial] = field(default_factory=dict)
    biggest: int = BIGGEST  # terms of one form
    budget: float = math.inf  # terms of all of them together

    def __post_init__(self) -> None:
        self.words.turn = partial(turn, self)

    def __call__(self, root: Node) -> Polynomial:
        """The normal form of `root`; raises `Unsupported`, or ZeroDivisionError for 1/0."""
        stack = [root]
        while stack:
            here = stack[-1]
            if here in self.done:
                stack.pop()
                continue
            waiting = [a for a in self._asked(here) if a not in self.done]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            spend(NODE)
            if here.op == "select" and self.done[here.args[0]].constant is not None:
                value = self.done[here.args[1 if self.done[here.args[0]].constant else 2]]
            else:
                value = LAWS.get(here.op, Normaliser.opaque)(self, here, [self.done[a] for a in here.args])
            self.budget -= len(value.terms)
            if len(value.terms) > self.biggest or self.budget < 0:
                raise Unsupported("the expression is too large when multiplied out")
            self.done[here] = value
        return self.done[root]

    def _asked(self, here: Node) -> tuple[Node, ...]:
        """The arguments that matter: of a branch whose condition is decided, only the one that is taken."""
        if here.op != "select" or here.args[0] not in self.done:
            return here.args if here.op != "select" else here.args[:1]
        decided = self.done[here.args[0]].constant
        return here.args if decided is None else (here.args[1 if decided else 2],)

    def opaque(self, here: Node, a: list[Polynomial]) -> Polynomial:
        """An atom, known by its operation and the normal forms of its arguments."""
        axes = set(here.type.axes)
        if any(MODEL in p.axes for p in a) and not (here.op == "oracle" and here.attrs[1] == "value"):
            axes.add(MODEL)
        kind = f"{here.op} of" if here.op in LAWFUL else here.op  # no law of a kind that holds something else
        return single(atom(kind, here.attrs, tuple(a), axes=frozenset(axes)))

    def add_up(self, p: Polynomial, axes: tuple[str, ...]) -> Polynomial:
        """The sum along several axes."""
        return reductions.along(p, axes, self.words)

    def opened(self, p: Polynomial) -> Polynomial:
        """With inner products of vectors that are products of matrices as one word: Σ (A x)² is xᵀ Aᵀ A x."""
        return reductions.opened(self, p)


# ---- operations ----------------------------------------------------------------------------------------------------


def _infinity(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    raise Unsupported("∞ is not a real number")


def _leaf(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    if here.type.kind in ("sample", "set", "list", "tuple", "any"):
        return normal.opaque(here, a)
    if here.role == "axis":  # its name is its size
        return reductions.size_of((here.name,))
    axes = set(here.type.axes)
    if here.role in VARYING and (axes or (here.role == "state" and here.name not in normal.shared)):
        axes.add(MODEL)
    name = atom("leaf", here.role, here.name, tuple(a), axes=frozenset(axes))
    if here.type.kind == "int":
        normal.integers.add(name)
    return normal.truth(single(name)) if here.type.kind == "bool" else single(name)  # b² = b


def _equal(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    boolean = here.args[0].type.kind == "bool"
    same = a[0] * a[1] * 2 - a[0] - a[1] + 1 if boolean else normal.equal(a[0] - a[1])
    return same if here.op == "eq" else ONE - same


def _size(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    if here.args[0].type.kind in ("set", "list"):
        return single(atom("size", "#" + repr(here.args[0])))
    return reduction(normal, here, a)


def _oracle(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """Hessian-vector products are linear in their last argument; the rest are atoms."""
    if here.attrs[1] not in ("hessian_vector", "hessian") or len(a) < 2:
        return normal.opaque(here, a)
    *points, vector = a
    axes = set(here.type.axes)
    result = ZERO
    for monomial, coefficient in vector.terms:
        outside = tuple(f for f in monomial if not f[0].axes & axes)
        inside = single_product(tuple(f for f in monomial if f[0].axes & axes))
        value = single(atom(here.op, here.attrs, (*points, inside), axes=frozenset(axes | {MODEL})))
        result = result + single_product(outside) * coefficient * value
    return result


def _argmin(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """The minimum of a quadratic with a positive scalar curvature, from its gradient A*v + B."""
    body = here.attrs[0]
    if len(body.variables) != 1 or here.args:
        return normal.opaque(here, [])
    (variable,) = body.variables
    slope = normal(gradient(body.body, variable))
    (v,) = normal(variable).atoms()
    top, bottom = fraction(slope)
    curvature, rest = ZERO, ZERO
    for monomial, c in top.terms:
        power = dict(monomial).get(v, 0)
        others = tuple(f for f in monomial if f[0] is not v)
        if power not in (0, 1) or any(v in atoms_below(single(f[0])) for f in others):
            return normal.opaque(here, [])
        term = single_product(others) * c
        curvature, rest = (curvature + term, rest) if power else (curvature, rest + term)
    if not normal.positive(curvature * inverse(bottom)) and not normal.positive(curvature * bottom):
        return normal.opaque(here, [])
    return -rest * inverse(curvature)


def _clipped(normal: Normaliser, here: Node) -> Polynomial | None:
    """min(max(x, l), h), or max(min(x, h), l), l <= h: half of |x - l| - |x - h| + l + h, plainly odd for l = -h."""
    other = {"min": "max", "max": "min"}[here.op]
    for inner, outer in (here.args, here.args[::-1]):
        if inner.op != other:
            continue
        bounds = [normal(inner.args[1]), normal(outer)]
        low, high = bounds if here.op == "min" else bounds[::-1]
        if normal.nonnegative(high - low):
            x = normal(inner.args[0])
            return (normal.absolute(x - low) - normal.absolute(x - high) + low + high) * HALF
    return None


def _defined(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """Of an operation without axioms: the form of its definition."""
    return normal(sentence(present(OPERATIONS[here.op].definition), *here.args))


def _function(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """An atom, or its value where that is known exactly."""
    known = OPERATIONS[here.op].known
    for at, value in () if isinstance(known, Absent) else known:
        if a[0].constant == Fraction(at):
            return normal(sentence(value))
    return normal.function(here.op, a[0])


Law = Callable[[Normaliser, Node, list[Polynomial]], Polynomial]

LAWS: dict[str, Law] = {
    "const": lambda normal, here, a: number(here.attrs.value),
    "bool": lambda normal, here, a: number(int(here.attrs.value)),
    "inf": _infinity,
    "leaf": _leaf,
    "add": lambda normal, here, a: a[0] + a[1],
    "sub": lambda normal, here, a: a[0] - a[1],
    "mul": lambda normal, here, a: a[0] * a[1],
    "neg": lambda normal, here, a: -a[0],
    "div": lambda normal, here, a: a[0] * inverse(a[1]),
    "pow": lambda normal, here, a: normal.power(a[0], a[1]),
    "sqrt": lambda normal, here, a: normal.root(a[0]),
    "abs": lambda normal, here, a: normal.absolute(a[0]),
    "sign": lambda normal, here, a: normal.sign(a[0]),
    "floor": lambda normal, here, a: normal.floor(a[0]),
    "max": lambda normal, here, a: _clipped(normal, here) or _defined(normal, here, a),
    "min": lambda normal, here, a: _clipped(normal, here) or _defined(normal, here, a),
    "gt": lambda normal, here, a: normal.truth(a[0] - a[1]),
    "lt": lambda normal, here, a: normal.truth(a[1] - a[0]),
    "ge": lambda normal, here, a: ONE - normal.truth(a[1] - a[0]),
    "le": lambda normal, here, a: ONE - normal.truth(a[0] - a[1]),
    "eq": _equal,
    "ne": _equal,
    "and": lambda normal, here, a: a[0] * a[1],
    "or": lambda normal, here, a: a[0] + a[1] - a[0] * a[1],
    "not": lambda normal, here, a: ONE - a[0],
    "select": lambda normal, here, a: a[2] + a[0] * (a[1] - a[2]),
    **dict.fromkeys(ATOMIC, _function),
    **dict.fromkeys(DEFINED, _defined),
    "stop": lambda normal, here, a: a[0],
    "cast": lambda normal, here, a: a[0],
    "pi": lambda normal, here, a: single(atom("pi")),
    "zeros": lambda normal, here, a: ZERO,
    "ones": lambda normal, here, a: ONE,
    "size": _size,
    **dict.fromkeys(("sum", "mean", "norm", "amax", "amin", "std"), reduction),
    **dict.fromkeys(("matmul", "outer", "transpose", "trace", "eye"), matrix),
    **dict.fromkeys(("polar", "unit"), direction),
    **dict.fromkeys(("inverse", "solve"), inverted),
    "spectral_norm": spectral,
    "oracle": _oracle,
    "argmin": _argmin,
    "fold": family,
}


def atoms_below(p: Polynomial) -> set[Atom]:
    """All atoms of p, those inside other atoms too."""
    found: set[Atom] = set()
    stack: list[object] = [p]
    while stack:
        here = stack.pop()
        match here:
            case Polynomial():
                stack.extend(here.atoms())
            case Atom() if here not in found:
                found.add(here)
                stack.extend(here.key)
            case tuple():
                stack.extend(here)
    return found


__all__ = ["MODEL", "Normaliser", "Unsupported", "atoms_below"]
