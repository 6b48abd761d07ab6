"""Numbers of Python that carry the expression from which they come, and the choices that Python makes by them.

A `Real` is a float, a `Whole` an int; arithmetic keeps the expression, and a comparison is a choice, which the run
follows one way and later runs the other. `builtins` and `math` drop what a subclass knows, so that modules of
optimizers get `SUBSTITUTES` in their place while they are traced.
"""

from __future__ import annotations

import builtins
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from fractions import Fraction
from types import ModuleType, SimpleNamespace
from typing import Any

from dotopt.compiler.ir import Node, boolean, node, number
from dotopt.compiler.rewrite import ALGEBRAIC, Law

Choice = tuple[Node, bool]
_LAWS: dict[str, list[Law]] = {}
for _law in ALGEBRAIC:
    if isinstance(_law.pattern, tuple):
        _LAWS.setdefault(str(_law.pattern[0]), []).append(_law)
MOST_CHOICES = 30


class Refused(Exception):
    """What is not lifted, with the line of Python that is the reason."""

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(f"{reason} ({place})" if place else reason)
        self.reason, self.place = reason, place


SIMPLE: dict[Node, Node] = {}  # runs of one class meet the same expressions again and again; emptied for each class


def simplified(root: Node) -> Node:
    """The node with the laws of algebra; each part is simplified once."""
    waiting = [root]
    while waiting:
        here = waiting[-1]
        if here in SIMPLE:
            waiting.pop()
            continue
        missing = [arg for arg in here.args if arg not in SIMPLE]
        if missing:
            waiting += missing
            continue
        waiting.pop()
        args = [SIMPLE[arg] for arg in here.args]
        same = all(a is b for a, b in zip(args, here.args, strict=True))
        SIMPLE[here] = _by_laws(here if same else node(here.op, *args, attrs=tuple(here.attrs)))
    return SIMPLE[root]


def _by_laws(here: Node) -> Node:
    for law in _LAWS.get(here.op, ()):
        found = law.apply(here)
        if found is not None and found is not here:
            return simplified(found)
    SIMPLE[here] = here
    return here


# ---- choices ---------------------------------------------------------------------------------------------------------


@dataclass
class Path:
    """One run: `forced` are outcomes of its first choices, `made` those that it met; `known` holds from the start."""

    forced: tuple[bool, ...] = ()
    known: tuple[Choice, ...] = ()
    made: list[Choice] = field(default_factory=list)
    free: bool = False  # whether choices are by the numbers and not noted, as while an optimizer is constructed

    def decide(self, condition: Node, natural: bool) -> bool:
        """Which way the run goes where Python asks whether `condition` holds, which it does for these numbers."""
        if self.free:
            return natural
        here, positive = positive_form(simplified(condition))
        if here.op == "bool":
            return bool(here.attrs.value) is positive
        settled = implied(here, [*self.known, *self.made])
        if settled is None:
            place = len(self.made)
            settled = self.forced[place] if place < len(self.forced) else natural is positive
            if place >= MOST_CHOICES:
                raise Refused(f"more than {MOST_CHOICES} choices in one step")
            self.made.append((here, settled))
        return settled is positive


PATH: ContextVar[Path] = ContextVar("path")
_TURNED = {"gt": ("le", False), "ge": ("lt", False), "ne": ("eq", False)}


def positive_form(condition: Node) -> tuple[Node, bool]:
    """The condition by `==`, `<` and `<=` alone, and whether it holds where that does.

    >>> from dotopt.compiler.ir import leaf
    >>> positive_form(node("ne", leaf("hyper", "λ"), number(0)))
    (λ == 0, False)
    """
    if condition.op in _TURNED:
        op, sign = _TURNED[condition.op]
        return node(op, *condition.args), sign
    if condition.op == "not":
        here, sign = positive_form(condition.args[0])
        return here, not sign
    return condition, True


def implied(here: Node, known: Sequence[Choice]) -> bool | None:
    """What `here` is, where others are known; None if both is possible as far as numbers beside `x` tell."""
    for condition, outcome in known:
        if condition is here:
            return outcome
    asked = _bound(here)
    if asked is None:
        return None
    x = asked[0]
    facts = [(bound, outcome) for c, outcome in known if (bound := _bound(c)) is not None and bound[0] is x]
    if not facts:
        return None
    ends = sorted({value for (_, _, value), _ in facts} | {asked[2]})
    tried = [ends[0] - 1, *ends, *((a + b) / 2 for a, b in itertools.pairwise(ends)), ends[-1] + 1]
    if x.type.kind == "int":
        tried = [*ends, *(Fraction(math.floor(e) + 1) for e in ends), *(Fraction(math.ceil(e) - 1) for e in ends)]
    possible = {_holds(asked, v) for v in tried if all(_holds(b, v) is outcome for b, outcome in facts)}
    return possible.pop() if len(possible) == 1 else None


