"""The step of a rule as SymPy expressions of single entries: an evaluation path of its own, beside the judge.

Each equation becomes one expression for every entry of its result, in the entries of what stands before it.
`functions` compiles them with SymPy's `lambdify`. Nothing here shares code with `evaluate`: broadcasting, reductions
and choices are written a second time, so that two mistakes would have to agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import sympy as sp

from dotopt.compiler.ir import Loop, Node, Program, leaf, number, rebuild, substitute
from dotopt.compiler.ops import having
from dotopt.compiler.ops.types import INT, REST, Type

Entries = Any  # an object array of SymPy expressions, one axis for each axis of the type


class Unsupported(Exception):
    """The step has a part that is not written out in entries; the message names it."""


@dataclass(frozen=True)
class Written:
    """One equation: the node as the judge sees it, its entries, and the symbols that stand for them afterwards."""

    label: str
    node: Node
    entries: Entries
    symbols: Entries


@dataclass(frozen=True)
class Step:
    """The step written out: leaves with their symbols, then the equations in order."""

    leaves: Mapping[Node, Entries]
    equations: tuple[Written, ...]


def step(program: Program, sizes: Mapping[str, int], rank: int | None = None) -> Step:
    """The equations of `program` in entries, axes having these sizes (`…` is one axis).

    Questions to the objective are taken as given numbers. Raises `Unsupported` for what has no expression in entries.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import lower
    >>> written = step(lower(Library().file("Lion")), {"…": 1})
    >>> written.equations[-1].label, written.equations[-1].entries[0]
    ("m'", g_0*(1 - β2) + m_0*β2)
    """
    answers, places = asked(program), _places(program, sizes, rank)
    outermost = sorted(answers, key=lambda here: -sum(1 for _ in here.walk()))

    def plain(root: Node) -> Node:
        for question in outermost:  # one by one: a question may stand inside another one
            root = substitute(root, {question: answers[question]})
        return substitute(substitute(root, places), counts)

    counts = _counts(program)
    roots = [(equation.label, plain(equation.node)) for equation in program.equations]
    starts = [(f"{s.name} at first", plain(s.start)) for s in program.states if s.kind == "first"]
    writer = _Writer(sizes)
    written: list[Written] = []
    for label, here in (*starts, *roots):
        if here.op == "leaf" or here in writer.done:
            continue
        flat = rebuild(here, _unrolled)
        for part in (*_parts(flat, writer.done), flat):
            entries = writer.entries(part)
            name = label if part is flat else f"part {len(written) + 1}, of {label}"
            symbols = _symbols(name, np.shape(entries), part.type)
            writer.done[part] = symbols
            written.append(Written(name, here if part is flat else part, entries, symbols))  # the judge runs the loop
        writer.done[here] = writer.done[flat]
    return Step(
        {here: s for here, s in writer.done.items() if here.op == "leaf" and here.role != "axis"}, tuple(written)
    )


def _counts(program: Program) -> dict[Node, Node]:
    """Integer hyperparameters that say how often a loop runs become numbers, small ones of their ranges."""
    asked = {here.args[0] for root in program.roots for here in root.walk() if here.op == "loop"}
    found = {}
    for hyper in program.hypers:
        here = leaf("hyper", hyper.name, hyper.type)
        if here in asked:
            low = hyper.interval.low.value if hyper.interval.low is not None else None
            found[here] = number(max(PASSES, 0 if low is None else int(low) + hyper.interval.open_low))
    return found


def _unrolled(here: Node) -> Node:
    """A result of a loop with a known number of passes, written out."""
    if here.op != "item" or here.args[0].op != "loop":
        return here
    count, *values = here.args[0].args
    body: Loop = here.args[0].attrs.body
    if count.value is None or body.until is not None or body.index is not None or any(v.args for v in body.variables):
        return here
    for _ in range(int(count.value)):
        table = dict(zip(body.variables, values, strict=True))
        values = [substitute(following, table) for following in body.nexts]
    result: Node = values[here.attrs.position]
    return result


def _parts(root: Node, done: Mapping[Node, Entries]) -> list[Node]:
    """What is written under a name of its own: SymPy takes minutes for choices and reductions inside each other."""
    return [here for here in root.walk() if here.op in SPLIT and here is not root and here not in done]


def functions(written: Written) -> tuple[list[sp.Symbol], Callable[..., Any]]:
    """The symbols that the entries read, and a NumPy function of them that gives the entries, flat."""
    flat = [sp.sympify(entry) for entry in np.ravel(written.entries)]
    flat = [sp.Piecewise((1, entry), (0, True)) if _truth(entry) else entry for entry in flat]
    free = sorted({symbol for entry in flat for symbol in entry.free_symbols}, key=str)
    return free, sp.lambdify([free], flat, modules=[{"select": _select, "erf": math.erf}, "numpy"], cse=True)


def _select(conditions: Sequence[Any], values: Sequence[Any], default: Any) -> Any:
    """`numpy.select` for single numbers."""
    return next((value for condition, value in zip(conditions, values, strict=True) if condition), default)


def asked(program: Program) -> dict[Node, Node]:
    """Free names for the answers of the objective."""
    table: dict[Node, Node] = {}
    for number_, here in enumerate(program.oracles):
        table[here] = leaf("free", "g" if number_ == 0 else f"g{number_ + 1}", here.type)
    return table


def _places(program: Program, sizes: Mapping[str, int], rank: int | None) -> dict[Node, Node]:
    found: dict[Node, Node] = {}
    for root in program.roots:
        for here in root.walk():
            if here.role == "rank" and rank is not None:
                found[here] = number(rank)
    return found


def _symbols(name: str, shape: tuple[int, ...], type: Type) -> Entries:
    made = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        suffix = "".join(f"_{i}" for i in place)
        made[place] = sp.Symbol(name + suffix, real=True, integer=True if name == "t" else None)
    return made


def _truth(entry: Any) -> bool:
    return bool(isinstance(entry, sp.logic.boolalg.Boolean) and not isinstance(entry, sp.Symbol))


def _number(entry: Any) -> Any:
    """A condition counts as 0 or 1."""
    return sp.Piecewise((1, entry), (0, True)) if _truth(entry) else entry


def _condition(entry: Any) -> Any:
    """A number is true unless it is 0."""
    return entry if _truth(entry) else sp.Ne(entry, 0)


def _choice(condition: Any, a: Any, b: Any) -> Any:
    return sp.Piecewise((_number(a), _condition(condition)), (_number(b), True))


def _norm(entries: Sequence[Any], order: Any) -> Any:
    if order is None:
        return reduce(lambda a, b: sp.Max(a, b, evaluate=False), [sp.Abs(e) for e in entries])
    if order == 2:
        return sp.sqrt(sum(e**2 for e in entries))
    power = sp.Rational(order)
    return sum(sp.Abs(e) ** power for e in entries) ** (1 / power)


MEANING: dict[str, Callable[..., Any]] = {
    op: partial(meaning, sp) for op, meaning in having(lambda row: row.sympy).items() if op != "select"
}
LOGIC = frozenset(("and", "or", "not"))
FOLDS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "sum": lambda entries: sum(entries, sp.Integer(0)),
    "mean": lambda entries: sum(entries, sp.Integer(0)) / len(entries),
    "amax": lambda entries: reduce(MEANING["max"], entries),
    "amin": lambda entries: reduce(MEANING["min"], entries),
    "std": lambda entries: _deviation(entries),
}


def _deviation(entries: Sequence[Any]) -> Any:
    if len(entries) < 2:
        return sp.nan
    mean = sum(entries) / len(entries)
    return sp.sqrt(sum((e - mean) ** 2 for e in entries) / (len(entries) - 1))


PASSES = 2  # of a loop whose number of passes is a hyperparameter
SPLIT = {*FOLDS, "matmul", "norm", "select", "max", "min"}


class _Writer:
    """Entries of nodes, each written once."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.done: dict[Node, Entries] = {}

    def shape(self, type: Type) -> tuple[int, ...]:
        try:
            return tuple(int(axis) if axis.isdigit() else self.sizes[axis] for axis in type.axes)
        except KeyError as axis:
            raise Unsupported(f"an axis of unknown size: {axis}") from None

    def entries(self, root: Node) -> Entries:
        for here in self._order(root):
            self.done[here] = self._one(here)
        return self.done[root]

    def _order(self, root: Node) -> Iterator[Node]:
        """What is not written yet, arguments first; nothing below what is."""
        stack = [(root, False)]
        seen = set(self.done)
        while stack:
            here, ready = stack.pop()
            if ready:
                yield here
            elif here not in seen:
                seen.add(here)
                stack.append((here, True))
                stack.extend((arg, False) for arg in here.args)

    def _one(self, here: Node) -> Entries:
        args = [self.done[arg] for arg in here.args]
        match here.op:
            case "leaf":
                return self._leaf(here)
            case "const":
                return np.array(sp.Rational(here.attrs.value.numerator, here.attrs.value.denominator), dtype=object)
            case "bool":
                return np.array(sp.true if here.attrs.value else sp.false, dtype=object)
            case "inf":
                return np.array(sp.oo, dtype=object)
            case "pi":
                return np.array(sp.pi, dtype=object)
            case "zeros" | "ones":
                return np.full(self.shape(here.attrs.type), sp.Integer(here.op == "ones"), dtype=object)
            case "select":
                return self._each(here, args, _choice)
            case "fires":
                t, period, start = self._leaf(leaf("time", "t", INT))[()], *(a[()] for a in args)
                return np.array(sp.And(sp.Ge(t, start), sp.Eq(MEANING["mod"](t - start, period), 0)), dtype=object)
            case "transpose":
                return np.swapaxes(args[0], -1, -2)
            case "matmul" if max(a.ndim for a in args) <= 2 and all(REST not in a.type.axes for a in here.args):
                return np.array(np.dot(args[0], args[1]), dtype=object)
            case "outer" if all(a.ndim == 1 for a in args):
                return args[0][:, None] * args[1][None, :]
            case "trace":
                return np.array(sum(args[0][i, i] for i in range(len(args[0]))), dtype=object)
            case "size":
                return np.array(sp.Integer(self._count(here)), dtype=object)
            case op if op in LOGIC:
                return self._each(here, args, lambda *x: MEANING[op](*map(_condition, x)))
            case op if op in MEANING:
                return self._each(here, args, lambda *x: MEANING[op](*map(_number, x)))
            case op if op in FOLDS:
                return self._reduced(here, args[0], FOLDS[op])
            case "norm":
                return self._reduced(here, args[0], lambda entries: _norm(entries, here.attrs.order))
        raise Unsupported(f"`{here.op}` has no expression in entries")

    def _leaf(self, here: Node) -> Entries:
        if here in self.done:
            return self.done[here]
        if here.role == "axis":
            return np.array(sp.Integer(self.sizes[here.name]), dtype=object)
        if here.role not in ("param", "state", "input", "hyper", "time", "free", "draw") or here.args:
            raise Unsupported(f"`{here!r}` ({here.role}) is not a number that a step is given")
        self.done[here] = _symbols(here.name, self.shape(here.type), here.type)
        return self.done[here]

    def _each(self, here: Node, args: Sequence[Entries], function: Callable[..., Any]) -> Entries:
        """`function` at every place of the result; operands that lack an axis are repeated along it."""
        shape = self.shape(here.type)
        axes = here.type.axes
        twice = len(set(axes)) < len(axes)
        if twice and any(arg.type.axes not in ((), axes) for arg in here.args):
            raise Unsupported("an axis that occurs twice, beside one that occurs once")
        made = np.empty(shape, dtype=object)
        for place in np.ndindex(*shape):
            at = dict(zip(axes, place, strict=True))
            picked = [
                a[place if arg.type.axes == axes else tuple(at[axis] for axis in arg.type.axes)]
                for a, arg in zip(args, here.args, strict=True)
            ]
            made[place] = function(*picked)
        return made

    def _reduced(self, here: Node, entries: Entries, function: Callable[[Sequence[Any]], Any]) -> Entries:
        type = here.args[0].type
        gone = [i for i, axis in enumerate(type.axes) if axis in here.attrs.axes]
        left = [i for i in range(len(type.axes)) if i not in gone]
        made = np.empty(tuple(entries.shape[i] for i in left), dtype=object)
        moved = np.transpose(entries, (*left, *gone)) if gone else entries
        for place in np.ndindex(*made.shape):
            made[place] = function([_number(entry) for entry in np.ravel(np.array(moved[place], dtype=object))])
        return made

    def _count(self, here: Node) -> int:
        shape = dict(zip(here.args[0].type.axes, self.shape(here.args[0].type), strict=True))
        return int(np.prod([shape[axis] for axis in here.attrs.axes if axis in shape], dtype=int))

