"""Operations in C, as their rows spell them, and precedences so that the text has no parentheses but the needed ones.

NaN and infinities behave as in the reference: `min`, `max` and `sign` pass a NaN on, comparisons with it are false, and
nothing is reordered. Conditions are C integers and never short-circuit, so that a loop stays one stream of vector code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from dotopt.compiler.emit.kernels.shared.scope import ATOM, SIGN, Text
from dotopt.compiler.ir import Node
from dotopt.compiler.ops import OPERATIONS, having
from dotopt.compiler.ops.row import Call, Infix, Inline
from dotopt.compiler.schedule.places import Unsupported

CONDITION, COMPARE, SUM, PRODUCT = range(4)

WORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof
    alignas alignof bool constexpr false nullptr static_assert thread_local true typeof_unqual
    linux unix i386 errno y0 y1 yn j0 j1 jn gamma signgam
    i w p y row from to piece tensor start stop end block cols scale word half whole high bf16 fp16
    exp expf pow powf fmod fmodf join mix high_word low_word round_by_chance
"""
keywords = frozenset(WORDS.split())

# macros, in the headers and above; types; functions that are called; the sums of a pass and what belongs to them
MEANT = re.compile(
    r"[A-Z][A-Z0-9_]+|_.*|u?int\d+_t|\w+_(float|double)|(load|store|decode|encode)_\w+|t?s\d+(_\w+)?"
    r"|\w+_(at|block|key|nan)"
)


def variable(wanted: str) -> str:
    """A name like `wanted` that is no macro, type or function.

    >>> variable("m_next"), variable("M"), variable("M_PI"), variable("s2")
    ('m_next', 'M', 'value_M_PI', 'value_s2')
    """
    return f"value_{wanted}" if MEANT.fullmatch(wanted) or wanted in CALLED else wanted


# the level of an infix operation, and the lowest levels of its operands without parentheses
INFIX = {
    "sum": (SUM, SUM, PRODUCT),
    "product": (PRODUCT, PRODUCT, SIGN),
    "compare": (COMPARE, SUM, SUM),
    "and": (CONDITION, ATOM, ATOM),
    "or": (CONDITION, ATOM, ATOM),
}
SPELLED = having(lambda row: row.c)
CALLED = frozenset(call.name + suffix for call in SPELLED.values() if isinstance(call, Call) for suffix in ("", "f"))


def literal(value: Fraction, real: str) -> str:
    """A number of type `real`, rounded once.

    >>> literal(Fraction(1, 10), "float"), literal(Fraction(3), "double")
    ('0.1f', '3.0')
    """
    text = repr(float(value))
    return text + "f" if real == "float" else text


def constant(here: Node, real: str) -> str:
    """An infinity, π, a truth value."""
    match here.op:
        case "inf":
            return "INFINITY"
        case "pi":
            return f"({real})3.14159265358979323846"
        case _:
            return str(int(here.attrs.value))


def define(kind: str, name: str, text: str) -> str:
    """A constant."""
    return f"const {kind} {name} = {text};"


def cast(kind: str, text: Text) -> str:
    """A value as another type."""
    return f"({kind}){_bracketed(text, ATOM)}"


def comment(text: str) -> str:
    """A remark."""
    return f"/* {text} */"


def operation(here: Node, args: Sequence[Text], real: str) -> Text:
    """`here` in C from its operands in C; a condition among numbers counts as 0 or 1."""
    suffix = "f" if real == "float" else ""
    match here.op:
        case "neg":
            return "-" + _bracketed(args[0], ATOM), SIGN
        case "not":
            return "!" + _bracketed(args[0], ATOM), SIGN
        case "stop":
            return args[0]
        case "pow":
            return _power(here.args[1].value, args, suffix)
        case "select":
            return (
                f"{_bracketed(args[0], COMPARE)} ? {_bracketed(args[1], SUM)} : {_bracketed(args[2], SUM)}",
                CONDITION,
            )
        case "exp":
            return f"exp_{real}({args[0][0]})", ATOM
    match SPELLED.get(here.op):
        case Infix(sign, where):
            level, left, right = INFIX[where]
            return f"{_bracketed(args[0], left)}{sign}{_bracketed(args[1], right)}", level
        case Call(name):
            return f"{name}{suffix}({args[0][0]})", ATOM
        case Inline():
            return f"{here.op}_{real}({', '.join(text for text, _ in args)})", ATOM
    raise Unsupported(f"C has no {here.op}")


def _power(exponent: Fraction | None, args: Sequence[Text], suffix: str) -> Text:
    base = _bracketed(args[0], ATOM)
    plain = base.replace("_", "").isalnum()  # repeating it costs nothing
    if exponent == 1:
        return args[0]
    if exponent is not None and exponent in (2, 3, 4) and plain:
        return "*".join([base] * int(exponent)), PRODUCT
    if exponent == Fraction(1, 2):
        return f"sqrt{suffix}({args[0][0]})", ATOM
    if exponent == -1:
        return f"1/{base}", PRODUCT
    return f"pow{suffix}({args[0][0]}, {args[1][0]})", ATOM


def number_from(text: Text, real: str) -> Text:
    """A condition as the number 0 or 1."""
    one, zero = literal(Fraction(1), real), literal(Fraction(0), real)
    return f"{_bracketed(text, COMPARE)} ? {one} : {zero}", CONDITION


def condition_from(text: Text, real: str) -> Text:
    """A number as a condition."""
    return f"{_bracketed(text, SUM)} != {literal(Fraction(0), real)}", COMPARE


def _bracketed(text: Text, level: int) -> str:
    return text[0] if text[1] >= level else f"({text[0]})"


def _own() -> Iterator[str]:
    """The functions whose bodies are in the table, for a type T whose functions of the library end in F."""
    for name, spelled in SPELLED.items():
        if isinstance(spelled, Inline):
            arguments = "T a, T b" if OPERATIONS[name].arity == 2 else "T a"
            yield f"  static inline T {name}_##T({arguments}) {{ {spelled.body} }}"


PRELUDE = (
    " \\\n".join(["#define OWN(T, F)", *_own()])
    + """
OWN(float, f)
OWN(double, )
static inline double exp_double(double a) { return exp(a); }
/* e^a = 2^n e^r, |r| <= ln(2)/2, within 2 units in the last place and free of branches, so that loops vectorise.
   Adding 1.5*2^23 rounds to a whole number and leaves it in the low bits. Below 2.4e-38 the result is 0. */
#if defined(__FMA__) || defined(__aarch64__)
#define FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FMA(a, b, c) ((a)*(b) + (c))
#endif
static inline float exp_float(float a) {
  union { float f; uint32_t u; } whole, two;
  float x = a > 88.8f ? 88.8f : a;
  whole.f = FMA(x, 1.44269504f, 12582912.0f);
  float n = whole.f - 12582912.0f;
  float r = FMA(n, 2.12194440e-4f, FMA(n, -0.693359375f, x));
  float p = FMA(FMA(FMA(FMA(FMA(1.9875691500e-4f, r, 1.3981999507e-3f), r, 8.3334519073e-3f), r, 4.1665795894e-2f), r,
                1.6666665459e-1f), r, 5.0000001201e-1f);
  float y = FMA(p, r*r, r) + 1.0f;
  two.u = (whole.u << 23) + (126u << 23); /* 2^(n - 1), since 2^128 is no float */
  return a < -86.6f ? 0.0f : (y + y)*two.f;
}
"""
)