def _bound(condition: Node) -> tuple[Node, str, Fraction] | None:
    """`x op c` with a number c, from either side."""
    if condition.op not in ("eq", "lt", "le", "gt", "ge"):
        return None
    a, b = condition.args
    if b.value is not None:
        return a, condition.op, b.value
    if a.value is not None:
        return b, {"eq": "eq", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}[condition.op], a.value
    return None


def _holds(bound: tuple[Node, str, Fraction], value: Fraction) -> bool:
    _, op, c = bound
    return {"eq": value == c, "lt": value < c, "le": value <= c, "gt": value > c, "ge": value >= c}[op]


class Flag:
    """A boolean option: asking for it is a choice."""

    def __init__(self, node: Node, value: bool) -> None:
        self.node, self.value = node, value

    def __bool__(self) -> bool:
        return PATH.get().decide(self.node, self.value)

    def __deepcopy__(self, memo: object) -> Flag:
        return self


# ---- numbers ---------------------------------------------------------------------------------------------------------


def exact(value: Any) -> Node:
    """The expression of a number of Python, as its decimals say."""
    if isinstance(value, Symbolic):
        return value.node
    if isinstance(value, Flag):
        return number(int(bool(value)))
    if isinstance(value, bool | int):
        return number(int(value))
    value = builtins.float(value)
    if math.isinf(value):
        return node("inf") if value > 0 else node("neg", node("inf"))
    if math.isnan(value):
        raise Refused("a NaN among the numbers")
    return number(Fraction(repr(value)))


def made(expression: Node, value: Any) -> Any:
    """A number with its expression; a plain one where that is a number itself."""
    expression = simplified(expression)
    if expression.value is not None:
        exactly = expression.value
        whole = isinstance(value, int) and exactly.denominator == 1
        return builtins.int(exactly) if whole else builtins.float(exactly)
    return Whole(value, expression) if isinstance(value, int) else Real(value, expression)


def _calculated(function: Callable[..., Any], *values: Any) -> Any:
    try:
        found = function(*values)
        return found if isinstance(found, int | float) else math.nan
    except (ArithmeticError, ValueError):
        return math.nan  # a branch that these numbers would not take


def _binary(op: str, function: Callable[[Any, Any], Any], turned: bool = False) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, int | float):
            return NotImplemented
        left, right = (other, self) if turned else (self, other)
        return made(_spelled(op, exact(left), exact(right)), _calculated(function, plain(left), plain(right)))

    return method


def _spelled(op: str, a: Node, b: Node) -> Node:
    """Floor division and remainders by what the language has."""
    if op == "floordiv":
        return node("floor", node("div", a, b))
    if op == "mod":
        return node("sub", a, node("mul", b, node("floor", node("div", a, b))))
    if op == "pow" and b.value == Fraction(1, 2):
        return node("sqrt", a)
    return node(op, a, b)


def _compared(op: str, function: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, int | float):
            return NotImplemented
        return PATH.get().decide(node(op, exact(self), exact(other)), function(plain(self), plain(other)))

    return method


