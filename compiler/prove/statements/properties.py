"""What the declared properties of functions say about the points at which a claim asks them.

    convex              f(y) >= f(x) + ⟨∇f(x), y - x⟩                         every ordered pair of points
    smooth(L)           |f(y) - f(x) - ⟨∇f(x), y - x⟩| <= L/2 ‖y - x‖²         and the sharp form of both
    convex, smooth(L)   f(y) >= f(x) + ⟨∇f(x), y - x⟩ + 1/(2L) ‖∇f(x) - ∇f(y)‖²
    strongly_convex(μ)  f(y) >= f(x) + ⟨∇f(x), y - x⟩ + μ/2 ‖y - x‖²          (with smooth: the sharp inequality)
    monotone            ⟨F(x) - F(y), x - y⟩ >= 0                              operators; and the strong forms
    lipschitz(L)        ‖F(x) - F(y)‖² <= L² ‖x - y‖²                          of functions f(x) - f(y) <= L ‖x - y‖

The conjugate K^* enters by the points of the graph of ∂K: (k, y) with k = ∇K^*(y) and K(k) = ⟨y, k⟩ - K^*(y). Every
inequality is a node that is never negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, permutations

from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.ops.types import REAL, Type
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.text import syntax as s


@dataclass(frozen=True, slots=True)
class Inequality:
    """`node` is never negative; `name` says why."""

    name: str
    node: Node


@dataclass(frozen=True, slots=True)
class Class:
    """Quadratics with curvatures from `low` (None: -`high`) to `high` belong to it; `unknown`: no model is known.

    `turns`: so do maps that turn planes, by no less than `low` along and no more than `high` in all.
    """

    low: Node | None
    high: Node | None
    unknown: bool
    turns: bool = False


CURVED = {"convex", "smooth", "strongly_convex"}
KNOWN = {  # the properties of which worlds have models, by what they are said of
    "objective": CURVED,
    "function": CURVED | {"even", "unit_scale"},
    "operator": {"monotone", "strongly_monotone", "cocoercive", "lipschitz"},
}


@dataclass(frozen=True, slots=True)
class Point:
    """A function at a point: its argument, gradient and value (an operator has no value)."""

    at: Node
    gradient: Node
    value: Node | None
    label: str


def inequalities(case: Case, roots: Iterable[Node]) -> list[Inequality]:
    """All inequalities that the properties of the file give at the points that `roots` mention."""
    nodes = {here for root in (*roots, *case.asked) for here in root.walk()}
    found: list[Inequality] = []
    for d in case.file.statements:
        if not (isinstance(d, s.Declaration) and d.word in ("objective", "function", "operator") and d.properties):
            continue
        held = {p.name: tuple(case.value(a) for a in p.arguments) for p in d.properties}
        points = list(_points(d, nodes))
        for a in points if d.word != "operator" else ():
            found.extend(Inequality(i.name, case.settle(i.node)) for i in _alone(d.name, held, a))
        for a, b in permutations(points, 2):
            found.extend(Inequality(i.name, case.settle(i.node)) for i in _pair(d.name, held, a, b))
    return found


def of_premises(case: Case) -> list[Inequality]:
    """The premises that compare numbers, with vectors or answers of functions in them, as inequalities."""
    found = []
    for p in case.premises:
        if p.op not in ("le", "lt", "ge", "gt", "eq") or any(a.type.axes or a.type.kind != "real" for a in p.args):
            continue
        if not any(here.type.axes or here.op in ("oracle", "apply", "conjugate") for here in p.walk()):
            continue
        low, high = p.args[::-1] if p.op in ("ge", "gt") else p.args
        found.append(Inequality(f"premise {p!r}", sub(high, low)))
        if p.op == "eq":
            found.append(Inequality(f"premise {p!r}, turned", sub(low, high)))
    return found


def cauchy_schwarz(goal: Node) -> list[Inequality]:
    """|⟨u, v⟩| <= ‖u‖*‖v‖ for the vectors whose norms the goal names."""
    norms = {here for here in goal.walk() if here.op == "norm" and here.attrs[2] == 2 and not here.type.axes}
    found = []
    for u, v in combinations(sorted(norms, key=repr), 2):
        x, y = u.args[0], v.args[0]
        if len(x.type.axes) == 1 and x.type.axes == y.type.axes:
            name = f"Cauchy and Schwarz for {x!r} and {y!r}"
            product = node("mul", u, v)
            found += [Inequality(name, sub(product, inner(x, y))), Inequality(f"-{name}", add(product, inner(x, y)))]
    return found


def classes(case: Case) -> dict[str, Class]:
    """The classes from which worlds draw the functions with properties."""
    found: dict[str, Class] = {}
    for d in case.file.statements:
        if isinstance(d, s.Declaration) and d.word in ("objective", "function", "operator") and d.properties:
            held = {p.name: tuple(case.value(a) for a in p.arguments) for p in d.properties}
            unknown = set(held) - KNOWN[d.word]
            low: Node | None = None
            high = next((held[n][0] for n in ("smooth", "lipschitz") if held.get(n)), None)
            if set(held) & {"convex", "monotone", "cocoercive"}:
                low = number(0)
            if held.get("strongly_convex") or held.get("strongly_monotone"):
                low = (held.get("strongly_convex") or held["strongly_monotone"])[0]
            if held.get("cocoercive"):
                bound = node("div", number(1), held["cocoercive"][0])
                high = bound if high is None else node("min", bound, high)
            turns = d.word == "operator" and not held.get("cocoercive")
            found[d.name] = Class(low, high, bool(unknown), turns)
    return found


def add(*parts: Node) -> Node:
    """The sum of nodes."""
    total = parts[0]
    for part in parts[1:]:
        total = node("add", total, part)
    return total


def sub(x: Node, y: Node) -> Node:
    """x - y."""
    return node("sub", x, y)


def inner(x: Node, y: Node) -> Node:
    """⟨x, y⟩."""
    product = node("mul", x, y)
    return node("sum", product, attrs=(product.type.axes, False)) if product.type.axes else product


def square(x: Node) -> Node:
    """‖x‖²."""
    return inner(x, x)


def half(x: Node, factor: Node) -> Node:
    """factor/2 * x."""
    return node("mul", node("mul", number(Fraction(1, 2)), factor), x)


def _points(d: s.Declaration, nodes: set[Node]) -> Iterator[Point]:
    seen: set[Node] = set()
    for here in sorted(nodes, key=repr):
        match here.op:
            case "oracle" | "apply" if here.attrs[0] == d.name and here.attrs[1] in (
                "gradient",
                "value",
                "field",
                0,
                1,
            ):
                split = here.attrs[3]
                if split != (0, 1) or len(here.args) != 1:
                    continue
                at = here.args[0]
                if at in seen:
                    continue
                seen.add(at)
                if here.op == "oracle" and d.word == "operator":
                    yield Point(at, here, None, repr(at))
                elif here.op == "oracle":
                    gradient = node("oracle", at, attrs=(d.name, "gradient", None, split, at.type))
                    yield Point(at, gradient, node("oracle", at, attrs=(d.name, "value", None, split, REAL)), repr(at))
                else:
                    gradient = node("apply", at, attrs=(d.name, 1, None, split, at.type))
                    yield Point(at, gradient, node("apply", at, attrs=(d.name, 0, None, split, REAL)), repr(at))
            case "conjugate" if here.attrs[0] == d.name:
                y = here.args[0]
                k = conjugate_gradient(d.name, y)
                if k in seen:
                    continue
                seen.add(k)
                value = node("conjugate", y, attrs=(d.name, 0, REAL))
                yield Point(k, y, sub(inner(y, k), value), f"∇{d.name}^*({y!r})")
            case _:
                continue


def conjugate_gradient(name: str, y: Node) -> Node:
    """∇K^*(y)."""
    return node("conjugate", y, attrs=(name, 1, Type("real", y.type.axes)))


def _alone(name: str, held: dict[str, tuple[Node, ...]], a: Point) -> Iterator[Inequality]:
    """The gradients of a function that is Lipschitz are bounded."""
    if held.get("lipschitz"):
        (top,) = held["lipschitz"]
        yield Inequality(f"bound of the gradient of {name} at {a.label}", sub(square_of(top), square(a.gradient)))


def square_of(c: Node) -> Node:
    """c²."""
    return node("mul", c, c)


def _pair(name: str, held: dict[str, tuple[Node, ...]], a: Point, b: Point) -> Iterator[Inequality]:
    """The inequalities of an ordered pair: b seen from a."""
    step = sub(b.at, a.at)
    label = f"{name} at {b.label} from {a.label}"
    if b.value is not None and a.value is not None:
        gap = sub(sub(b.value, a.value), inner(a.gradient, step))
        smooth, strong = held.get("smooth"), held.get("strongly_convex")
        difference = sub(a.gradient, b.gradient)
        if held.get("lipschitz"):
            axes = step.type.axes
            length = node("norm", step, attrs=(axes, False, 2)) if axes else node("abs", step)
            far = node("mul", held["lipschitz"][0], length)
            yield Inequality(f"Lipschitz continuity of {label}", sub(far, sub(b.value, a.value)))
        if "convex" in held or strong:
            yield Inequality(f"convexity of {label}", gap)
        if smooth:
            (top,) = smooth
            yield Inequality(f"smoothness of {label}", sub(half(square(step), top), gap))
            if "convex" in held or strong:
                bend = node("div", square(difference), node("mul", number(2), top))
                yield Inequality(f"cocoercivity of {label}", sub(gap, bend))
            else:  # the function with L/2 ‖x‖² added is convex, and smooth with 2 L
                yield Inequality(f"smoothness from below of {label}", add(gap, half(square(step), top)))
                bent = square(sub(difference, node("mul", top, step)))
                bend = node("div", bent, node("mul", number(4), top))
                yield Inequality(f"interpolation of {label}", sub(add(gap, half(square(step), top)), bend))
        for c in (x for x in (smooth, strong) if x):  # squares complete what the others leave
            for slope in (difference, a.gradient):
                yield Inequality(f"square of {label}", square(sub(slope, node("mul", c[0], sub(a.at, b.at)))))
        if strong:
            (low,) = strong
            yield Inequality(f"strong convexity of {label}", sub(gap, half(square(step), low)))
            if smooth:
                (top,) = smooth
                shifted = sub(difference, node("mul", low, sub(a.at, b.at)))
                bend = node("div", square(shifted), node("mul", number(2), sub(top, low)))
                above = sub(gap, half(square(step), low))
                yield Inequality(f"interpolation of {label}", sub(above, bend))
                twice = node("mul", node("mul", number(2), sub(top, low)), above)  # the same where μ = L as well
                yield Inequality(f"interpolation, multiplied out, of {label}", sub(twice, square(shifted)))
        return
    difference = sub(b.gradient, a.gradient)
    product = inner(difference, step)
    if "monotone" in held or "strongly_monotone" in held:
        yield Inequality(f"monotonicity of {label}", product)
    if "strongly_monotone" in held:
        yield Inequality(
            f"strong monotonicity of {label}", sub(product, node("mul", held["strongly_monotone"][0], square(step)))
        )
    if "cocoercive" in held:
        yield Inequality(
            f"cocoercivity of {label}", sub(product, node("mul", held["cocoercive"][0], square(difference)))
        )
    if "lipschitz" in held:
        (top,) = held["lipschitz"]
        yield Inequality(
            f"Lipschitz continuity of {label}",
            sub(node("mul", node("mul", top, top), square(step)), square(difference)),
        )
