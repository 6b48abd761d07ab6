"""A node in the notation of the language: the user's names, his decimals, and no parentheses that are not needed.

    text, level = what each operation prints, from the texts and levels of its arguments

Levels are the precedences of the grammar. Shared nodes are printed once and reused, without recursion, so that any
graph prints; a part that has grown past `WIDTH` characters is printed as `…`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from dotopt.compiler.ir import REDUCTIONS, Fold, Lambda, Loop, Node
from dotopt.compiler.ops import having
from dotopt.compiler.ops.row import Call, Infix

WIDTH = 4000

CONDITIONAL, OR, AND, NOT, COMPARE, RANGE, SUM, PRODUCT, SIGN, POWER, ROOT, POSTFIX = range(12)

# the level of an infix operation, and the lowest levels of its operands without parentheses
LEVELS: dict[str, tuple[int, int, int]] = {
    "or": (OR, OR, AND),
    "and": (AND, AND, NOT),
    "compare": (COMPARE, RANGE, RANGE),
    "range": (RANGE, SUM, SUM),
    "sum": (SUM, SUM, PRODUCT),
    "product": (PRODUCT, PRODUCT, SIGN),
}
SPELLED = having(lambda row: row.opt)
INFIX = {op: spelled for op, spelled in SPELLED.items() if isinstance(spelled, Infix)}
WORDS = {op: spelled.name for op, spelled in SPELLED.items() if isinstance(spelled, Call)}

SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

Text = tuple[str, int]


def decimal(value: Fraction) -> str:
    """A number as a person writes it: a decimal if it ends, else a fraction.

    >>> decimal(Fraction(9, 10)), decimal(Fraction(1, 3)), decimal(Fraction(1, 10**8)), decimal(Fraction(3 * 10**9))
    ('0.9', '1/3', '1e-8', '3e9')
    """
    if value < 0:
        return "-" + decimal(-value)
    rest, places = value.denominator, 0
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        places = max(places, power)
    if rest != 1 or places > 60:
        return f"{value.numerator}/{value.denominator}"
    digits = str(value.numerator * 10**places // value.denominator)
    bare = digits.rstrip("0") or "0"
    exponent = len(digits) - len(bare) - places
    if bare == "0" or exponent == 0 or (exponent > 0 and len(digits) - places <= 6):
        return digits[: len(digits) - places] if places else digits
    if exponent >= 0:
        return f"{bare}e{exponent}"
    if len(bare) + exponent > -3:
        padded = bare.rjust(1 - exponent, "0")
        return f"{padded[:exponent]}.{padded[exponent:]}"
    mantissa = bare if len(bare) == 1 else f"{bare[0]}.{bare[1:]}"
    return f"{mantissa}e{exponent + len(bare) - 1}"


def infix(root: Node, names: Mapping[Node, str] | None = None) -> str:
    """`root` in the user's notation; nodes below it that have a name in `names` are printed as that name.

    >>> from dotopt.compiler.ir import leaf, node, number
    >>> β, m, g = leaf("hyper", "β1"), leaf("state", "m"), leaf("free", "g")
    >>> infix(node("add", node("mul", β, m), node("mul", node("sub", number(1), β), node("pow", g, number(2)))))
    'β1*m + (1 - β1)*g²'
    """
    known = names or {}
    texts: dict[Node, Text] = {}
    for here in root.walk():
        if here is not root and here in known:
            name = known[here]
            texts[here] = (name, POSTFIX if _plain(name) else CONDITIONAL)
        else:
            text, level = _safely(here, texts)
            texts[here] = (text, level) if len(text) <= WIDTH else ("…", POSTFIX)
    return texts[root][0]


def _safely(here: Node, texts: Mapping[Node, Text]) -> Text:
    """What `here` prints; a malformed node, which tracebacks must show too, prints as a call."""
    try:
        return _print(here, texts)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return f"{here.op}({', '.join(texts[arg][0] for arg in here.args)})", POSTFIX


def _plain(name: str) -> bool:
    return not any(sign in name for sign in " +-*/^@<>=")


def _bracketed(text: Text, level: int) -> str:
    return text[0] if text[1] >= level else f"({text[0]})"


def _print(here: Node, texts: Mapping[Node, Text]) -> Text:
    args = [texts[arg] for arg in here.args]
    known = _FORMS.get(here.op)
    if known is not None:
        return known(here, args, texts)
    if here.op in INFIX:
        return _binary(here, args)
    if here.op in REDUCTIONS:
        return _reduction(here, args)
    return f"{WORDS.get(here.op, here.op)}({', '.join(text for text, _ in args)})", POSTFIX


def _binary(here: Node, args: list[Text]) -> Text:
    sign, (level, left, right) = INFIX[here.op].sign, LEVELS[INFIX[here.op].level]
    a, b = (_bracketed(text, bound) for text, bound in zip(args, (left, right), strict=True))
    if level == PRODUCT:  # `@` beside an entrywise product is always bracketed
        mixed = [
            arg.op in ("mul", "div", "matmul") and (arg.op == "matmul") != (here.op == "matmul") for arg in here.args
        ]
        a = f"({args[0][0]})" if mixed[0] and args[0][1] == PRODUCT else a
        b = f"({args[1][0]})" if mixed[1] and args[1][1] == PRODUCT else b
    return a + sign + b, level


def _reduction(here: Node, args: list[Text]) -> Text:
    over = _over(here)
    order = here.attrs.order if here.op == "norm" else 2
    if here.op == "norm" and not over:
        text = f"‖{args[0][0]}‖"
    else:
        text = f"{WORDS.get(here.op, here.op)}({args[0][0]}{over})"
    if order is None:
        text += "[∞]"
    elif order != 2:
        text += f"[{order if not isinstance(order, Fraction) else decimal(order)}]"
    return text, POSTFIX


def _over(here: Node) -> str:
    axes, model = here.attrs.axes, here.attrs.model
    if model:
        return ", over=model"
    if tuple(axes) == here.args[0].type.axes:
        return ""
    return "".join(f", over={axis}" for axis in axes)


def _leaf(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    indices = f"[{', '.join(text for text, _ in args)}]" if args else ""
    name = f"rank({here.name})" if here.role == "rank" else here.name
    return name + indices, POSTFIX if _plain(name) else COMPARE


def _constant(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    text = decimal(here.attrs.value)
    return text, SIGN if text.startswith("-") else PRODUCT if "/" in text else POSTFIX


def _power(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    base = _bracketed(args[0], POSTFIX)
    exponent = here.args[1].value
    if exponent is not None and exponent.denominator == 1 and 2 <= exponent < 10**4:
        return base + str(exponent).translate(SUPERSCRIPT), POWER
    text, level = args[1]
    plain = level >= ROOT or (level == SIGN and text.startswith("-") and exponent is not None)
    return f"{base}^{text if plain else f'({text})'}", POWER


def _negative(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    return "-" + _bracketed(args[0], POWER), SIGN


def _selection(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    condition, then, otherwise = args
    return f"{_bracketed(then, OR)} if {_bracketed(condition, OR)} else {otherwise[0]}", CONDITIONAL


def _oracle(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    name, what, argument, split, _ = here.attrs
    vector = args.pop()[0] if what == "hessian_vector" else ""
    called = _called(name, args, split)
    subscript = f"_{argument} " if argument else ""
    match what:
        case "gradient":
            return f"∇{subscript}{called}", POSTFIX
        case "hessian_vector":
            return f"∇²{subscript}{called} @ {vector}", PRODUCT
        case "hessian":
            return f"∇²{subscript}{called}", POSTFIX
        case "third":
            return f"∇³{subscript}{called}", POSTFIX
        case _:
            return called, POSTFIX


def _called(name: str, args: list[Text], split: tuple[int, int]) -> str:
    """`name[indices](points; samples)`."""
    texts = [text for text, _ in args]
    indices, points, samples = texts[: split[0]], texts[split[0] : sum(split)], texts[sum(split) :]
    family = f"[{', '.join(indices)}]" if indices else ""
    return f"{name}{family}({', '.join(points)}{'; ' if samples else ''}{', '.join(samples)})"


def _apply(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    name, order, argument, split, _ = here.attrs
    nabla = "" if not order else "∇" if order == 1 else "∇" + str(order).translate(SUPERSCRIPT)
    return f"{nabla}{f'_{argument} ' if argument and order else ''}{_called(name, args, split)}", POSTFIX


def _conjugate(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    name, order, _ = here.attrs
    return f"{'∇' if order else ''}{name}^*({', '.join(text for text, _ in args)})", POSTFIX


def _loop(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    body: Loop = here.attrs.body
    names = [variable.name for variable in body.variables]
    starts = [text for text, _ in args[-len(names) :]] if names else []
    head = ", ".join(f"{name} from {start}" for name, start in zip(names, starts, strict=False))
    if body.index is not None:
        bound = f"for {body.index.name} in {args[0][0]}"
    elif body.until is not None:
        bound = f"until {texts[body.until][0]} at most {args[0][0]}"
    else:
        bound = f"repeat {args[0][0]}"
    lines = "; ".join(f"{name}' = {texts[next][0]}" for name, next in zip(names, body.nexts, strict=True))
    return f"iterate {head} {bound}: {lines}", CONDITIONAL


def _item(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    inner = here.args[0]
    indices = f"[{', '.join(text for text, _ in args[1:])}]" if args[1:] else ""
    if inner.op == "loop":
        name = inner.attrs.body.variables[here.attrs.position].name
        return f"({name}{indices} of {args[0][0]})", POSTFIX
    return _bracketed(args[0], POSTFIX) + (indices or f"[{here.attrs.position + 1}]"), POSTFIX


def _fold(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    body: Fold = here.attrs.body
    names = ", ".join(index.name for index in body.indices)
    domain = f" in {args[0][0]}" if args else ""
    condition = f" if {texts[body.condition][0]}" if body.condition is not None else ""
    return f"{body.kind}({texts[body.body][0]} for {names}{domain}{condition})", POSTFIX


def _solved(here: Node, args: list[Text], texts: Mapping[Node, Text]) -> Text:
    function: Lambda = here.attrs.function
    names = ", ".join(variable.name for variable in function.variables)
    given = "".join(f", {text}" for text, _ in args)
    return f"{here.op}({names} -> {texts[function.body][0]}{given})", POSTFIX


_FORMS: dict[str, Callable[[Node, list[Text], Mapping[Node, Text]], Text]] = {
    "leaf": _leaf,
    "const": _constant,
    "bool": lambda here, args, texts: ("true" if here.attrs.value else "false", POSTFIX),
    "inf": lambda here, args, texts: ("∞", POSTFIX),
    "pi": lambda here, args, texts: ("π", POSTFIX),
    "neg": _negative,
    "not": lambda here, args, texts: ("not " + _bracketed(args[0], NOT), NOT),
    "abs": lambda here, args, texts: (f"|{args[0][0]}|", POSTFIX),
    "sqrt": lambda here, args, texts: ("√" + _bracketed(args[0], ROOT), ROOT),
    "pow": _power,
    "select": _selection,
    "transpose": lambda here, args, texts: (_bracketed(args[0], POSTFIX) + "ᵀ", POSTFIX),
    "size": lambda here, args, texts: (f"size({args[0][0]}{_over(here)})", POSTFIX),
    "native": lambda here, args, texts: (f"native({args[0][0]}, {here.attrs.axis})", POSTFIX),
    "eye": lambda here, args, texts: ("I", POSTFIX),
    "zeros": lambda here, args, texts: ("0", POSTFIX),
    "ones": lambda here, args, texts: ("1", POSTFIX),
    "cast": lambda here, args, texts: (f"{here.attrs.dtype}({args[0][0]})", POSTFIX),
    "set": lambda here, args, texts: (f"{{{', '.join(text for text, _ in args)}}}", POSTFIX),
    "tuple": lambda here, args, texts: (f"({', '.join(text for text, _ in args)})", POSTFIX),
    "contains": lambda here, args, texts: (f"{_bracketed(args[1], RANGE)} in {_bracketed(args[0], RANGE)}", COMPARE),
    "window": lambda here, args, texts: (f"{here.attrs.kind}({args[0][0]} over last {args[1][0]})", POSTFIX),
    "fires": lambda here, args, texts: (f"(every {args[0][0]} from {args[1][0]})", POSTFIX),
    "loop": _loop,
    "item": _item,
    "fold": _fold,
    "oracle": _oracle,
    "apply": _apply,
    "conjugate": _conjugate,
    "host": lambda here, args, texts: (f"{here.attrs.name}({', '.join(text for text, _ in args)})", POSTFIX),
    "claim": lambda here, args, texts: (f"{here.attrs.name}({', '.join(text for text, _ in args)})", POSTFIX),
    "base": lambda here, args, texts: (f"B({', '.join(text for text, _ in args)})", POSTFIX),
    "base_member": lambda here, args, texts: (f"B.{here.attrs.name}", POSTFIX),
    "arange": lambda here, args, texts: (f"({here.attrs.start}..)", POSTFIX),
    "argmin": _solved,
    "root": _solved,
    "cg": _solved,
    "element": lambda here, args, texts: (f"{_bracketed(args[0], POSTFIX)}[{args[1][0]}]", POSTFIX),
}
