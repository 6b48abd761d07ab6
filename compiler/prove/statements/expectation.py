"""`expect(e)`: the mean over the draws of one step, taken out where the moments of the laws are enough.

Linear operations change places with the mean. What is left, entry by entry, is written as a polynomial in the draws;
the entries of a draw are independent, and so are draws of different names, so a monomial becomes a product of moments.
Of a chosen set only `indicator(S)` is read, entry by entry: an entry is 1 with probability k/n. What depends on a draw
in another way is left as it is, and the claim stays open.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from dotopt.compiler.ir import Node, Random, leaf, node, number, rebuild
from dotopt.compiler.ops.types import INT

Powers = tuple[tuple[Node, int], ...]  # draws with their powers
LINEAR = ("sum", "mean", "transpose", "neg", "add", "sub")
HIGHEST = 4  # of the powers of one draw


class Unknown(Exception):
    """The mean is not a matter of moments."""


def expectations(root: Node, randoms: Iterable[Random]) -> Node:
    """`root` with every `expect(…)` that the moments decide replaced by its value."""
    laws = _laws(randoms)

    def taken(here: Node) -> Node:
        if here.op != "claim" or here.attrs[0] != "expect":
            return here
        try:
            return mean(here.args[0], laws)
        except Unknown:
            return here

    return rebuild(root, taken)


def _laws(randoms: Iterable[Random]) -> dict[str, Random]:
    """The laws by the names of the draws; a name with two laws has none. A formula called again repeats its draws."""
    found: dict[str, Random] = {}
    for random in sorted(randoms, key=lambda r: not r.args):
        known = found.setdefault(random.name, random)
        if random.law != known.law or (random.args and random.args != known.args):
            found[random.name] = replace(known, law="", args=())
    return found


def drawn(here: Node) -> set[Node]:
    """The draws that a value depends on."""
    return {inner for inner in here.walk() if inner.op == "leaf" and inner.role == "draw"}


def mean(here: Node, laws: dict[str, Random]) -> Node:
    """The mean of a value over all draws; raises `Unknown`."""
    if not drawn(here):
        return here
    if here.op in LINEAR:
        return node(here.op, *(mean(a, laws) for a in here.args), attrs=here.attrs)
    if here.op == "matmul" and any(not drawn(a) for a in here.args):
        return node(here.op, *(mean(a, laws) for a in here.args), attrs=here.attrs)
    if here.op == "select" and not drawn(here.args[0]):
        return node(here.op, here.args[0], *(mean(a, laws) for a in here.args[1:]), attrs=here.attrs)
    if here.op == "pow" and here.args[0].op == "norm" and here.args[0].attrs[2] in (2, None):
        return _squares(here, laws)
    total: Node | None = None
    for powers, factor in polynomial(here).items():
        for draw, power in powers:
            factor = node("mul", factor, moment(laws, draw, power))
        total = factor if total is None else node("add", total, factor)
    return total if total is not None else number(0)


def _squares(here: Node, laws: dict[str, Random]) -> Node:
    """The mean of ‖u‖²."""
    norm, power = here.args
    if power.value != 2:
        raise Unknown
    inside = norm.args[0]
    return mean(node("sum", node("mul", inside, inside), attrs=norm.attrs[:2]), laws)


def polynomial(here: Node) -> dict[Powers, Node]:
    """An entrywise value as a sum of factors without draws times powers of draws; raises `Unknown`."""
    if not drawn(here):
        return {(): here}
    match here.op:
        case "leaf" | "indicator":
            return {((here, 1),): number(1)}
        case "add" | "sub":
            left, right = (polynomial(a) for a in here.args)
            return _summed([*left.items(), *((p, node("neg", f) if here.op == "sub" else f) for p, f in right.items())])
        case "neg":
            return {p: node("neg", f) for p, f in polynomial(here.args[0]).items()}
        case "mul":
            return _product(*(polynomial(a) for a in here.args))
        case "div" if not drawn(here.args[1]):
            return {p: node("div", f, here.args[1]) for p, f in polynomial(here.args[0]).items()}
        case "pow" if here.args[1].value in (2, 3, 4):
            base = polynomial(here.args[0])
            total = base
            for _ in range(int(here.args[1].value or 0) - 1):
                total = _product(total, base)
            return total
    raise Unknown


def _product(left: dict[Powers, Node], right: dict[Powers, Node]) -> dict[Powers, Node]:
    terms: list[tuple[Powers, Node]] = []
    for p, a in left.items():
        for q, b in right.items():
            powers = dict(p)
            for draw, power in q:
                powers[draw] = powers.get(draw, 0) + power
            terms.append((tuple(sorted(powers.items(), key=lambda pair: repr(pair[0]))), node("mul", a, b)))
    return _summed(terms)


def _summed(terms: Iterable[tuple[Powers, Node]]) -> dict[Powers, Node]:
    total: dict[Powers, Node] = {}
    for powers, factor in terms:
        total[powers] = node("add", total[powers], factor) if powers in total else factor
    return total


def moment(laws: dict[str, Random], draw: Node, power: int) -> Node:
    """The mean of a power of one entry of a draw; raises `Unknown`."""
    if draw.op == "indicator":
        return _chosen(laws, draw)
    random = laws.get(draw.name)
    if random is None or draw.args or power > HIGHEST or any(drawn(a) for a in random.args):
        raise Unknown
    match random.law:
        case "normal" if len(random.args) == 2:
            m, s = random.args
            square, deviation = node("mul", m, m), node("mul", s, s)
            match power:
                case 1:
                    return m
                case 2:
                    return node("add", square, deviation)
                case 3:
                    return node("mul", m, node("add", square, node("mul", number(3), deviation)))
            fourth = node("mul", number(3), node("mul", deviation, deviation))
            mixed = node("mul", number(6), node("mul", square, deviation))
            return node("add", node("mul", square, square), node("add", mixed, fourth))
        case "uniform" if len(random.args) == 2:
            low, high = random.args
            powers = [node("mul", _power(low, k), _power(high, power - k)) for k in range(power + 1)]
            total = powers[0]
            for part in powers[1:]:
                total = node("add", total, part)
            return node("mul", number(Fraction(1, power + 1)), total)
        case "bernoulli" if random.args:
            return random.args[0]
        case "rademacher":
            return number(1 - power % 2)
    raise Unknown


def _chosen(laws: dict[str, Random], here: Node) -> Node:
    """The mean of an entry of `indicator(S)` where S is k of all positions of its axis; powers of it are the same."""
    chosen = here.args[0]
    random = laws.get(chosen.name) if chosen.role == "draw" and not chosen.args else None
    if random is None or random.law != "choose" or len(random.args) != 2 or len(here.type.axes) != 1:
        raise Unknown
    positions, count = random.args
    (axis,) = here.type.axes
    if positions.op != "range" or positions.args != (number(1), leaf("axis", axis, INT)) or drawn(count):
        raise Unknown
    return node("div", count, positions.args[1])


def _power(base: Node, exponent: int) -> Node:
    result = number(1)
    for _ in range(exponent):
        result = node("mul", result, base)
    return result


__all__ = ["expectations"]
