"""P7: inequalities about one real variable, by Sturm's theorem, interval arithmetic and the signs of derivatives.

The variable is the one thing that the two sides depend on: a number, an entry of a tensor, or an answer of a function
at one point. Bounds on it come from the premises; the certificate holds the function, the bounds and the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from dotopt.compiler import ir
from dotopt.compiler.ir import Node
from dotopt.compiler.ops import OPERATIONS
from dotopt.compiler.prove.forms.facts import conjuncts
from dotopt.compiler.prove.fuel import Mark, remaining, until
from dotopt.compiler.prove.procedures.elementary import End, Step, Tree, bound, derivative, plus, rational, shows, times

# continuous, so that the sign of the derivative says where they rise
FUNCTIONS = tuple(op for op in ir.FUNCTIONS if OPERATIONS[op].smooth in ("smooth", "roots") and op != "neg")
TRANSPARENT = ("stop", "cast")
WORK = 400_000
FINEST = Fraction(1, 2000)  # of the width, for pieces


class Several(Exception):
    """More than one variable, or an operation that is not elementary."""


def proof(goal: Node, premises: Iterable[Node], fuel: float = WORK) -> tuple[str, dict[str, Any]] | None:
    """The procedure and certificate for an inequality between functions of one variable, or numbers; None if none."""
    if goal.op not in ("le", "lt", "ge", "gt"):
        return None
    low_side, high_side = goal.args if goal.op in ("le", "lt") else goal.args[::-1]
    variables: list[Node] = []
    try:
        tree = plus("sub", _tree(high_side, variables), _tree(low_side, variables))
    except Several:
        return None
    if len(variables) > 1:
        return None
    low, high = bounds(variables[0], premises) if variables else (Fraction(0), Fraction(0))
    if low is not None and high is not None and low > high:
        return None
    strict = goal.op in ("lt", "gt")
    stop = until(min(fuel, max(remaining(), 50_000)))
    step = _search(tree, low, high, strict, stop, 5)
    if step is None or not shows(tree, low, high, strict, step):
        return None
    certificate = {
        "kind": "elementary",
        "variable": repr(variables[0]) if variables else "",
        "function": tree,
        "from": None if low is None else str(low),
        "to": None if high is None else str(high),
        "strict": strict,
        "step": step,
    }
    return ("sturm" if step == ["sturm"] else "intervals"), certificate


# ---- reading -------------------------------------------------------------------------------------------------------


def _tree(here: Node, variables: list[Node]) -> Tree:
    if here.value is not None:
        return str(here.value)
    match here.op:
        case "add" | "sub":
            return plus(here.op, *(_tree(a, variables) for a in here.args))
        case "mul":
            return times(*(_tree(a, variables) for a in here.args))
        case "div":
            return ["div", *(_tree(a, variables) for a in here.args)]
        case "neg":
            return plus("sub", "0", _tree(here.args[0], variables))
        case "pi":
            return "π"
        case "pow" if (exponent := here.args[1].value) is not None:
            base = _tree(here.args[0], variables)
            if exponent.denominator == 1 and abs(exponent) <= 40:
                return ["pow", base, str(exponent)] if exponent not in (0, 1) else base if exponent else "1"
            if exponent.denominator == 2 and abs(exponent.numerator) <= 40:
                return ["pow", ["sqrt", base], str(exponent.numerator)]
            raise Several
        case name if name in FUNCTIONS:
            return [name, _tree(here.args[0], variables)]
        case name if name in TRANSPARENT:
            return _tree(here.args[0], variables)
        case "leaf" | "oracle" if here.type.kind == "real" and here.role not in ("index", "loop", "identity"):
            if here not in variables:
                variables.append(here)
            return "x"
    raise Several


def bounds(variable: Node, premises: Iterable[Node]) -> tuple[End, End]:
    """The numbers between which the premises put a variable."""
    low: End = None
    high: End = None
    for premise in conjuncts(premises):
        if premise.op not in ("lt", "le", "gt", "ge", "eq"):
            continue
        first, second = premise.args
        for left, right, op in ((first, second, premise.op), (second, first, _turned(premise.op))):
            value = right.value
            if value is None:
                continue
            size = left.op == "abs" and left.args[0] is variable and op in ("lt", "le", "eq")
            if left is variable or size:
                if op in ("gt", "ge", "eq") or size:
                    smallest = -value if size else value
                    low = smallest if low is None else max(low, smallest)
                if op in ("lt", "le", "eq"):
                    high = value if high is None else min(high, value)
    return low, high


def _turned(op: str) -> str:
    return {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}.get(op, op)


# ---- searching -----------------------------------------------------------------------------------------------------


def _search(tree: Tree, low: End, high: End, strict: bool, stop: Mark, depth: int) -> Step | None:
    """A step that shows tree >= 0 (or > 0) between the ends, if one of a few shapes does."""
    if rational(tree) is not None:
        return ["sturm"] if shows(tree, low, high, strict, ["sturm"]) else None
    if shows(tree, low, high, strict, ["pieces", []]):
        return ["pieces", []]
    if depth == 0 or stop.passed:
        return None
    slope: Tree | None = None
    for side, end in (("right", low), ("left", high)):
        if end is None:
            continue
        value = bound(tree, end, end)
        if value is None or not bool(value.a > 0 if strict else value.a >= 0):
            continue
        slope = derivative(tree) if slope is None else slope
        following = _search(slope if side == "right" else ["sub", "0", slope], low, high, False, stop, depth - 1)
        if following is not None:
            return [side, following]
    for point in _points(low, high):
        value = bound(tree, point, point)
        if value is None or value.a > 0 or value.b < 0:
            continue  # only where it touches zero
        first = _search(tree, low, point, strict, stop, depth - 1)
        second = _search(tree, point, high, strict, stop, depth - 1) if first is not None else None
        if second is not None:
            return ["split", str(point), first, second]
    return _pieces(tree, low, high, strict, stop)


def _points(low: End, high: End) -> Iterator[Fraction]:
    for point in map(Fraction, (0, 1, -1)):
        if (low is None or low < point) and (high is None or point < high):
            yield point


def _pieces(tree: Tree, low: End, high: End, strict: bool, stop: Mark) -> Step | None:
    """Cuts until the bound on every piece has the sign."""
    if low is None or high is None:
        return None
    cuts: list[Fraction] = []
    stack = [(low, high)]
    while stack:
        a, b = stack.pop()
        found = bound(tree, a, b)
        if found is not None and bool(found.a > 0 if strict else found.a >= 0):
            cuts.append(b)
            continue
        middle = bound(tree, (a + b) / 2, (a + b) / 2)
        if stop.passed or b - a < FINEST * (high - low) or (middle is not None and middle.b < 0):
            return None
        stack += [((a + b) / 2, b), (a, (a + b) / 2)]
    return ["pieces", [str(c) for c in cuts[:-1]]]


__all__ = ["bounds", "proof"]
