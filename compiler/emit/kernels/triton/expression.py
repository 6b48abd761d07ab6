"""Operations in Triton. Division and roots of float are the correctly rounded ones, as everywhere else.

A NaN passes through `minimum`, `maximum` and `sign` as in the reference. What Triton has no function for in both its
compiler and its interpreter is refused, and such a rule runs on the torch backend.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Sequence
from fractions import Fraction

from dotopt.compiler.emit.kernels.shared.scope import ATOM, SIGN, Text
from dotopt.compiler.emit.kernels.triton import powers
from dotopt.compiler.emit.kernels.triton.precision import FUNCTIONS as PRECISION
from dotopt.compiler.ir import Node
from dotopt.compiler.schedule.places import Unsupported

COMPARE, SUM, PRODUCT = range(2, 5)

# Python's words, and what the kernels themselves call things
_OWN = (
    "i r c p piece tensor tensors block col cols begin end start size count inside there scale tl triton offset "
    "piece_tensor piece_start piece_full data shape first first_row given host sums totals rows "
    "PIECE BLOCK HEIGHT WIDTH"
)
keywords = frozenset((*keyword.kwlist, *dir(builtins), *PRECISION, *powers.NAMES, *_OWN.split()))
# where numbers meet in a function of Triton, which takes those that are written out for float
MET = frozenset(("min", "max", "select", "pow"))

INFIX = {
    "add": (" + ", SUM, SUM, PRODUCT),
    "sub": (" - ", SUM, SUM, PRODUCT),
    "mul": (" * ", PRODUCT, PRODUCT, SIGN),
    "lt": (" < ", COMPARE, SUM, SUM),
    "le": (" <= ", COMPARE, SUM, SUM),
    "gt": (" > ", COMPARE, SUM, SUM),
    "ge": (" >= ", COMPARE, SUM, SUM),
    "eq": (" == ", COMPARE, SUM, SUM),
    "ne": (" != ", COMPARE, SUM, SUM),
}

FUNCTIONS = {
    "abs": "tl.abs", "exp": "tl.exp", "log": "tl.log", "sin": "tl.sin", "cos": "tl.cos", "floor": "tl.floor",
    "ceil": "tl.ceil", "sigmoid": "tl.sigmoid",
}  # fmt: skip


def literal(value: Fraction, real: str) -> str:
    """A number; it takes the type of what it meets."""
    return repr(float(value))


def constant(here: Node, real: str) -> str:
    """An infinity, π, a truth value."""
    return {"inf": "float('inf')", "pi": "3.141592653589793"}.get(here.op) or str(bool(here.attrs[0]))


def define(kind: str, name: str, text: str) -> str:
    """An assignment."""
    return f"{name} = {text}"


def cast(kind: str, text: Text) -> str:
    """A value as another type."""
    return f"{_bracketed(text, SUM)} != 0" if kind == "int" else f"tl.cast({text[0]}, {DTYPES[kind]})"


DTYPES = {"float": "tl.float32", "double": "tl.float64"}


def comment(text: str) -> str:
    """A remark."""
    return f"# {text}"


def number_from(text: Text, real: str) -> Text:
    """A condition as the number 0 or 1."""
    one = _wide("1.0") if real == "double" else "1.0"
    return f"tl.where({text[0]}, {one}, 0.0)", ATOM


def condition_from(text: Text, real: str) -> Text:
    """A number as a condition."""
    return f"{_bracketed(text, SUM)} != 0.0", COMPARE


def operation(here: Node, args: Sequence[Text], real: str) -> Text:
    """`here` from its operands."""
    if here.op in MET:
        args = [
            (_wide(text[0]), ATOM) if real == "double" and arg.op in ("const", "pi") else text
            for text, arg in zip(args, here.args, strict=True)
        ]
    texts = [text for text, _ in args]
    match here.op:
        case "neg":
            return "-" + _bracketed(args[0], ATOM), SIGN
        case "not":
            return f"{_bracketed(args[0], ATOM)} == 0", COMPARE
        case "stop":
            return args[0]
        case "div" if real == "float":
            return f"tl.div_rn({texts[0]}, {texts[1]})", ATOM
        case "div":
            return f"{_bracketed(args[0], PRODUCT)} / {_bracketed(args[1], SIGN)}", PRODUCT
        case "sqrt":
            return f"tl.sqrt_rn({texts[0]})" if real == "float" else f"tl.sqrt({texts[0]})", ATOM
        case "pow":
            return powers.power(here, args, real)
        case "and":  # as a choice: the interpreter's `&` does not join what is one number and what is many
            return f"tl.where({texts[0]}, {texts[1]}, False)", ATOM
        case "or":
            return f"tl.where({texts[0]}, True, {texts[1]})", ATOM
        case "select":
            return f"tl.where({', '.join(texts)})", ATOM
        case "min" | "max":
            return f"tl.{here.op}imum({texts[0]}, {texts[1]}, tl.PropagateNan.ALL)", ATOM
        case "sign":
            return f"tl.where({texts[0]} > 0, 1.0, tl.where({texts[0]} < 0, -1.0, {texts[0]}))", ATOM
        case "relu":
            return f"tl.where({texts[0]} < 0, 0.0, {texts[0]})", ATOM
        case "gelu":
            return f"0.5 * {texts[0]} * (1.0 + tl.erf({texts[0]} * 0.7071067811865476))", PRODUCT
        case "mod":
            a, b = (_bracketed(arg, ATOM) for arg in args)
            return f"{a} - tl.floor({a} / {b}) * {b}", SUM
        case op if op in INFIX:
            sign, level, left, right = INFIX[op]
            return f"{_bracketed(args[0], left)}{sign}{_bracketed(args[1], right)}", level
        case op if op in FUNCTIONS:
            return f"{FUNCTIONS[op]}({texts[0]})", ATOM
        case op:
            raise Unsupported(f"Triton has no {op}")


def _wide(text: str) -> str:
    return f"tl.full([], {text}, tl.float64)"


def _bracketed(text: Text, level: int) -> str:
    return text[0] if text[1] >= level else f"({text[0]})"