class Symbolic:
    """What both kinds of numbers do."""

    node: Node

    __add__, __radd__ = _binary("add", lambda a, b: a + b), _binary("add", lambda a, b: a + b, True)
    __sub__, __rsub__ = _binary("sub", lambda a, b: a - b), _binary("sub", lambda a, b: a - b, True)
    __mul__, __rmul__ = _binary("mul", lambda a, b: a * b), _binary("mul", lambda a, b: a * b, True)
    __truediv__, __rtruediv__ = _binary("div", lambda a, b: a / b), _binary("div", lambda a, b: a / b, True)
    __pow__, __rpow__ = _binary("pow", lambda a, b: a**b), _binary("pow", lambda a, b: a**b, True)
    __mod__, __rmod__ = _binary("mod", lambda a, b: a % b), _binary("mod", lambda a, b: a % b, True)
    __floordiv__ = _binary("floordiv", lambda a, b: a // b)
    __rfloordiv__ = _binary("floordiv", lambda a, b: a // b, True)
    __lt__, __le__ = _compared("lt", lambda a, b: a < b), _compared("le", lambda a, b: a <= b)
    __gt__, __ge__ = _compared("gt", lambda a, b: a > b), _compared("ge", lambda a, b: a >= b)
    __eq__ = _compared("eq", lambda a, b: a == b)
    __ne__ = _compared("ne", lambda a, b: a != b)

    def __hash__(self) -> int:
        return hash(self.node)

    def __neg__(self) -> Any:
        return made(node("neg", self.node), -plain(self))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return made(node("abs", self.node), abs(plain(self)))

    def __bool__(self) -> bool:
        return PATH.get().decide(node("ne", self.node, number(0)), bool(plain(self)))

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self

    def __reduce__(self) -> Any:
        return made, (self.node, plain(self))


class Real(Symbolic, float):  # type: ignore[misc]
    """A float and where it comes from."""

    def __new__(cls, value: Any, expression: Node) -> Real:
        here = super().__new__(cls, value)
        here.node = expression
        return here


class Whole(Symbolic, int):  # type: ignore[misc]
    """An int and where it comes from."""

    def __new__(cls, value: Any, expression: Node) -> Whole:
        here = super().__new__(cls, value)
        here.node = expression
        return here


def plain(value: Any) -> Any:
    """The number alone."""
    if isinstance(value, Whole):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, Real) else value


# ---- what modules see while they are traced --------------------------------------------------------------------------


def _one(op: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        if isinstance(x, Symbolic):
            return made(node(op, x.node), _calculated(function, plain(x)))
        return function(x)

    return call


def _two(op: str, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def call(x: Any, y: Any) -> Any:
        if isinstance(x, Symbolic) or isinstance(y, Symbolic):
            return made(_spelled(op, exact(x), exact(y)), _calculated(function, plain(x), plain(y)))
        return function(x, y)

    return call


def _logarithm(x: Any, base: Any = None) -> Any:
    if base is None:
        return _one("log", math.log)(x)
    return _one("log", math.log)(x) / _one("log", math.log)(base)


_MATH: dict[str, Any] = {
    **{name: _one(name, getattr(math, name)) for name in
       ("sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "acos", "erf", "floor", "ceil")},
    "fabs": _one("abs", math.fabs),
    "pow": _two("pow", math.pow),
    "log": _logarithm,
    "log10": lambda x: _logarithm(x, 10) if isinstance(x, Symbolic) else math.log10(x),
    "isfinite": lambda x: math.isfinite(plain(x)),
    "isnan": lambda x: math.isnan(plain(x)),
    "isinf": lambda x: math.isinf(plain(x)),
}  # fmt: skip
MATH = SimpleNamespace(**{name: getattr(math, name) for name in dir(math) if not name.startswith("_")} | _MATH)


def _extreme(op: str, plainly: Callable[..., Any]) -> Callable[..., Any]:
    def call(*values: Any, **keywords: Any) -> Any:
        items = list(values[0]) if len(values) == 1 else list(values)
        numbers = all(isinstance(x, int | float) for x in items)
        if keywords or not numbers or not any(isinstance(x, Symbolic) for x in items):
            return plainly(items, **keywords)
        whole = items[0]
        for x in items[1:]:
            whole = made(node(op, exact(whole), exact(x)), plainly(plain(whole), plain(x)))
        return whole

    return call


class _Kind(type):
    """`float` and `int` that keep what a number knows, and are the true ones to `isinstance`."""

    true: type

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.true)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.true)

    def __eq__(cls, other: object) -> bool:
        return other is cls.true or (other is _FLOAT and cls is _FLOAT) or (other is _INT and cls is _INT)

    def __hash__(cls) -> int:
        return hash(cls.true)

    def __call__(cls, *values: Any) -> Any:
        if values and isinstance(values[0], Symbolic):
            here = values[0]
            if cls.true is float or isinstance(here, Whole):
                return Real(plain(here), here.node) if cls.true is float else here
            return made(node("floor", here.node), _calculated(int, plain(here)))  # of what is not negative
        if cls.true is float and values and hasattr(values[0], "item"):
            return values[0].item()
        return cls.true(*values)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.true, name)


_FLOAT = _Kind("float", (), {"true": float})
_INT = _Kind("int", (), {"true": int})
SUBSTITUTES: Mapping[str, Any] = {
    "max": _extreme("max", builtins.max),
    "min": _extreme("min", builtins.min),
    "float": _FLOAT,
    "int": _INT,
}


@contextmanager
def substituted(modules: Sequence[ModuleType]) -> Iterator[None]:
    """Inside, these modules see functions of `math` and of `builtins` that keep expressions."""
    before: list[tuple[ModuleType, str, Any]] = []
    missing = object()
    known = {getattr(math, name): MATH.__dict__[name] for name in _MATH if hasattr(math, name)}
    try:
        for module in modules:
            space = vars(module)
            changes: dict[str, Any] = {n: s for n, s in SUBSTITUTES.items() if n not in space}
            for name, value in list(space.items()):
                if value is math:
                    changes[name] = MATH
                elif callable(value) and _hashable(value) and value in known:
                    changes[name] = known[value]
            for name, value in changes.items():
                before.append((module, name, space.get(name, missing)))
                setattr(module, name, value)
        yield
    finally:
        for module, name, value in reversed(before):
            if value is missing:
                delattr(module, name)
            else:
                setattr(module, name, value)


def _hashable(value: Any) -> bool:
    return type(value).__hash__ is not None and type(value).__name__ == "builtin_function_or_method"


__all__ = [
    "PATH", "SIMPLE", "Choice", "Flag", "Path", "Real", "Refused", "Symbolic", "Whole", "boolean", "exact", "implied",
    "made", "plain", "positive_form", "simplified", "substituted",
]  # fmt: skip
