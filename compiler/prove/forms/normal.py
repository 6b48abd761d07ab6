"""From the IR to normal forms N1-N3: a node becomes a polynomial over atoms, as a function of its named axes.

Entrywise operations act on the value at one place, so a tensor is a polynomial whose atoms vary along its axes. Sums
are linear and pull out what does not vary; products of matrices are words. All else is an atom that is known by the
normal form of its arguments. A factor known to be positive is pulled out of roots, signs, comparisons and maxima,
which is what makes homogeneity visible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import isqrt

from dotopt.compiler.calculus import gradient
from dotopt.compiler.ir import Node
from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    ZERO,
    Atom,
    Monomial,
    Polynomial,
    atom,
    fraction,
    inverse,
    number,
    single,
    single_product,
    split_content,
)
from dotopt.compiler.prove.forms.words import Letter, Word, Words, add_up, flip
from dotopt.compiler.types import REST

MODEL = "@model"  # the axis that runs over the tensors of the optimizer
VARYING = ("param", "state", "draw", "input")
BIGGEST = 4000  # terms; a normal form larger than this is given up
LAWFUL = frozenset(("inverse", "sqrt", "abs", "sign", "pow", "sum", "amax", "amin", "trace", "size", "ones", "word"))


class Unsupported(Exception):
    """The normal form of this node is not defined; the message says why."""


@dataclass
class Normaliser:
    """Normal forms under a way of knowing signs: `positive(p)` and `nonnegative(p)` answer only when they are sure."""

    positive: Callable[[Polynomial], bool] = lambda p: (p.constant or 0) > 0
    nonnegative: Callable[[Polynomial], bool] = lambda p: (p.constant or 0) > 0
    shared: frozenset[str] = frozenset()
    words: Words = field(default_factory=Words)
    done: dict[Node, Polynomial] = field(default_factory=dict)

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
            if here.op == "select" and self.done[here.args[0]].constant is not None:
                value = self.done[here.args[1 if self.done[here.args[0]].constant else 2]]
            else:
                value = self._one(here, [self.done[a] for a in here.args])
            if len(value.terms) > BIGGEST:
                raise Unsupported("the expression is too large when multiplied out")
            self.done[here] = value
        return self.done[root]

    def _asked(self, here: Node) -> tuple[Node, ...]:
        """The arguments that matter: of a branch whose condition is decided, only the one that is taken."""
        if here.op != "select" or here.args[0] not in self.done:
            return here.args if here.op != "select" else here.args[:1]
        decided = self.done[here.args[0]].constant
        return here.args if decided is None else (here.args[1 if decided else 2],)

    # ---- one node --------------------------------------------------------------------------------------------------

    def _one(self, here: Node, a: list[Polynomial]) -> Polynomial:
        match here.op:
            case "const":
                return number(here.attrs[0])
            case "bool":
                return number(int(here.attrs[0]))
            case "inf":
                raise Unsupported("∞ is not a real number")
            case "leaf":
                return self._leaf(here, a)
            case "add":
                return a[0] + a[1]
            case "sub":
                return a[0] - a[1]
            case "mul":
                return a[0] * a[1]
            case "neg":
                return -a[0]
            case "div":
                return a[0] * inverse(a[1])
            case "pow":
                return self.power(a[0], a[1])
            case "sqrt":
                return self.root(a[0])
            case "abs":
                return self.absolute(a[0])
            case "sign":
                return self.sign(a[0])
            case "relu":
                return (a[0] + self.absolute(a[0])) * Fraction(1, 2)
            case "max":
                return (a[0] + a[1] + self.absolute(a[0] - a[1])) * Fraction(1, 2)
            case "min":
                return (a[0] + a[1] - self.absolute(a[0] - a[1])) * Fraction(1, 2)
            case "gt":
                return self.truth(a[0] - a[1])
            case "lt":
                return self.truth(a[1] - a[0])
            case "ge":
                return ONE - self.truth(a[1] - a[0])
            case "le":
                return ONE - self.truth(a[0] - a[1])
            case "eq" | "ne" if here.args[0].type.kind == "bool":
                same = a[0] * a[1] * 2 - a[0] - a[1] + 1
                return same if here.op == "eq" else ONE - same
            case "eq":
                return self.equal(a[0] - a[1])
            case "ne":
                return ONE - self.equal(a[0] - a[1])
            case "and":
                return a[0] * a[1]
            case "or":
                return a[0] + a[1] - a[0] * a[1]
            case "not":
                return ONE - a[0]
            case "select":
                return a[2] + a[0] * (a[1] - a[2])
            case "exp" | "log" | "cos" | "sin" | "tanh":
                return self._function(here.op, a[0])
            case "stop" | "cast":
                return a[0]
            case "size" if here.args[0].type.kind in ("set", "list"):
                return single(atom("size", "#" + repr(here.args[0])))
            case "pi":
                return single(atom("pi"))
            case "argmin":
                return self._argmin(here)
            case "zeros":
                return ZERO
            case "ones":
                return ONE
            case "sum" | "mean" | "norm" | "size" | "amax" | "amin" | "std":
                return self._reduction(here, a[0])
            case "matmul" | "outer" | "transpose" | "trace" | "eye":
                return self._matrix(here, a)
            case "polar" | "unit":
                return self._direction(here, a[0])
            case "oracle" if here.attrs[1] in ("hessian_vector", "hessian") and len(a) > 1:
                return self._linear(here, a)
            case _:
                return self._opaque(here, a)

    def _leaf(self, here: Node, a: list[Polynomial]) -> Polynomial:
        if here.type.kind in ("sample", "set", "list", "tuple", "any"):
            return self._opaque(here, a)
        axes = set(here.type.axes)
        if here.role in VARYING and (axes or (here.role == "state" and here.name not in self.shared)):
            axes.add(MODEL)
        return single(atom("leaf", here.role, here.name, tuple(a), axes=frozenset(axes)))

    def _opaque(self, here: Node, a: list[Polynomial]) -> Polynomial:
        axes = set(here.type.axes)
        if any(MODEL in p.axes for p in a) and not (here.op == "oracle" and here.attrs[1] == "value"):
            axes.add(MODEL)
        kind = f"{here.op} of" if here.op in LAWFUL else here.op  # no law of a kind that holds something else
        return single(atom(kind, here.attrs, tuple(a), axes=frozenset(axes)))

    def _linear(self, here: Node, a: list[Polynomial]) -> Polynomial:
        """A Hessian-vector product: linear in its last argument."""
        *points, direction = a
        axes = set(here.type.axes)
        result = ZERO
        for monomial, coefficient in direction.terms:
            outside = tuple(f for f in monomial if not f[0].axes & axes)
            inside = single_product(tuple(f for f in monomial if f[0].axes & axes))
            value = single(atom(here.op, here.attrs, (*points, inside), axes=frozenset(axes | {MODEL})))
            result = result + single_product(outside) * coefficient * value
        return result

    def _argmin(self, here: Node) -> Polynomial:
        """The minimum of a quadratic with a positive scalar curvature, from its gradient A*v + B."""
        body = here.attrs[0]
        if len(body.variables) != 1 or here.args:
            return self._opaque(here, [])
        (variable,) = body.variables
        slope = self(gradient(body.body, variable))
        (v,) = self(variable).atoms()
        top, bottom = fraction(slope)
        curvature, rest = ZERO, ZERO
        for monomial, c in top.terms:
            power = dict(monomial).get(v, 0)
            others = tuple(f for f in monomial if f[0] is not v)
            if power not in (0, 1) or any(v in atoms_below(single(f[0])) for f in others):
                return self._opaque(here, [])
            term = single_product(others) * c
            curvature, rest = (curvature + term, rest) if power else (curvature, rest + term)
        if not self.positive(curvature * inverse(bottom)) and not self.positive(curvature * bottom):
            return self._opaque(here, [])
        return -rest * inverse(curvature)

    # ---- scalars ---------------------------------------------------------------------------------------------------

    def content(self, p: Polynomial) -> tuple[Polynomial, Polynomial]:
        """A positive factor of p, and what is left: p = factor * rest."""
        if p.zero:
            return ONE, p
        (monomial, lead), _ = split_content(p)
        factor = tuple(f for f in monomial if f[0].kind != "truth" and self.positive(single(f[0])))
        scale = single_product(factor) * abs(lead)
        if scale == ONE:
            return ONE, p
        return scale, p * inverse(scale)

    def _without_quotient(self, p: Polynomial) -> Polynomial:
        """p times a positive factor that clears positive denominators; has the sign of p."""
        top, bottom = fraction(p)
        if bottom == ONE or bottom.constant is not None:
            return p
        return top if self.positive(bottom) else -top if self.positive(-bottom) else p

    def absolute(self, p: Polynomial) -> Polynomial:
        """|p|."""
        if p.zero or self.nonnegative(p):
            return p
        if self.nonnegative(-p):
            return -p
        factor, rest = self.content(p)
        top, bottom = fraction(rest)
        if bottom != ONE and self.positive(-bottom):
            top, bottom = -top, -bottom
        if bottom != ONE and bottom.constant is None and self.positive(bottom):
            inner, top = self.content(top)
            factor, rest = factor * inner * inverse(bottom), top
        if rest.terms[-1][1] < 0:
            rest = -rest
        if rest == ONE:
            return factor
        if len(rest.terms) == 1:
            return factor * self._product(rest, lambda x: single(atom("abs", x, axes=x.axes)))
        return factor * single(atom("abs", rest, axes=rest.axes))

    def _product(self, p: Polynomial, one: Callable[[Polynomial], Polynomial]) -> Polynomial:
        """A multiplicative function of a monomial with coefficient 1, factor by factor."""
        result = ONE
        for a, power in p.terms[0][0]:
            value = single(a) if self.nonnegative(single(a)) else one(single(a))
            result = result * (value**power if power > 0 else inverse(value) ** -power)
        return result

    def sign(self, p: Polynomial) -> Polynomial:
        """sign(p), zero at zero."""
        if p.zero:
            return ZERO
        if self.positive(p):
            return ONE
        if self.positive(-p):
            return -ONE
        _, rest = self.content(self._without_quotient(p))
        _, rest = self.content(rest)
        flipped = rest.terms[-1][1] < 0
        value = single(atom("sign", -rest if flipped else rest, axes=rest.axes))
        return -value if flipped else value

    def truth(self, p: Polynomial) -> Polynomial:
        """1 where p > 0, else 0."""
        if p.zero or self.nonnegative(-p):
            return ZERO
        if self.positive(p):
            return ONE
        _, rest = self.content(self._without_quotient(p))
        _, rest = self.content(rest)
        return single(atom("truth", "gt", rest, axes=rest.axes))

    def equal(self, p: Polynomial) -> Polynomial:
        """1 where p = 0, else 0."""
        if p.zero:
            return ONE
        if self.positive(p) or self.positive(-p):
            return ZERO
        _, rest = self.content(self._without_quotient(p))
        if rest.terms[-1][1] < 0:
            rest = -rest
        return single(atom("truth", "eq", rest, axes=rest.axes))

    def root(self, p: Polynomial) -> Polynomial:
        """√p: factors known to be positive and even powers come out."""
        if p.zero:
            return ZERO
        top, bottom = fraction(p)
        if bottom != ONE:
            if self.positive(-bottom):
                top, bottom = -top, -bottom
            if not self.positive(bottom):
                return self.root(top * bottom) * inverse(self.absolute(bottom))
            return self.root(top) * inverse(self.root(bottom))
        (monomial, lead), rest = split_content(p)
        lead = abs(lead)
        numerator, denominator = lead.numerator * lead.denominator, lead.denominator
        outside = number(Fraction(_square_part(numerator), denominator))
        inside = number(Fraction(numerator, _square_part(numerator) ** 2))
        sign = 1 if p.terms[-1][1] > 0 else -1
        for a, power in monomial:
            base = single(a)
            half, odd = divmod(power, 2)
            if half:
                size = base if self.nonnegative(base) else self.absolute(base)
                outside = outside * (size**half if half > 0 else inverse(size) ** -half)
            if odd and self.positive(base):
                outside = outside * single(atom("sqrt", base, axes=a.axes))
            elif odd:
                inside = inside * base
        inside = inside * rest * sign
        if inside == ONE:
            return outside
        return outside * single(atom("sqrt", inside, axes=inside.axes))

    def power(self, base: Polynomial, exponent: Polynomial) -> Polynomial:
        """base ^ exponent."""
        constant = exponent.constant
        if constant is not None:
            if constant.denominator == 1:
                power = int(constant)
                if abs(power) > 12 and len(base.terms) > 1:
                    raise Unsupported("a high power of a sum")
                return base**power if power >= 0 else inverse(base) ** -power
            if constant.denominator == 2:
                root = self.root(base)
                power = int(constant * 2)
                return root**power if power >= 0 else inverse(root) ** -power
            whole = constant.numerator // constant.denominator
            value = single(atom("pow", base, number(constant - whole), axes=base.axes))
            return value * (base**whole if whole >= 0 else inverse(base) ** -whole)
        if base == ONE:
            return ONE
        if base.zero and self.positive(exponent):
            return ZERO
        result = ONE
        many = self.positive(base)
        offset = next((c for m, c in exponent.terms if not m), Fraction(0))
        whole = offset.numerator // offset.denominator
        if whole > 0 or (whole and many):
            result = base**whole if whole >= 0 else inverse(base) ** -whole
            exponent = exponent - whole
        parts = [number(c) * single_product(m) for m, c in exponent.terms] if many else [exponent]
        for part in parts:
            factor = Fraction(1)
            if len(part.terms) == 1:
                c = part.terms[0][1]
                if c.denominator == 1 and (c > 0 or many):
                    factor, part = c, part * (1 / c)
            value = single(atom("pow", base, part, axes=base.axes | part.axes))
            result = result * (value ** int(factor) if factor > 0 else inverse(value) ** int(-factor))
        return result

    def _function(self, name: str, p: Polynomial) -> Polynomial:
        if p.zero:
            known = {"exp": ONE, "cos": ONE, "sin": ZERO, "tanh": ZERO}
            return known[name] if name in known else single(atom(name, p))
        if name == "log" and p == ONE:
            return ZERO
        if name == "exp":
            result = ONE
            for monomial, c in p.terms:
                part = single_product(monomial) * abs(c)
                value = single(atom("exp", part, axes=part.axes))
                result = result * (value if c > 0 else inverse(value))
            return result
        negative = p.terms[-1][1] < 0
        if not negative or name == "log":
            return single(atom(name, p, axes=p.axes))
        value = single(atom(name, -p, axes=p.axes))
        match name:
            case "cos":
                return value
            case _:
                return -value

    # ---- reductions ------------------------------------------------------------------------------------------------

    def _axes(self, here: Node) -> tuple[str, ...]:
        axes: tuple[str, ...] = tuple(here.attrs[0])
        return axes if not here.attrs[1] else (MODEL, *axes)

    def _reduction(self, here: Node, p: Polynomial) -> Polynomial:
        axes = self._axes(here)
        if len(set(axes)) != len(axes) or len(set(here.args[0].type.axes)) != len(here.args[0].type.axes):
            return self._square_reduction(here, p, axes)
        match here.op:
            case "sum":
                return self.add_up(p, axes)
            case "mean":
                return self.add_up(p, axes) * inverse(self._size(axes))
            case "size":
                return self._size(axes)
            case "norm" if here.attrs[2] == 2:
                return self.root(self.add_up(p**2, axes))
            case "norm" if here.attrs[2] == 1:
                return self.add_up(self.absolute(p), axes)
            case "norm" if here.attrs[2] is None:
                return self._largest("amax", self.absolute(p), axes)
            case "amax" | "amin":
                return self._largest(here.op, p, axes)
            case "std":
                size = self._size(axes)
                spread = self.add_up(p**2, axes) - self.add_up(p, axes) ** 2 * inverse(size)
                return self.root(spread * inverse(size - 1))
            case _:
                return self._opaque(here, [p])

    def add_up(self, p: Polynomial, axes: tuple[str, ...]) -> Polynomial:
        """The sum along several axes, the last one first."""
        for axis in reversed(axes):
            p = add_up(p, axis, self.words)
        return p

    def opened(self, p: Polynomial) -> Polynomial:
        """With inner products of vectors that are products of matrices as one word: Σ (A x)² is xᵀ Aᵀ A x."""

        def open_(a: Atom) -> Polynomial | None:
            if a.kind == "sqrt":
                inside = self.opened(a.key[0])
                return self.root(inside) if inside != a.key[0] else None
            if a.kind != "sum":
                return None
            axis, inner = a.key
            factors = [b for b, power in inner for _ in range(max(power, 0))]
            vectors = len(factors) == 2 and all(power > 0 for _, power in inner) and not a.axes
            if not vectors or not any(b.kind == "word" for b in factors) or any(b.axes != {axis} for b in factors):
                return None
            left, right = (self.words.letters(((b, 1),), axis, None) for b in factors)
            return self.words.product(flip(left) + right, (None, None))

        return p.replace(open_)

    def _size(self, axes: tuple[str, ...]) -> Polynomial:
        result = ONE
        for axis in axes:
            result = result * (number(int(axis)) if axis.isdigit() else single(atom("size", axis)))
        return result

    def _largest(self, name: str, p: Polynomial, axes: tuple[str, ...]) -> Polynomial:
        inside = tuple(axis for axis in axes if axis in p.axes)
        if not inside:
            return p
        still = [(m, c) for m, c in p.terms if not any(a.axes & set(axes) for a, _ in m)]
        if still:  # what does not vary is added outside
            outside = ZERO
            for m, c in still:
                outside = outside + single_product(m) * c
            return outside + self._largest(name, p - outside, axes)
        factor = ONE
        if not p.zero:
            (monomial, lead), _ = split_content(p)
            outer = tuple(f for f in monomial if not f[0].axes & set(axes) and self.positive(single(f[0])))
            factor = single_product(outer) * abs(lead)
            p = p * inverse(factor)
        return factor * single(atom(name, inside, p, axes=p.axes - set(inside)))

    def _square_reduction(self, here: Node, p: Polynomial, axes: tuple[str, ...]) -> Polynomial:
        """A sum over a square matrix: a trace when it is a product of two, else an atom."""
        inner = here.args[0].type.axes
        if here.op == "size":
            return self._size(axes)
        if len(inner) != 2 or tuple(here.attrs[0]) != inner or here.attrs[1]:
            return self._opaque(here, [p])
        body = p**2 if here.op == "norm" and here.attrs[2] == 2 else p
        if here.op not in ("sum", "mean", "norm") or (here.op == "norm" and here.attrs[2] != 2):
            return self._opaque(here, [p])
        axis = inner[0]
        total = ZERO
        for monomial, coefficient in body.terms:
            outside = tuple(f for f in monomial if axis not in f[0].axes)
            pair = [a for a, power in monomial if axis in a.axes for _ in range(max(power, 0))]
            if len(pair) != 2 or any(power < 0 for a, power in monomial if axis in a.axes):
                return self._opaque(here, [p])
            left, right = (self.words.letters(((a, 1),), axis, axis) for a in pair)
            total = total + single_product(outside) * coefficient * self.words.trace(flip(left) + right, axis)
        match here.op:
            case "norm":
                return self.root(total)
            case "mean":
                return total * inverse(self._size(axes))
            case _:
                return total

    # ---- matrices --------------------------------------------------------------------------------------------------

    def _matrix(self, here: Node, a: list[Polynomial]) -> Polynomial:
        if any(arg.type.any for arg in here.args):
            return self._opaque(here, a)
        match here.op:
            case "eye":
                return single(atom("eye", here.attrs[0], axes=frozenset({here.attrs[0]})))
            case "transpose":
                row, column = _ends(here.args[0])
                if row is None or column is None or row != column:
                    return a[0]  # a transpose moves no entry to other names
                return self._map(a[0], (row, column), lambda w: self.words.product(flip(w), (column, row)))
            case "trace":
                row, column = _ends(here.args[0])
                assert row is not None
                return self._map(a[0], (row, column), lambda w: self.words.trace(w, str(row)))
            case "outer":
                left, right = _ends(here.args[0]), _ends(here.args[1])
                if left[1] is not None or right[1] is not None:
                    return self._opaque(here, a)
                return self._pairs(a, left, right, lambda u, v: self.words.product(u + flip(v), (left[0], right[0])))
            case _:
                left, right = _ends(here.args[0]), _ends(here.args[1])
                if left[1] is None:  # a vector on the left is a row
                    return self._pairs(a, left, right, lambda u, v: self.words.product(flip(u) + v, (None, right[1])))
                return self._pairs(a, left, right, lambda u, v: self.words.product(u + v, (left[0], right[1])))

    def _split(self, monomial: Monomial, axes: set[str | None]) -> tuple[Monomial, Monomial]:
        return (tuple(f for f in monomial if not f[0].axes & axes), tuple(f for f in monomial if f[0].axes & axes))

    def _map(self, p: Polynomial, ends: tuple[str | None, str | None], one: Callable[..., Polynomial]) -> Polynomial:
        result = ZERO
        for monomial, coefficient in p.terms:
            outside, inside = self._split(monomial, set(ends))
            result = result + single_product(outside) * coefficient * one(self._letters(inside, ends))
        return result

    def _letters(self, inside: Monomial, ends: tuple[str | None, str | None]) -> Word:
        if not inside:
            inside = ((atom("ones", *ends, axes=frozenset(e for e in ends if e)), 1),)
        return self.words.letters(inside, *ends)

    def _pairs(
        self,
        a: list[Polynomial],
        left: tuple[str | None, str | None],
        right: tuple[str | None, str | None],
        one: Callable[..., Polynomial],
    ) -> Polynomial:
        result = ZERO
        for m1, c1 in a[0].terms:
            for m2, c2 in a[1].terms:
                out1, in1 = self._split(m1, set(left))
                out2, in2 = self._split(m2, set(right))
                value = one(self._letters(in1, left), self._letters(in2, right))
                result = result + single_product(out1) * single_product(out2) * (c1 * c2) * value
        return result

    def _direction(self, here: Node, p: Polynomial) -> Polynomial:
        """`polar` and `unit`: a positive scalar factor does not matter, a sign comes out."""
        if p.zero:
            return ZERO
        axes = set(here.args[0].type.axes) - {REST}
        (monomial, lead), _ = split_content(p)
        outer = tuple(f for f in monomial if not f[0].axes & (axes | {REST}) and self.positive(single(f[0])))
        rest = p * inverse(single_product(outer) * lead)
        if here.op == "polar":
            row, column = _ends(here.args[0])
            rest_value = self._polar(here, rest, row, column)
        else:
            rest_value = self._opaque(here, [rest])
        return rest_value if lead > 0 else -rest_value

    def _polar(self, here: Node, p: Polynomial, row: str | None, column: str | None) -> Polynomial:
        """polar(Q X R) = Q polar(X) R for orthogonal Q and R."""
        words = []
        for monomial, coefficient in p.terms:
            outside, inside = self._split(monomial, {row, column})
            words.append((outside, coefficient, list(self._letters(inside, (row, column)))))
        first: list[Letter] = []
        last: list[Letter] = []
        while all(w for _, _, w in words) and len({w[0] for _, _, w in words}) == 1 and self._both(words[0][2][0]):
            first.append(words[0][2][0])
            for _, _, w in words:
                w.pop(0)
        while all(w for _, _, w in words) and len({w[-1] for _, _, w in words}) == 1 and self._both(words[0][2][-1]):
            last.insert(0, words[0][2][-1])
            for _, _, w in words:
                w.pop()
        if not first and not last:
            return self._opaque(here, [p])
        core = ZERO
        for outside, coefficient, w in words:
            core = core + single_product(outside) * coefficient * self.words.product(tuple(w), (row, column))
        middle = self._direction(here, core)
        result = ZERO
        for monomial, coefficient in middle.terms:
            outside, inside = self._split(monomial, {row, column})
            word = (*first, *self._letters(inside, (row, column)), *last)
            result = result + single_product(outside) * coefficient * self.words.product(word, (row, column))
        return result

    def _both(self, letter: tuple[Monomial, bool, str | None, str | None]) -> bool:
        if len(letter[0]) != 1 or letter[2] != letter[3]:
            return False
        a = letter[0][0][0]
        return (a, True) in self.words.orthogonal and (a, False) in self.words.orthogonal


def _ends(here: Node) -> tuple[str | None, str | None]:
    """The row and column axes of a matrix, or the one axis of a vector."""
    axes = [axis for axis in here.type.axes if axis != REST]
    if len(axes) == 1:
        return axes[0], None
    if len(axes) == 2:
        return axes[0], axes[1]
    raise Unsupported(f"a product of tensors of type {here.type}")


def _square_part(n: int) -> int:
    """The largest k with k² dividing n, by trial division of small primes.

    >>> _square_part(72)
    6
    """
    if isqrt(n) ** 2 == n:
        return isqrt(n)
    k, d = 1, 2
    while d * d <= n and d < 10_000:
        while n % (d * d) == 0:
            k, n = k * d, n // (d * d)
        d += 1
    return k


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
