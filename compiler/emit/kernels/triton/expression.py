"""Operations in Triton. Division and roots of float are the correctly rounded ones, as everywhere else.

A NaN passes through `minimum`, `maximum` and `sign` as in the reference. What Triton has no function for in both its
compiler and its interpreter is refused, and such a rule runs on the torch backend.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from dotopt.compiler.emit.kernels.shared.scope import ATOM, SIGN, Text
from dotopt.compiler.emit.kernels.triton import powers
from dotopt.compiler.emit.kernels.triton.precision import FUNCTIONS as PRECISION
from dotopt.compiler.ir import Node
from dotopt.compiler.ops import having
from dotopt.compiler.ops.bodies import HELPERS
from dotopt.compiler.ops.row import Call, Infix, Inline, Template
from dotopt.compiler.schedule.places import Unsupported

COMPARE, SUM, PRODUCT = range(2, 5)

# Python's words, and what the kernels themselves call things
_WORDS = (
    "i r c p piece tensor tensors block col cols begin end start size count inside there scale tl triton offset "
    "piece_tensor piece_start piece_full data shape first first_row given host sums totals rows "
    "PIECE BLOCK HEIGHT WIDTH"
)
# where numbers meet in a function of Triton, which takes those that are written out for float
MET = frozenset(("min", "max", "select", "pow"))

# the level of an infix operation, and the lowest levels of its operands without parentheses
INFIX = {"sum": (SUM, SUM, PRODUCT), "product": (PRODUCT, PRODUCT, SIGN), "compare": (COMPARE, SUM, SUM)}
SPELLED = having(lambda row: row.triton)
OWN = {f"{name}_": spelled.body for name, spelled in SPELLED.items() if isinstance(spelled, Inline)} | HELPERS
keywords = frozenset((*keyword.kwlist, *dir(builtins), *PRECISION, *powers.NAMES, *_WORDS.split(), *OWN))


def variable(wanted: str) -> str:
    """A name like `wanted`: `keywords` has all that mean something else."""
    return wanted


def literal(value: Fraction, real: str) -> str:
    """A number; it takes the type of what it meets."""
    return repr(float(value))


def constant(here: Node, real: str) -> str:
    """An infinity, π, a truth value."""
    return {"inf": "float('inf')", "pi": "3.141592653589793"}.get(here.op) or str(here.attrs.value)


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
    match SPELLED.get(here.op):
        case Infix(sign, where):
            level, left, right = INFIX[where]
            return f"{_bracketed(args[0], left)}{sign}{_bracketed(args[1], right)}", level
        case Call(name):
            return f"{name}({texts[0]})", ATOM
        case Template(text, atom):
            a, b = (_bracketed(args[k], ATOM) for k in (0, -1))
            return text.format(*texts, a=a, b=b), ATOM if atom else SUM
        case Inline():
            return f"{here.op}_({texts[0]})", ATOM
    raise Unsupported(f"Triton has no {here.op}")


def functions(text: str) -> list[str]:
    """The functions of the table that kernels with this text call, each after those that it calls itself."""
    return list(_called(text, dict(OWN)))


def _called(text: str, known: dict[str, str]) -> Iterator[str]:
    for name in [name for name in known if re.search(rf"\b{name}\(", text)]:
        body = known.pop(name)
        yield from _called(body, known)
        yield f"@triton.jit\n{body}"


def _wide(text: str) -> str:
    return f"tl.full([], {text}, tl.float64)"


def _bracketed(text: Text, level: int) -> str:
    return text[0] if text[1] >= level else f"({text[0]})"
