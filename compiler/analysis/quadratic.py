"""Minimisers of quadratics in closed form: entrywise, by Sherman and Morrison, or by one linear system.

The gradient is read as a sum of chains `coefficient * L @ S @ R` and a rest; S is then

    a*S + B = 0                       -B/a
    S @ (a*I + c*f gᵀ) + B = 0        -(B - c/(a + c*g·f) * (B @ f) gᵀ)/a
    S @ H + B = 0                     -B @ inverse(H)
    a*S + w*(S @ f) gᵀ + B = 0        row by row, by Sherman and Morrison

and the same on the left. What is not of this form is left to iteration.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from dotopt.compiler.calculus import NotDifferentiable, gradient
from dotopt.compiler.ir import Lambda, Node, node, number
from dotopt.compiler.ops.types import Mismatch, Type
from dotopt.compiler.rewrite import simplify


class Factor(NamedTuple):
    """A link of a chain: a matrix, a diagonal one, a column, a row, or (of a product only) a scalar."""

    value: Node
    kind: str

    @property
    def transposed(self) -> Factor:
        match self.kind:
            case "matrix":
                return Factor(node("transpose", self.value), "matrix")
            case "column":
                return Factor(self.value, "row")
            case "row":
                return Factor(self.value, "column")
        return self


Chain = tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """`coefficient * left @ S @ right`, or with Sᵀ. The coefficient is entrywise only where there are no factors."""

    coefficient: Node
    left: Chain = ()
    right: Chain = ()
    flipped: bool = False

    @property
    def transposed(self) -> Term:
        """The chain read from behind."""
        return replace(self, left=turned(self.right), right=turned(self.left), flipped=not self.flipped)


@dataclass(frozen=True, slots=True)
class Form:
    """A sum of terms, and of scalars times what does not depend on S."""

    terms: tuple[Term, ...]
    rest: tuple[tuple[Node, Node], ...]
    type: Type

    @property
    def plain(self) -> bool:
        """Whether no term has factors."""
        return not any(t.left or t.right or t.flipped for t in self.terms)


class NotQuadratic(Exception):
    """The gradient is not affine, or not in a form that is solved here."""


def minimiser(function: Lambda) -> Node | None:
    """The node where the quadratic `function` of one tensor is smallest; None if it is no quadratic known here.

    The quadratic is taken to be convex.

    >>> from dotopt.compiler.ir import leaf
    >>> S, g = leaf("free", "S", Type("real", ("n",))), leaf("input", "g", Type("real", ("n",)))
    >>> square = node("sum", node("mul", S, S), attrs=(("n",), False))
    >>> minimiser(Lambda((S,), node("sub", square, node("sum", node("mul", S, g), attrs=(("n",), False)))))
    0.5*g
    """
    if len(function.variables) != 1 or function.variables[0].type.kind != "real":
        return None
    (variable,) = function.variables
    try:
        found = solution(Reader(variable).read(gradient(function.body, variable)), variable.type)
    except (NotQuadratic, NotDifferentiable, Mismatch):
        return None
    return None if variable in set(found.walk()) else simplify(found)


# ---- reading --------------------------------------------------------------------------------------------------------


class Reader:
    """Reads nodes as affine functions of a leaf, each once."""

    def __init__(self, variable: Node) -> None:
        self.variable = variable
        self.done: dict[Node, Form] = {}
        self.free: dict[Node, bool] = {}

    def constant(self, here: Node) -> bool:
        """Whether the value does not depend on the variable."""
        if here not in self.free:
            self.free[here] = self.variable not in set(here.walk())
        return self.free[here]

    def read(self, here: Node) -> Form:
        """The form of a node; raises NotQuadratic."""
        if here not in self.done:
            self.done[here] = self._read(here)
        return self.done[here]

    def _read(self, here: Node) -> Form:
        if here is self.variable:
            return Form((Term(number(1)),), (), here.type)
        if self.constant(here):
            return Form((), ((number(1), here),), here.type)
        match here.op, here.args:
            case "add", (a, b):
                return added(self.read(a), self.read(b), number(1), here.type)
            case "sub", (a, b):
                return added(self.read(a), self.read(b), number(-1), here.type)
            case "neg", (a,):
                return weighted(self.read(a), number(-1))
            case "mul", (a, b) if self.constant(a):
                return weighted(self.read(b), a)
            case "mul", (a, b) if self.constant(b):
                return weighted(self.read(a), b)
            case "div", (a, b) if self.constant(b):
                return weighted(self.read(a), node("div", number(1), b))
            case "select", (c, a, b) if self.constant(c):
                kept = weighted(self.read(a), node("select", c, number(1), number(0)))
                other = weighted(self.read(b), node("select", c, number(0), number(1)))
                return added(kept, other, number(1), here.type)
            case "sum", (Node(op="mul", args=(a, b)),) if not here.type.axes and len(a.type.axes) == 1:
                known, other_side = (a, b) if self.constant(a) else (b, a)
                if self.constant(known) and known.type.axes == other_side.type.axes:
                    return before(Factor(known, "row"), self.read(other_side), here)
            case "sum", (a,) if not set(here.attrs.axes) & set(self.variable.type.axes):
                return summed(self.read(a), here)
            case "transpose", (a,):
                form = self.read(a)
                return flipped(form, here) if len(a.type.axes) == 2 else form
            case "matmul", (a, b) if self.constant(b):
                return self._times(a, b, here)
            case "matmul", (a, b) if self.constant(a):
                if len(a.type.axes) == 2:
                    return before(Factor(a, "matrix"), self.read(b), here)
                if len(b.type.axes) == 1:
                    return before(Factor(a, "row"), self.read(b), here)
                return behind(flipped(self.read(b), here), Factor(a, "column"), here)
            case "outer", (a, b) if self.constant(b):
                return behind(self.read(a), Factor(b, "row"), here)
            case "outer", (a, b) if self.constant(a):
                return before(Factor(a, "column"), flipped(self.read(b), here), here)
        raise NotQuadratic

    def _times(self, a: Node, b: Node, here: Node) -> Form:
        form = self.read(a)
        match len(a.type.axes), len(b.type.axes):
            case 2, n:
                return behind(form, Factor(b, "column" if n == 1 else "matrix"), here)
            case 1, 2:
                return before(Factor(node("transpose", b), "matrix"), form, here)
            case 1, 1:
                return before(Factor(b, "row"), form, here)
        raise NotQuadratic


def added(a: Form, b: Form, sign: Node, type: Type) -> Form:
    """`a + sign*b`; what is smaller is repeated along the other axes, which a chain cannot be."""
    if any(form.type.axes != type.axes and not form.plain for form in (a, b)):
        raise NotQuadratic
    other = weighted(b, sign)
    return Form(a.terms + other.terms, a.rest + other.rest, type)


def weighted(form: Form, weight: Node) -> Form:
    """`weight*form`, entry by entry."""
    if not weight.type.axes:
        terms = tuple(replace(t, coefficient=times(weight, t.coefficient)) for t in form.terms)
        return Form(terms, tuple((times(weight, c), value) for c, value in form.rest), form.type)
    rest = tuple((c, times(weight, value)) for c, value in form.rest)
    type = node("mul", weight, node("zeros", attrs=(form.type,))).type
    if form.plain:
        return Form(tuple(replace(t, coefficient=times(weight, t.coefficient)) for t in form.terms), rest, type)
    if len(weight.type.axes) != 1:
        raise NotQuadratic
    if not form.type.axes:
        return Form(tuple(replace(t, left=(Factor(weight, "column"), *t.left)) for t in form.terms), rest, type)
    rows = Factor(weight, "diagonal")
    if weight.type.axes == form.type.axes[:1]:
        return Form(tuple(replace(t, left=(rows, *t.left)) for t in form.terms), rest, type)
    if weight.type.axes == form.type.axes[1:]:
        return Form(tuple(replace(t, right=(*t.right, rows)) for t in form.terms), rest, type)
    raise NotQuadratic


def summed(form: Form, here: Node) -> Form:
    """The sum over axes that S does not have: of the coefficients, and of the rest."""
    axes, model = here.attrs
    if model or not form.plain:
        raise NotQuadratic
    along = Type("real", axes)

    def over(value: Node) -> Node:
        if not set(axes) <= set(value.type.axes):
            value = node("mul", value, node("ones", attrs=(along,)))
        return node("sum", value, attrs=(axes, False))

    terms = tuple(replace(t, coefficient=over(t.coefficient)) for t in form.terms)
    return Form(terms, tuple((c, over(value)) for c, value in form.rest), here.type)


def before(factor: Factor, form: Form, here: Node) -> Form:
    """The chain with a factor in front."""
    entrywise_never(form)
    rest = tuple((c, product((factor, link(value, form))).value) for c, value in form.rest)
    return Form(tuple(replace(t, left=(factor, *t.left)) for t in form.terms), rest, here.type)


def behind(form: Form, factor: Factor, here: Node) -> Form:
    """The chain with a factor at the end."""
    entrywise_never(form)
    rest = tuple((c, product((link(value, form), factor)).value) for c, value in form.rest)
    return Form(tuple(replace(t, right=(*t.right, factor)) for t in form.terms), rest, here.type)


def link(value: Node, form: Form) -> Factor:
    """A part of the rest as a link: of a flipped vector it is a row, which `product` needs to know."""
    kinds = {0: "scalar", 1: "row" if form.type.kind == "row" else "column", 2: "matrix"}
    return Factor(value, kinds[len(value.type.axes)])


def flipped(form: Form, here: Node) -> Form:
    """The transpose; of a column it is a row."""
    entrywise_never(form)
    terms = tuple(t.transposed for t in form.terms)
    if len(form.type.axes) == 1:
        return Form(terms, form.rest, Type("row", form.type.axes))
    return Form(terms, tuple((c, node("transpose", value)) for c, value in form.rest), here.type)


def entrywise_never(form: Form) -> None:
    """Raises NotQuadratic where a coefficient is a tensor: it does not commute with a product."""
    if any(t.coefficient.type.axes for t in form.terms):
        raise NotQuadratic


# ---- solving --------------------------------------------------------------------------------------------------------


def solution(form: Form, type: Type) -> Node:
    """S where the form is zero; raises NotQuadratic."""
    terms = [unflipped(t, type) for t in form.terms]
    scale = total(t.coefficient for t in terms if not (t.left or t.right))
    links = [t for t in terms if t.left or t.right]
    if len(links) == 1 and scale is not None and form.rest and form.type.axes == type.axes:
        decoupled = by_rows(divided(form.rest, scale), scale, links[0])
        if decoupled is not None:
            return decoupled
    on_the_left = all(not t.right for t in links)
    if not form.rest or not terms or form.type.axes != type.axes or not (on_the_left or all(not t.left for t in links)):
        raise NotQuadratic
    if not links and scale is not None:
        return spread(divided(form.rest, scale), type)
    parts = rank_one(links[0].left or links[0].right) if len(links) == 1 else None
    if parts is not None and scale is not None:
        return sherman_morrison(divided(form.rest, scale), scale, links[0].coefficient, *parts, on_the_left)
    over = scale if scale is not None and scale.op == "div" else number(1)  # I + η*H rather than 1/η*I + H
    matrix = total(times(quotient(t.coefficient, over), product(t.left or t.right).value) for t in links)
    if matrix is None or parts is not None or (scale is not None and scale.type.axes):
        raise NotQuadratic  # singular, or neither a multiple of the identity nor a chain
    if scale is not None:
        matrix = node("add", times(quotient(scale, over), node("eye", attrs=(matrix.type.axes[0],))), matrix)
    right = spread(divided(form.rest, over), type)
    return node("solve", matrix, right) if on_the_left else node("matmul", right, node("inverse", matrix))


def divided(rest: tuple[tuple[Node, Node], ...], scale: Node) -> Node:
    """`-rest/scale`, term by term, so that what is common cancels."""
    summands = [times(quotient(times(number(-1), c), scale), value) for c, value in rest]
    result = total(summands)
    assert result is not None
    return result


def quotient(a: Node, b: Node) -> Node:
    """`a/b`, with what is common cancelled."""
    return number(1) if a is b else simplify(node("div", a, b))


def sherman_morrison(free: Node, scale: Node, c: Node, f: Node, g: Node, on_the_left: bool) -> Node:
    """S of `(scale*I + c*f gᵀ) @ S = scale*free`, or with the matrix on the right; the scale may be a diagonal."""
    z = node("div", f, scale) if scale.type.axes else f
    vectors = free.type.axes == f.type.axes
    known = inner(g, free) if vectors else node("matmul", g, free) if on_the_left else node("matmul", free, f)
    if scale.type.axes:
        weight = node("div", c, node("add", number(1), times(c, inner(g, z))))
    else:
        weight = node("div", number(1), node("add", simplify(node("div", scale, c)), inner(g, f)))
    if vectors:
        return node("sub", free, times(times(weight, known), z))
    change = node("outer", z, known) if on_the_left else node("outer", known, g)
    return node("sub", free, times(weight, change))


def by_rows(free: Node, scale: Node, term: Term) -> Node | None:
    """S of `scale*S + c*(S @ f) gᵀ = scale*free` with a c for each row; None if this is not the form of the term."""
    parts = rank_one(term.right)
    if parts is None or not term.left or any(factor.kind != "diagonal" for factor in term.left):
        return None
    f, g = parts
    c = times(term.coefficient, product(term.left).value)
    if scale.type.axes not in ((), c.type.axes):
        return None
    weight = node("div", c, node("add", scale, times(c, inner(g, f))))
    return node("sub", free, node("outer", times(weight, node("matmul", free, f)), g))


def unflipped(term: Term, type: Type) -> Term:
    """The term with S, not Sᵀ: the transpose of a scalar part is itself, so for vectors there is one."""
    if len(type.axes) == 1 and term.flipped:
        return Term(term.coefficient, (*term.left, *turned(term.right)))
    if term.flipped or (len(type.axes) == 1 and term.right):
        raise NotQuadratic
    return term


def rank_one(chain: Chain) -> tuple[Node, Node] | None:
    """f and g of a chain that is `f gᵀ`."""
    for i in range(len(chain) - 1):
        if chain[i].kind == "column" and chain[i + 1].kind == "row":
            first, second = product(chain[: i + 1]), product(chain[i + 1 :])
            if (first.kind, second.kind) == ("column", "row"):
                return first.value, second.value
    return None


def product(chain: Chain) -> Factor:
    """The chain multiplied out, from the right where the last link is a column."""
    if chain[-1].kind == "column":
        done = chain[-1]
        for factor in reversed(chain[:-1]):
            done = joined(factor, done)
        return done
    done = chain[0]
    for factor in chain[1:]:
        done = joined(done, factor)
    return done


def joined(a: Factor, b: Factor) -> Factor:
    """The product of two neighbours."""
    match a.kind, b.kind:
        case ("scalar", kind) | (kind, "scalar"):
            return Factor(times(a.value, b.value) if a.kind == "scalar" else times(b.value, a.value), kind)
        case "matrix", ("matrix" | "column"):
            return Factor(node("matmul", a.value, b.value), b.kind)
        case "diagonal", "diagonal":
            return Factor(times(a.value, b.value), "diagonal")
        case ("diagonal", ("column" | "row")) | ("row", "diagonal"):
            return Factor(times(a.value, b.value), b.kind if a.kind == "diagonal" else a.kind)
        case ("diagonal", "matrix") | ("matrix", "diagonal"):
            matrix = a if a.kind == "matrix" else b
            if len(set(matrix.value.type.axes)) == 2:  # else it is not known which axis is meant
                return Factor(times(a.value, b.value), "matrix")
        case "row", "matrix":
            return Factor(node("matmul", node("transpose", b.value), a.value), "row")
        case "row", "column":
            return Factor(inner(a.value, b.value), "scalar")
        case "column", "row":
            return Factor(node("outer", a.value, b.value), "matrix")
    raise NotQuadratic


def inner(a: Node, b: Node) -> Node:
    """The inner product of two vectors, whatever their axes are called."""
    product_ = node("mul", a, b)
    return node("sum", product_, attrs=(product_.type.axes, False))


def turned(chain: Chain) -> Chain:
    """The chain of the transpose."""
    return tuple(factor.transposed for factor in reversed(chain))


def spread(value: Node, type: Type) -> Node:
    """The value with all axes of the variable."""
    return value if value.type.axes == type.axes else node("add", value, node("zeros", attrs=(type,)))


def times(a: Node, b: Node) -> Node:
    """The entrywise product, without factors of 1, and with the numbers of a quotient in its numerator."""
    if a.value == 1 or b.value == 1:
        return b if a.value == 1 else a
    for x, y in ((a, b), (b, a)):
        if x.value is not None and y.op == "div" and y.args[0].value is not None:
            return node("div", number(x.value * y.args[0].value), y.args[1])
        if x.value == -1:
            return node("neg", y)
    return number(a.value * b.value) if a.value is not None and b.value is not None else node("mul", a, b)


def total(values: Iterable[Node]) -> Node | None:
    """The sum of all; None if there are none."""
    result: Node | None = None
    for value in values:
        result = value if result is None else node("add", result, value)
    return result
