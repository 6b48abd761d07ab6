"""Python text of a number that all tensors of a bucket share: computed on the host, in double precision.

What could raise on a float, or cancel, goes through `dotopt.runtime.scalars`; everything else is plain arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from dotopt.compiler.ir import FUNCTIONS, TIME, Hyper, Node, number
from dotopt.compiler.ops import in_torch, signs
from dotopt.compiler.text.errors import fail

ONE = number(1)
COMPARISONS = signs("compare")
# functions that `dotopt.runtime.scalars` and `dotopt.runtime.foreach` have; others are made of their spelling in torch
WORDS = frozenset(
    (*("neg", "abs", "sign", "sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "acos", "atanh", "erf", "sigmoid"),
     *("gelu", "relu", "floor", "ceil"))
)  # fmt: skip

# how tightly the outermost operator of a text binds
CHOICE, OR, AND, NOT, COMPARE, SUM, PRODUCT, SIGN, POWER, ATOM = range(10)
Text = tuple[str, int]


def literal(value: Fraction) -> str:
    """The number as Python writes it.

    >>> literal(Fraction(1, 10**8)), literal(Fraction(3)), literal(Fraction(1, 3))
    ('1e-08', '3', '0.3333333333333333')
    """
    return str(value.numerator) if value.denominator == 1 else repr(float(value))


def by_torch(op: str, argument: str) -> str:
    """A function of a number that is no word of `scalars`, by what it is in torch."""
    return f"scalars.of(lambda x: {in_torch(op, 'x').replace('torch.', 'scalars.torch.')}, {argument})"


class Scalars:
    """Writes nodes, given the names of those that have one and the legal ranges of the hyperparameters."""

    def __init__(
        self, names: Mapping[Node, str], hypers: Mapping[str, Hyper], special: Callable[[Node], str | None]
    ) -> None:
        self.names = names
        self.hypers = hypers
        self.special = special  # sizes and the like, which depend on where the number stands

    def text(self, node: Node, least: int = CHOICE) -> str:
        """The text of `node`, in parentheses if it binds less tightly than `least`."""
        text, binds = self._write(node)
        return text if binds >= least else f"({text})"

    def _write(self, node: Node) -> Text:
        if node in self.names:
            return self.names[node], ATOM
        if (text := self.special(node)) is not None:
            return text, ATOM
        match node.op, node.args:
            case "const", _:
                text = literal(node.attrs.value)
                return text, SIGN if text.startswith("-") else ATOM
            case "bool", _:
                return str(node.attrs.value), ATOM
            case "inf", _:
                return "math.inf", ATOM
            case "pi", _:
                return "math.pi", ATOM
            case "neg", (a,):
                return f"-{self.text(a, SIGN)}", SIGN
            case "add", (a, b):
                return f"{self.text(a, SUM)} + {self.text(b, PRODUCT)}", SUM
            case "sub", (a, b) if a is ONE and b.op == "pow":
                return f"scalars.complement({self.text(b.args[0])}, {self.text(b.args[1])})", ATOM
            case "sub", (a, b):
                return f"{self.text(a, SUM)} - {self.text(b, PRODUCT)}", SUM
            case "mul", (a, b):
                return f"{self.text(a, PRODUCT)} * {self.text(b, SIGN)}", PRODUCT
            case "div", (a, b):
                if self.nonzero(b):
                    return f"{self.text(a, PRODUCT)} / {self.text(b, SIGN)}", PRODUCT
                return f"scalars.divide({self.text(a)}, {self.text(b)})", ATOM
            case "pow", (a, b) if b.value is not None and b.value.denominator == 1 and 0 < b.value <= 4:
                return f"{self.text(a, ATOM)}**{self.text(b)}", POWER
            case "pow", (a, b):
                return f"scalars.power({self.text(a)}, {self.text(b)})", ATOM
            case "mod", (a, b):
                return f"{self.text(a, PRODUCT)} % {self.text(b, SIGN)}", PRODUCT
            case "abs", (a,):
                return f"scalars.absolute({self.text(a)})", ATOM
            case "max" | "min", (a, b):
                return f"scalars.{node.op}imum({self.text(a)}, {self.text(b)})", ATOM
            case "select", (c, a, b):
                return f"{self.text(a, OR)} if {self.text(c, OR)} else {self.text(b)}", CHOICE
            case "and", (a, b):
                return f"{self.text(a, AND)} and {self.text(b, AND)}", AND
            case "or", (a, b):
                return f"{self.text(a, OR)} or {self.text(b, OR)}", OR
            case "not", (a,):
                return f"not {self.text(a, NOT)}", NOT
            case "fires", (period, start):
                return f"scalars.every({self.names[TIME]}, {self.text(period)}, {self.text(start)})", ATOM
            case "stop" | "cast", (a,):
                return self._write(a)
            case op, (a, b) if op in COMPARISONS:
                return f"{self.text(a, SUM)} {COMPARISONS[op]} {self.text(b, SUM)}", COMPARE
            case op, (a,) if op in WORDS:
                return f"scalars.{op}({self.text(a)})", ATOM
            case op, (a,) if op in FUNCTIONS:
                return by_torch(op, self.text(a)), ATOM
        raise fail("E601", node.span, construct=f"`{node!r}` as a number")

    def nonzero(self, node: Node) -> bool:
        """Whether it is plain from the text of the rule that the number is not zero."""
        match node.op, node.args:
            case "const", _:
                return bool(node.attrs.value != 0)
            case "pi", _:
                return True
            case "exp", _:
                return True
            case "add", (a, b):
                return self.positive(a) and self.positive(b) and (self.nonzero(a) or self.nonzero(b))
            case "mul" | "div", (a, b):
                return self.nonzero(a) and self.nonzero(b)
            case "sqrt" | "neg", (a,):
                return self.nonzero(a)
            case "sub", (a, b) if a is ONE:
                base = b.args[0] if b.op == "pow" and self._clock(b.args[1]) else b
                return base.role == "hyper" and self._below_one(base) and self.positive(base)
            case "max", (a, b):
                return (self.positive(a) and self.nonzero(a)) or (self.positive(b) and self.nonzero(b))
            case "leaf", _:
                if node.role == "hyper" and (found := self.hypers.get(node.name)) is not None:
                    low = found.interval.low
                    return (
                        low is not None
                        and low.value is not None
                        and (low.value > 0 or (low.value == 0 and found.interval.open_low))
                    )
                return node.role in ("time", "axis")
        return node.op == "size"

    def positive(self, node: Node) -> bool:
        """Whether it is plain that the number is not negative."""
        match node.op, node.args:
            case "const", _:
                return bool(node.attrs.value >= 0)
            case "add" | "mul" | "div", (a, b):
                return self.positive(a) and self.positive(b)
            case "sqrt" | "exp" | "abs" | "size", _:
                return True
            case "leaf", _:
                if node.role == "hyper" and (found := self.hypers.get(node.name)) is not None:
                    low = found.interval.low
                    return low is not None and low.value is not None and low.value >= 0
                return node.role in ("time", "axis")
        return False

    def _clock(self, node: Node) -> bool:
        return node.role == "time" or (node.value is not None and node.value > 0)

    def _below_one(self, node: Node) -> bool:
        found = self.hypers.get(node.name)
        high = found.interval.high if found is not None else None
        return (
            high is not None
            and high.value is not None
            and found is not None
            and (high.value < 1 or (high.value == 1 and found.interval.open_high))
        )
