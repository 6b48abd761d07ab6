"""From the merged ways through a step to a rule: the clock, where states begin, names, ranges and defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from dotopt.compiler.emit.text.rule import Body, Kept
from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import TIME, Node, boolean, leaf, node, number, rebuild, substitute
from dotopt.compiler.ops.types import INT, REAL, Mismatch, Type
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.procedures.same import same
from dotopt.grammar.spelling import canonical
from dotopt.runtime.lift.merge import Merger, vanishing
from dotopt.runtime.lift.numbers import Choice, Refused, implied, positive_form, simplified
from dotopt.runtime.lift.trace import Knob, Run

SYMBOLS = {
    "lr": "η", "betas": "β", "beta": "β", "beta1": "β1", "beta2": "β2", "beta3": "β3", "eps": "ε", "weight_decay": "λ",
    "momentum": "μ", "dampening": "τ", "alpha": "α", "rho": "ρ", "gamma": "γ", "lambd": "κ", "momentum_decay": "ψ",
    "exp_avg": "m", "mean": "m", "exp_avg_sq": "v", "max_exp_avg_sq": "s", "momentum_buffer": "b", "exp_avg_diff": "n",
    "sum": "S", "square_avg": "v", "acc_delta": "D", "exp_inf": "v", "grad_avg": "a", "previous_grad": "p",
    "delta": "δ",
}  # fmt: skip
RESERVED = frozenset(("t", "f", "g", "θ", "max", "min", "sum", "mean", "norm", "size", "rank", "root", "unit", "top"))
WORDS = frozenset((
    "rule", "hyper", "state", "option", "first", "every", "from", "if", "else", "in", "as", "like", "use", "base",
    "input", "output", "const", "cases", "otherwise", "when", "where", "for", "role", "and", "or", "not", "until",
    "repeat", "at", "over", "last", "source", "param", "objective", "function", "claim", "true", "false", "per",
    "by", "operator", "most", "send",
))  # fmt: skip


def symbol(key: str, taken: set[str], position: int | None = None) -> str:
    """The letter that papers have for a keyword or a key, or the word itself, made a name that nothing has."""
    bare = "".join(c for c in key if c.isalnum() or c == "_").strip("_") or "x"
    suffix = "" if position is None else str(position + 1)
    wishes = [SYMBOLS.get(key, bare) + suffix, bare + suffix, *(f"{bare}_{i}" for i in range(2, 99))]
    found = next(w for w in map(canonical, wishes) if w not in taken and w not in RESERVED and w not in WORDS)
    taken.add(found)
    return found


@dataclass(frozen=True)
class Recovered:
    """A rule for parameters of one number of axes; `ways` are the traced steps in its own names."""

    body: Body
    ways: tuple[Traced, ...]
    used: frozenset[Node]  # hyperparameters and options that occur


@dataclass(frozen=True)
class Traced:
    """One way through a step: its choices, the first step, and a step from any state, by name of the rule."""

    choices: tuple[Choice, ...]
    first: Mapping[str, Node]
    later: Mapping[str, Node]


def recover(runs: Sequence[Run], knobs: Sequence[Knob]) -> Recovered:
    """The rule of these runs."""
    good = [run for run in runs if not run.error]
    if not good:
        raise Refused(f"the class takes no step: {runs[0].error}")
    merger = Merger()
    later = merger.ways([(run.choices, run.later) for run in good])
    first = merger.ways([(run.choices, run.first) for run in good])
    start = merger.ways([(run.choices, run.start) for run in good])
    types = {name: t for run in good for name, t in run.types.items()}
    places = {name: where for run in good for name, where in run.places.items()}
    clocks, table = _clocks(later, first, types, places)
    taken = {k.name for k in knobs}
    names = {name: symbol(name, taken) for name in types if name not in clocks}
    for name, called in names.items():
        old = leaf("state", name, types[name])
        table[old] = leaf("state", called, types[name] if types[name].axes else REAL)
    rename = _renaming(table)
    for condition, _ in (c for run in good for c in run.choices):
        if any(x.role in ("param", "free") for x in condition.walk()):
            raise Refused("a choice by data")
    nexts = {n: rename(x) for n, x in later.items() if n not in clocks}
    firsts = {n: rename(x) for n, x in first.items() if n not in clocks}
    starts = {n: rename(x) for n, x in start.items() if n in nexts}
    kept = {names[n]: starts.get(n) for n in names}
    order = [names[n] for n in names]
    moving = {names.get(n, "θ"): tidy(x) for n, x in nexts.items()}
    begun = {names.get(n, "θ"): tidy(x) for n, x in firsts.items()}
    leaves = {names[n]: table[leaf("state", n, types[n])] for n in names}
    values, late = _starts(kept, moving, begun, leaves, order)
    states = tuple(
        Kept(n, _key(old), _written_type(types[old]), values[n], n in late, moving[n]) for old, n in names.items()
    )
    ways = tuple(
        Traced(
            tuple((rename(c), o) for c, o in run.choices),
            {names.get(n, "θ"): rename(x) for n, x in run.first.items() if n not in clocks},
            {names.get(n, "θ"): rename(x) for n, x in run.later.items() if n not in clocks},
        )
        for run in good
    )
    body = _alive(Body(states, moving["θ"]))
    roots = [k.next for k in body.states] + [k.start for k in body.states] + [body.next]
    used = frozenset(x for r in roots for x in r.walk() if x.role in ("hyper", "option"))
    return Recovered(body, ways, used)


def tidy(root: Node) -> Node:
    """The same, with numbers before tensors in products."""

    def change(here: Node) -> Node:
        match here.op, here.args:
            case "mul", (a, b) if a.type.axes and not b.type.axes and b.op != "select":
                return node("mul", b, a)
        return here

    return rebuild(root, change)


def _alive(body: Body) -> Body:
    """The body without states that nothing but themselves reads."""
    while True:
        read = {x for x in body.next.walk() if x.role == "state"}
        for k in body.states:
            read |= {x for x in k.next.walk() if x.role == "state" and x.name != k.name}
        names = {x.name for x in read}
        alive = tuple(k for k in body.states if k.name in names or _reaches(k, body))
        if len(alive) == len(body.states):
            return body
        body = replace(body, states=alive)


def _reaches(kept: Kept, body: Body) -> bool:
    return kept.next.op not in ("leaf", "const") and any(x is kept.next for x in body.next.walk())


def _key(name: str) -> str:
    return name if name.isidentifier() else "".join(c if c.isalnum() else "_" for c in name)


def _written_type(type: Type) -> str:
    if type.axes == ("…",):
        return "like θ"
    if type.axes == ("rows", "cols"):
        return "like θ"
    return str(type) if type.axes else "real"


def _renaming(table: Mapping[Node, Node]) -> Any:
    clocks = {old: new for old, new in table.items() if new.op == "sub" or new is TIME}
    sums = {node("add", old, number(1)): simplified(node("add", new, number(1))) for old, new in clocks.items()}
    sums = {old: TIME if repr(new) in ("t - 1 + 1", "t") else new for old, new in sums.items()}

    def rename(root: Node) -> Node:
        return simplified(substitute(substitute(root, sums), table))

    return rename


def _clocks(later: Mapping[str, Node], first: Mapping[str, Node], types: Mapping[str, Type],
            places: Mapping[str, str]) -> tuple[set[str], dict[Node, Node]]:  # fmt: skip
    """States that count the steps, and what each is before step t."""
    clocks: set[str] = set()
    table: dict[Node, Node] = {}
    for name, kind in types.items():
        here = leaf("state", name, kind)
        began = first[name].value
        if kind.axes or later[name] is not node("add", here, number(1)) or began is None:
            continue
        clocks.add(name)
        offset = began - 2  # the value before step t is t - 2 + (value after the first step)
        table[here] = (
            TIME
            if offset == 0
            else simplified(node("sub", TIME, number(-offset)))
            if offset < 0
            else (node("add", TIME, number(offset)))
        )
    return clocks, table


def _starts(kept: Mapping[str, Node | None], moving: dict[str, Node], begun: Mapping[str, Node],
            leaves: Mapping[str, Node], order: Sequence[str]) -> tuple[dict[str, Node], set[str]]:  # fmt: skip
    """Where each state begins, so that the step at t = 1 is the first step; else the equation says what that is."""
    values: dict[str, Node] = {}
    for name in order:
        value = kept[name]
        values[name] = value if value is not None else number(0)
    late = {n for n in order if any(x.role in ("param", "free") for x in values[n].walk())}
    for name in (*order, "θ"):
        if agree(at_first(moving[name], values, leaves), begun[name]):
            continue
        if name in values and name in late:  # its value was put there at the end of the first step
            others = [n for n in moving if n != name and any(x is leaves[name] for x in moving[n].walk())]
            values[name] = number(0)
            late.discard(name)
            del others
        old = moving[name]
        usual = at_first(old, values, leaves)
        new = node("select", node("eq", TIME, number(1)), begun[name], old) if not agree(usual, begun[name]) else old
        moving[name] = new
        for other, root in moving.items():
            if other != name and old.op not in ("leaf", "const"):
                moving[other] = substitute(root, {old: new})
    return values, late


def at_first(root: Node, values: Mapping[str, Node], leaves: Mapping[str, Node]) -> Node:
    """What an expression is at t = 1, with states where they begin."""
    table = {TIME: number(1)}
    for name, value in values.items():
        table[leaves[name]] = filled(value, leaves[name].type)
    return settled(substitute(root, table), ())


def filled(value: Node, type: Type) -> Node:
    """A number that fills a tensor, as that tensor."""
    if value.type.axes == type.axes or not type.axes:
        return value
    return node("mul", value, node("ones", attrs=(type,)))


def settled(root: Node, known: Sequence[Choice]) -> Node:
    """An expression where the outcomes of some choices are known."""
    equal = {x.args[0]: x.args[1] for x, outcome in known if outcome and x.op == "eq" and x.args[0].op == "leaf"}

    def change(here: Node) -> Node:
        if here.role == "option":
            found = implied(here, known)
            return here if found is None else boolean(found)
        if here.op in ("eq", "ne", "lt", "le", "gt", "ge"):
            asked, positive = positive_form(here)
            a, b = asked.args
            if a.value is not None and b.value is not None:
                return boolean(
                    {"eq": a.value == b.value, "lt": a.value < b.value, "le": a.value <= b.value}[asked.op] is positive
                )
            found = implied(asked, known)
            return here if found is None else boolean(found is positive)
        return here

    for _ in range(12):
        before = root
        root = simplified(rebuild(rebuild(substitute(root, equal), change), vanishing))
        if root is before:
            break
    return root


def agree(left: Node, right: Node) -> bool:
    """Whether both are equal: proved, or where that is not found out, as far as random numbers tell."""
    return verdict(left, right) in ("proved", "tried")


def verdict(left: Node, right: Node) -> str:
    """proved, tried (equal for random numbers, and no proof was found) or different."""
    left, right = tidy(left), tidy(right)
    if left is right:
        return "proved"
    try:
        moving = {x for root in (left, right) for x in root.walk() if x.op == "leaf"}
        if same(left, right, moving):
            return "proved"
    except (Unsupported, Mismatch, ValueError, ZeroDivisionError, RecursionError):
        pass
    try:
        return "tried" if _alike(left, right) else "different"
    except (KeyError, NotImplementedError, ValueError, Mismatch):
        return "different"


def _alike(left: Node, right: Node) -> bool:
    """Whether values agree at random points, where they are numbers."""
    leaves = {x for root in (left, right) for x in root.walk() if x.op == "leaf" and x.role != "axis"}
    axes = sorted({a for root in (left, right) for x in root.walk() for a in x.type.axes})
    sizes = {a: 2 + i for i, a in enumerate(axes)}
    seen = 0
    for seed in range(12):
        draw = np.random.default_rng(seed)
        values: dict[Node, Any] = {leaf("axis", a, INT): np.float64(n) for a, n in sizes.items()}
        for x in sorted(leaves, key=repr):
            shape = [sizes[a] for a in x.type.axes]
            low = -1.0 if x.role in ("param", "free") or x.op == "oracle" else 0.05
            values[x] = draw.uniform(low, 0.95, shape) if x.role != "time" else float(draw.integers(2, 40))
            if x.role == "option":
                values[x] = bool(draw.integers(2))
            elif x.role == "hyper" and x.type.kind == "int":
                values[x] = float(draw.integers(1, 9))
        with np.errstate(all="ignore"):
            a, b = (np.asarray(evaluate(r, values), dtype=float) for r in (left, right))
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            continue
        seen += 1
        if not np.allclose(a, b, rtol=1e-9, atol=1e-12):
            return False
    return seen > 0


__all__ = ["Fraction", "Recovered", "Traced", "at_first", "filled", "recover", "settled", "symbol", "verdict"]
