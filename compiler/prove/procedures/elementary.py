"""Functions of one real variable as trees: bounds over intervals, derivatives, and how a sign is shown.

    tree = "x" | a number as text | [operation, tree, …]
    step = ["sturm"]                      a polynomial or quotient of polynomials: signs between its isolated roots
         | ["pieces", [points]]           the bound of mpmath's interval arithmetic on each piece between the points
         | ["right" | "left", step]       f(a) >= 0 at the left (right) end, and f' >= 0 (<= 0) by `step`
         | ["split", point, step, step]   both sides of a point

The checker verifies a step with what stands here; it trusts `mpmath.iv` and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise, zip_longest
from typing import Any

import mpmath

from dotopt.compiler.ir import Node, leaf, sentence
from dotopt.compiler.ops import OPERATIONS, Absent
from dotopt.compiler.prove.fuel import spend
from dotopt.compiler.prove.worlds.enclosures import function

Tree = Any
Step = Any
End = Fraction | None  # None: the line goes on for ever
Coefficients = list[Fraction]  # from the constant up

INTERVAL = 20  # work for an operation on intervals
DEPTH = 12  # of derivatives and splits


def shows(tree: Tree, low: End, high: End, strict: bool, step: Step, depth: int = DEPTH) -> bool:
    """Whether `step` shows tree >= 0 (or > 0) between the ends, both included.

    >>> shows(["sub", ["exp", "x"], ["add", "1", "x"]], Fraction(0), None, False, ["right", ["pieces", []]])
    True
    """
    if depth == 0:
        return False
    match step:
        case ["sturm"]:
            found = rational(tree)
            if found is None or not signs(product(found[1], found[1]), low, high, True):  # a pole changes signs
                return False
            return signs(product(*found), low, high, strict)
        case ["pieces", points]:
            cuts = [low, *map(Fraction, points), high]
            inner = [c for c in cuts[1:-1] if c is not None]
            if sorted(inner) != inner or any(
                (low is not None and c < low) or (high is not None and c > high) for c in inner
            ):
                return False
            return all(_at_least(bound(tree, a, b), strict) for a, b in pairwise(cuts))
        case ["right", following] if low is not None:
            rising = derivative(tree)
            return _at_least(bound(tree, low, low), strict) and shows(rising, low, high, False, following, depth - 1)
        case ["left", following] if high is not None:
            falling = ["sub", "0", derivative(tree)]
            return _at_least(bound(tree, high, high), strict) and shows(falling, low, high, False, following, depth - 1)
        case ["split", point, first, second]:
            middle = Fraction(point)
            if (low is not None and middle <= low) or (high is not None and middle >= high):
                return False
            return shows(tree, low, middle, strict, first, depth - 1) and shows(
                tree, middle, high, strict, second, depth - 1
            )
    return False


def _at_least(found: Any, strict: bool) -> bool:
    return found is not None and bool(found.a > 0 if strict else found.a >= 0)


# ---- intervals -----------------------------------------------------------------------------------------------------


def bound(tree: Tree, low: End, high: End) -> Any:
    """An interval that holds every value of the tree between the ends; None where there may be none."""
    iv = mpmath.iv
    before, iv.prec = iv.prec, 100
    try:
        ends = [_exact(low) if low is not None else iv.mpf("-inf"), _exact(high) if high is not None else iv.mpf("inf")]
        return _bound(tree, iv.mpf([ends[0].a, ends[1].b]))
    except (ValueError, ZeroDivisionError, OverflowError, mpmath.libmp.ComplexResult):
        return None
    finally:
        iv.prec = before


def _exact(value: Fraction) -> Any:
    return mpmath.iv.mpf(value.numerator) / mpmath.iv.mpf(value.denominator)


def _bound(tree: Tree, x: Any) -> Any:
    iv = mpmath.iv
    spend(INTERVAL)
    if tree == "x":
        return x
    if isinstance(tree, str):
        return iv.pi if tree == "π" else _exact(Fraction(tree))
    operation, *arguments = tree
    if operation == "pow":
        base, power = _bound(arguments[0], x), int(arguments[1])
        if power < 0:
            return _checked(1 / _nonzero(_power(base, -power)))
        return _checked(_power(base, power))
    a = [_bound(argument, x) for argument in arguments]
    if any(v is None for v in a):
        return None
    match operation:
        case "add":
            return _checked(a[0] + a[1])
        case "sub":
            return _checked(a[0] - a[1]) if arguments[0] != arguments[1] else iv.mpf(0)
        case "mul":
            return _checked(_power(a[0], 2) if arguments[0] == arguments[1] else a[0] * a[1])
        case "div":
            return _checked(a[0] / _nonzero(a[1]))
    if len(a) == 1 and operation in OPERATIONS:
        return _checked(function(operation, a[0]))
    raise ValueError(operation)


def _power(base: Any, power: int) -> Any:
    if power == 0:
        return mpmath.iv.mpf(1)
    if power % 2 == 0 and base.a <= 0 <= base.b:
        top = max(abs(base.a), abs(base.b))
        return mpmath.iv.mpf([0, (mpmath.iv.mpf(top) ** power).b])
    return base**power


def _nonzero(value: Any) -> Any:
    if value.a <= 0 <= value.b:
        raise ZeroDivisionError
    return value


def _checked(value: Any) -> Any:
    if value is None or not value.a <= value.b:  # nan
        raise ValueError("not a number")
    return value


# ---- derivatives ---------------------------------------------------------------------------------------------------


def derivative(tree: Tree) -> Tree:
    """The derivative of a tree.

    >>> derivative(["mul", "x", ["exp", "x"]])
    ['add', ['exp', 'x'], ['mul', 'x', ['exp', 'x']]]
    """
    if isinstance(tree, str):
        return "1" if tree == "x" else "0"
    operation, *a = tree
    d = [derivative(argument) for argument in (a[:1] if operation == "pow" else a)]
    match operation:
        case "add" | "sub":
            return plus(operation, d[0], d[1])
        case "mul":
            return plus("add", times(d[0], a[1]), times(a[0], d[1]))
        case "div":
            top = plus("sub", times(d[0], a[1]), times(a[0], d[1]))
            return "0" if top == "0" else ["div", top, ["pow", a[1], "2"]]
        case "pow":
            return times(times(a[1], power(a[0], int(a[1]) - 1)), d[0])
    stated = OPERATIONS[operation].derivative if operation in OPERATIONS else ()
    if isinstance(stated, Absent) or len(stated) != 1 or len(a) != 1:
        raise ValueError(operation)
    x = leaf("free", "x")
    return "0" if d[0] == "0" else times(written(sentence(stated[0], x), {x: a[0]}), d[0])


def written(here: Node, known: Mapping[Node, Tree]) -> Tree:
    """A node as a tree, where the trees of some nodes are known; raises ValueError for what trees do not have."""
    if here in known:
        return known[here]
    if here.value is not None:
        return str(here.value)
    a = [written(arg, known) for arg in here.args]
    match here.op:
        case "pi":
            return "π"
        case "neg":
            return plus("sub", "0", a[0])
        case "add" | "sub":
            return plus(here.op, *a)
        case "mul":
            return times(*a)
        case "pow" if here.args[1].value is not None and here.args[1].value.denominator == 1:
            return power(a[0], int(here.args[1].value))
        case "div":
            return ["div", *a]
        case op if len(a) == 1 and isinstance(OPERATIONS[op].derivative, tuple):
            return [op, *a]
    raise ValueError(here.op)


def plus(operation: str, x: Tree, y: Tree) -> Tree:
    """x + y or x - y, without zeros."""
    if y == "0":
        return x
    return y if x == "0" and operation == "add" else [operation, x, y]


def times(x: Tree, y: Tree) -> Tree:
    """x * y, without zeros and ones."""
    if "0" in (x, y):
        return "0"
    return y if x == "1" else x if y == "1" else ["mul", x, y]


def power(x: Tree, n: int) -> Tree:
    """x ^ n."""
    return "1" if n == 0 else x if n == 1 else ["pow", x, str(n)]


# ---- polynomials ---------------------------------------------------------------------------------------------------


def rational(tree: Tree) -> tuple[Coefficients, Coefficients] | None:
    """Numerator and denominator of a quotient of polynomials; None if the tree is none."""
    if tree == "x":
        return [Fraction(0), Fraction(1)], [Fraction(1)]
    if isinstance(tree, str):
        return None if tree == "π" else ([Fraction(tree)], [Fraction(1)])
    operation, *a = tree
    if operation == "pow":
        inside, n = rational(a[0]), int(a[1])
        if inside is None or abs(n) > 40:
            return None
        top, bottom = inside if n >= 0 else inside[::-1]
        result: tuple[Coefficients, Coefficients] = ([Fraction(1)], [Fraction(1)])
        for _ in range(abs(n)):
            result = product(result[0], top), product(result[1], bottom)
        return result
    if operation not in ("add", "sub", "mul", "div"):
        return None
    left, right = rational(a[0]), rational(a[1])
    if left is None or right is None:
        return None
    match operation:
        case "mul":
            return product(left[0], right[0]), product(left[1], right[1])
        case "div":
            return product(left[0], right[1]), product(left[1], right[0])
    sign = Fraction(1 if operation == "add" else -1)
    first, second = product(left[0], right[1]), product(right[0], left[1])
    total = [a + sign * b for a, b in zip_longest(first, second, fillvalue=Fraction(0))]
    return total, product(left[1], right[1])


def product(p: Coefficients, q: Coefficients) -> Coefficients:
    """The product of two polynomials."""
    total = [Fraction(0)] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            total[i + j] += a * b
    return total


def signs(p: Coefficients, low: End, high: End, strict: bool) -> bool:
    """Whether p >= 0 (or p > 0) between the ends: by its sign between its isolated roots and, if strict, no roots.

    >>> signs([Fraction(1), Fraction(-2), Fraction(1)], None, None, False)
    True
    >>> signs([Fraction(-1), Fraction(0), Fraction(1)], Fraction(0), None, False)
    False
    """
    p = _trimmed(p)
    if len(p) <= 1:
        return p[0] > 0 if p else not strict
    edge = 2 + max(abs(c / p[-1]) for c in p)  # beyond it there are no roots
    below, above = min(-edge, (high or Fraction(0)) - 1), max(edge, (low or Fraction(0)) + 1)
    low, high = (below if low is None else low), (above if high is None else high)
    if low > high:
        return False
    chain = _sturm(_squarefree(p))
    ends = [at(p, low), at(p, high)]
    if any(v < 0 or (strict and v == 0) for v in ends):
        return False
    if strict:
        return _roots(chain, low, high) == 0
    samples = [low]
    stack = [(low, high)]
    while stack:
        a, b = stack.pop()
        count = _roots(chain, a, b)
        if count == 0 or b - a < Fraction(1, 10**40):
            if count:
                return False
            samples.append((a + b) / 2)
        elif count == 1 and at(p, a) != 0:
            samples += [a, b]
        else:
            stack += [(a, (a + b) / 2), ((a + b) / 2, b)]
    return all(at(p, x) >= 0 for x in samples)


def at(p: Coefficients, x: Fraction) -> Fraction:
    """The value of a polynomial."""
    total = Fraction(0)
    for c in reversed(p):
        total = total * x + c
    return total


def _trimmed(p: Coefficients) -> Coefficients:
    p = list(p)
    while p and p[-1] == 0:
        p.pop()
    return p


def _squarefree(p: Coefficients) -> Coefficients:
    """The polynomial with the same roots, each once."""
    a, b = p, _trimmed([i * c for i, c in enumerate(p)][1:])
    while b:
        a, b = b, _rest(a, b)
    quotient, rest = [Fraction(0)] * (len(p) - len(a) + 1), list(p)
    for shift in range(len(p) - len(a), -1, -1):
        quotient[shift] = rest[shift + len(a) - 1] / a[-1]
        for i, c in enumerate(a):
            rest[i + shift] -= quotient[shift] * c
    return _trimmed(quotient)


def _sturm(p: Coefficients) -> list[Coefficients]:
    chain = [p, _trimmed([i * c for i, c in enumerate(p)][1:])]
    while len(chain[-1]) > 1:
        rest = _rest(chain[-2], chain[-1])
        if not rest:
            break
        chain.append([-c for c in rest])
    return chain


def _rest(p: Coefficients, q: Coefficients) -> Coefficients:
    p = list(p)
    while len(p) >= len(q):
        factor = p[-1] / q[-1]
        shift = len(p) - len(q)
        for i, c in enumerate(q):
            p[i + shift] -= factor * c
        p.pop()
        p = _trimmed(p)
    return p


def _roots(chain: list[Coefficients], low: Fraction, high: Fraction) -> int:
    """The number of different roots in (low, high]."""
    return _changes(chain, low) - _changes(chain, high)


def _changes(chain: list[Coefficients], x: Fraction) -> int:
    values = [v for p in chain if (v := at(p, x)) != 0]
    return sum((a > 0) != (b > 0) for a, b in pairwise(values))
