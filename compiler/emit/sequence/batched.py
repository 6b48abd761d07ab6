"""Expressions as torch code on tensors with any leading axes: sequence rules over batch, heads and tokens.

A value with axes `[dv, dk]` is a tensor `[..., dv, dk]`; a scalar that depends on an input is a tensor `[...]`.
Because the leading axes are never named, one text serves a token, a batch of sequences, and all tokens at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from dotopt.compiler.analysis.affine import kept, key_of, low_rank, recent
from dotopt.compiler.emit.names import PYTHON, Names
from dotopt.compiler.emit.torch.scalars import WORDS, by_torch
from dotopt.compiler.ir import ENTRYWISE, FUNCTIONS, Loop, Node
from dotopt.compiler.ops import OPERATIONS, in_torch
from dotopt.compiler.ops.row import Infix
from dotopt.compiler.ops.types import REST, Type
from dotopt.compiler.text.errors import fail
from dotopt.grammar.spelling import ascii

TENSOR_ROLES = {"input", "state", "draw", "loop", "sequence", "free"}  # and the time, over many tokens
SUM, PRODUCT, UNARY, POWER, POSTFIX = range(5)

# what stands in every generated function and module already, so that no name of the user may mean something else
STANDING = (
    "state", "t", "first", "hyper", "chunk", "keep", "later", "dtype", "device", "_", "torch", "functional", "math",
    "matrices", "scalars", "Chunks", "Term", "at_first", "attend", "attend_token", "before", "choose", "every", "held",
    "peaks", "recent", "recent_token", "scan", "times", "together", "token", "stretch", "call", "start", "layer",
    "finish",
)  # fmt: skip

Text = tuple[str, int]  # code, and how tightly its outermost operator binds


def decimal(value: Fraction) -> str:
    """A number as Python reads it back, with the user's decimals where they are exact.

    >>> decimal(Fraction(1, 2)), decimal(Fraction(3)), decimal(Fraction(1, 3))
    ('0.5', '3', '(1/3)')
    """
    if value.denominator == 1:
        return str(value.numerator)
    if Fraction(str(float(value))) == value:
        return repr(float(value))
    return f"({value.numerator}/{value.denominator})"


@dataclass(eq=False)
class Batched:
    """Writes nodes as code. `names` holds what has a variable already; loops add `lines` before their use."""

    names: dict[Node, str]
    sizes: Mapping[str, str]  # code for the size of each axis
    lines: list[str] = field(default_factory=list)
    indent: str = "    "
    tensor: dict[Node, bool] = field(default_factory=dict)
    tokens: bool = False  # whether the last leading axis holds the tokens of a sequence
    attentions: list[str] = field(default_factory=list)
    items: dict[tuple[Node, int], str] = field(default_factory=dict)  # variables that hold results of loops
    functions: dict[str, str] = field(default_factory=dict)  # variables of the user's functions, by name
    steady: set[Node] = field(default_factory=set)  # leaves that are the same at all tokens
    example: str = ""  # a number at each token, for its shape
    variables: Names = field(default_factory=lambda: Names(PYTHON, STANDING))  # of the text, those of loops included

    def fresh(self, label: str) -> str:
        """A variable that stands nowhere else in the text, called after a name of the file.

        >>> b = Batched({}, {})
        >>> b.fresh("X"), b.fresh("X"), b.fresh("state"), b.fresh("β1'")
        ('X', 'X_2', 'state_2', 'beta1_next')
        """
        return self.variables.new(label)

    def is_tensor(self, here: Node) -> bool:
        """Whether the value is a tensor, not a Python number of the host."""
        if here not in self.tensor:
            if here.op == "leaf":
                self.tensor[here] = here.role in TENSOR_ROLES or (here.role == "time" and self.tokens)
            elif here.op == "size":
                self.tensor[here] = False
            elif here.op == "fires":
                self.tensor[here] = self.tokens
            else:
                self.tensor[here] = bool(here.type.axes) or any(self.is_tensor(child) for child in here.children)
        return self.tensor[here]

    def long(self, here: Node) -> bool:
        """Whether the value has an entry for each token of each sequence; one of the time alone has none for those."""
        stack, seen = [here], set[Node]()
        while stack:
            x = stack.pop()
            if x in seen or x.op in ("size", "eye", "arange") or (x.op in ("ones", "zeros") and self.sized(x)):
                continue
            if x.role in ("input", "sequence", "state") and x not in self.steady:
                return True
            seen.add(x)
            stack.extend(x.children)
        return False

    def sized(self, here: Node) -> bool:
        """Whether the sizes of all axes are known by name."""
        return all(axis.isdigit() or axis in self.sizes for axis in here.type.axes)

    def at_each(self, here: Node, start: str = "") -> str:
        """The text of `here`, with an entry for each token also if it is the same at all of them."""
        if self.long(here):
            return self.code(here)
        return f"every({self.code(here)}, {self.example}, {len(here.type.axes)}{', ' + start if start else ''})"

    def code(self, here: Node, least: int = SUM) -> str:
        """The text of `here`, in parentheses if its operator binds less tightly than `least`."""
        text, binding = self.text(here)
        return f"({text})" if binding < least else text

    def text(self, here: Node) -> Text:
        """The text of `here` and its binding."""
        if here in self.names:
            return self.names[here], POSTFIX
        writer = WRITERS.get(here.op)
        if writer is None:
            raise fail("E601", here.span, construct=f"`{here.op}` in a rule over sequences")
        return writer(self, here)

    def fitted(self, here: Node, whole: Node | Type, least: int = SUM) -> str:
        """The text of `here`, with new axes where the value of `whole` has axes that it lacks."""
        target = whole.type if isinstance(whole, Node) else whole
        if not target.axes or here.type.axes == target.axes or not self.is_tensor(here) or here.type.any:
            return self.code(here, least)
        if any(axis not in target.axes for axis in here.type.axes):
            return self.code(here, least)
        text = self.code(here, POSTFIX)
        in_order = [axis for axis in target.axes if axis in here.type.axes]
        if in_order != list(here.type.axes):
            text = f"{text}.mT"
        slots = ", ".join(":" if axis in here.type.axes else "None" for axis in target.axes)
        return f"{text}[..., {slots}]"


def _leaf(b: Batched, here: Node) -> Text:
    window = kept(here)
    if window is not None:
        b.names[here] = _recent(b, *window)
        return b.names[here], POSTFIX
    match here.role:
        case "axis":
            return b.sizes[here.name], POSTFIX
        case "option":
            return f"options[{here.name!r}]", POSTFIX
    return ascii(here.name), POSTFIX


def _infix(operator: str, binding: int) -> Callable[[Batched, Node], Text]:
    def write(b: Batched, here: Node) -> Text:
        left, right = here.args
        spaced = f" {operator} " if binding == SUM else operator
        return (
            f"{b.fitted(left, here, binding)}{spaced}{b.fitted(right, here, binding + 1)}",
            binding,
        )

    return write


def _comparison(operator: str) -> Callable[[Batched, Node], Text]:
    def write(b: Batched, here: Node) -> Text:
        left, right = here.args
        return f"({b.fitted(left, here)} {operator} {b.fitted(right, here)})", POSTFIX

    return write


def _logic(tensor_word: str, host_word: str) -> Callable[[Batched, Node], Text]:
    def write(b: Batched, here: Node) -> Text:
        left, right = (b.fitted(arg, here, POSTFIX) for arg in here.args)
        return f"({left} {tensor_word if b.is_tensor(here) else host_word} {right})", POSTFIX

    return write


def _stop(b: Batched, here: Node) -> Text:
    """A number of the host has no gradient to stop."""
    (arg,) = here.args
    return b.code(arg, POSTFIX) + (".detach()" if b.is_tensor(arg) else ""), POSTFIX


def _not(b: Batched, here: Node) -> Text:
    (arg,) = here.args
    return (f"~{b.code(arg, POSTFIX)}" if b.is_tensor(arg) else f"(not {b.code(arg)})"), UNARY


def _function(tensor: str, host: str) -> Callable[[Batched, Node], Text]:
    """A function of one number: of a tensor, and of a number of the host."""

    def write(b: Batched, here: Node) -> Text:
        (arg,) = here.args
        return (tensor if b.is_tensor(arg) else host).format(b.code(arg)), POSTFIX

    return write


def _extreme(word: str, bound: str) -> Callable[[Batched, Node], Text]:
    def write(b: Batched, here: Node) -> Text:
        left, right = here.args
        if not b.is_tensor(here):
            return f"{word[:3]}({b.code(left)}, {b.code(right)})", POSTFIX
        for tensor, number in ((left, right), (right, left)):
            if not b.is_tensor(number):
                return f"{b.code(tensor, POSTFIX)}.clamp({bound}={b.code(number)})", POSTFIX
        return f"torch.{word}({b.fitted(left, here)}, {b.fitted(right, here)})", POSTFIX

    return write


def _select(b: Batched, here: Node) -> Text:
    condition, yes, no = here.args
    if not b.is_tensor(condition):
        for number, other in ((yes, no), (no, yes)):
            if b.is_tensor(other) and not b.is_tensor(number):  # a tensor in any case
                filled = f"torch.zeros_like({b.fitted(other, here)}) + {b.code(number, PRODUCT)}"
                first, second = (filled, b.fitted(other, here))[:: 1 if number is yes else -1]
                return f"({first} if {b.code(condition)} else {second})", POSTFIX
        return f"({b.fitted(yes, here)} if {b.code(condition)} else {b.fitted(no, here)})", POSTFIX
    parts = ", ".join(b.fitted(part, here) for part in (condition, yes, no))
    return f"torch.where({parts})", POSTFIX


def _dimensions(b: Batched, operand: Node, axes: tuple[str, ...]) -> str:
    places = [i - len(operand.type.axes) for i, axis in enumerate(operand.type.axes) if axis in axes]
    return f"dim=({', '.join(map(str, places))},)" if len(places) == 1 else f"dim=({', '.join(map(str, places))})"


def _reduction(method: str, extra: str = "") -> Callable[[Batched, Node], Text]:
    def write(b: Batched, here: Node) -> Text:
        (operand,) = here.args
        return f"{b.code(operand, POSTFIX)}.{method}({extra}{_dimensions(b, operand, here.attrs.axes)})", POSTFIX

    return write


def _norm(b: Batched, here: Node) -> Text:
    (operand,), order = here.args, here.attrs.order
    spelled = "torch.inf" if order is None else decimal(order)
    return (
        f"torch.linalg.vector_norm({b.code(operand)}, {spelled}, {_dimensions(b, operand, here.attrs.axes)})",
        POSTFIX,
    )


def _fires(b: Batched, here: Node) -> Text:
    period, start = (b.code(arg, UNARY) for arg in here.args)
    if b.tokens:
        return f"((t >= {start}) & ((t - {start}) % {period} == 0))", POSTFIX
    return f"(t >= {start} and (t - {start}) % {period} == 0)", POSTFIX


def _size(b: Batched, here: Node) -> Text:
    factors = [b.sizes[axis] for axis in here.attrs.axes] or ["1"]
    return "*".join(factors), PRODUCT


def _matmul(b: Batched, here: Node) -> Text:
    left, right = here.args
    if REST in (*left.type.axes[:-2], *right.type.axes[:-2]):  # matrices along any leading axes
        return f"{b.code(left, PRODUCT)} @ {b.code(right, UNARY)}", PRODUCT
    match len(left.type.axes), len(right.type.axes):
        case 2, 2:
            return f"{b.code(left, PRODUCT)} @ {b.code(right, UNARY)}", PRODUCT
        case 2, 1:
            return f'torch.einsum("...ij,...j->...i", {b.code(left)}, {b.code(right)})', POSTFIX
        case 1, 2:
            return f'torch.einsum("...i,...ij->...j", {b.code(left)}, {b.code(right)})', POSTFIX
        case 1, 1:
            return f"({b.code(left, PRODUCT)}*{b.code(right, UNARY)}).sum(-1)", POSTFIX
    raise fail("E601", here.span, construct="a product of tensors with more than two axes")


def _outer(b: Batched, here: Node) -> Text:
    left, right = here.args
    if left.type.axes == right.type.axes and len(left.type.axes) == 1:  # one axis twice: not to be told by its name
        return f"{b.code(left, POSTFIX)}[..., :, None]*{b.code(right, POSTFIX)}[..., None, :]", PRODUCT
    return f"{b.fitted(left, here, POSTFIX)}*{b.fitted(right, here, POSTFIX)}", PRODUCT


def _power(b: Batched, here: Node) -> Text:
    base, exponent = here.args
    if exponent.value == 2 and base in b.names:
        return f"{b.names[base]}.square()" if b.is_tensor(base) else f"{b.names[base]}**2", POSTFIX
    return f"{b.fitted(base, here, POSTFIX)}**{b.fitted(exponent, here, UNARY)}", POWER


def _element(b: Batched, here: Node) -> Text:
    whole, index = here.args
    where = b.code(index)
    if b.is_tensor(index):
        where = f"({where}).long().clamp(0, {b.sizes[whole.type.axes[-1]]} - 1)"
    return f"{b.code(whole, POSTFIX)}[..., {where}]", POSTFIX


def _loop(b: Batched, here: Node) -> Text:
    """Writes the passes as lines, and returns the tuple of the loop's variables."""
    body: Loop = here.attrs.body
    if any(variable.args for variable in body.variables):
        raise fail("E601", here.span, construct="a loop with a family of variables")
    count, *starts = here.args
    names = [b.fresh(ascii(variable.name)) for variable in body.variables]
    for name, start in zip(names, starts, strict=True):
        b.lines.append(f"{b.indent}{name} = {b.code(start)}")
    inner = Batched(dict(b.names), b.sizes, b.lines, b.indent + "    ", dict(b.tensor), b.tokens)
    inner.names.update(zip(body.variables, names, strict=True))
    inner.functions, inner.variables = dict(b.functions), b.variables
    head = f"_ in range({b.code(count)})" if body.index is None else _over(inner, here, body, body.index)
    b.lines.append(f"{b.indent}for {head}:")
    if body.until is not None:
        b.lines.append(f"{inner.indent}if bool({inner.code(body.until)}):")
        b.lines.append(f"{inner.indent}    break")
    for equation in body.equations:
        if equation.node not in inner.names and equation.node.op != "leaf":
            value = inner.code(equation.node)
            name = b.fresh(ascii(equation.name) + ("_next" if equation.primed else ""))
            b.lines.append(f"{inner.indent}{name} = {value}")
            inner.names[equation.node] = name
    nexts = ", ".join(inner.code(n) for n in body.nexts)
    b.lines.append(f"{inner.indent}{', '.join(names)} = {nexts}")
    b.names[here] = f"({', '.join(names)},)"
    for position, name in enumerate(names):
        b.items[here, position] = name
    return b.names[here], POSTFIX


def families(body: Loop, index: Node) -> tuple[str, ...]:
    """The functions of the user of which a loop over `index` takes one at each pass."""
    found = (x.attrs.name for root in body.nodes for x in root.walk() if x.op == "apply" and x.args[:1] == (index,))
    return tuple(dict.fromkeys(found))


def _over(inner: Batched, here: Node, body: Loop, index: Node) -> str:
    """`l, F_l in enumerate(F, start=1)`: the head of a loop over the set that families of functions have in common."""
    names = families(body, index)
    if not names:
        raise fail("E601", here.span, construct="a loop over a set that no function is declared over")
    wholes = [inner.functions.get(name, ascii(name)) for name in names]
    inner.functions |= {name: inner.fresh(f"{ascii(name)}_{ascii(index.name)}") for name in names}
    members = [inner.functions[name] for name in names]
    inner.names[index] = counter = inner.fresh(ascii(index.name))
    if len(names) == 1:
        return f"{counter}, {members[0]} in enumerate({wholes[0]}, start=1)"
    return f"{counter}, ({', '.join(members)}) in enumerate(zip({', '.join(wholes)}), start=1)"


def _apply(b: Batched, here: Node) -> Text:
    """A call of a function that the user passes; one of a family is taken by the loop around it."""
    name, order, _, (indices, _), type = here.attrs
    if order:
        raise fail("E601", here.span, construct=f"the derivative of the function `{name}`")
    points = here.args[indices:]
    if type.scalar and any(point.type.axes for point in points):
        raise fail("E601", here.span, construct=f"`{name}` without the type of its values, such as `: like x`,")
    return f"{b.functions.get(name, ascii(name))}({', '.join(map(b.code, points))})", POSTFIX


def _item(b: Batched, here: Node) -> Text:
    (whole,), position = here.args, here.attrs.position
    if whole.op == "loop":
        if (whole, position) not in b.items:
            b.text(whole)
        return b.items[whole, position], POSTFIX
    return f"{b.code(whole, POSTFIX)}[{position}]", POSTFIX


def _attention(b: Batched, here: Node) -> Text:
    """Attention keeps its keys and values under a name of its own in the state."""
    name = f"attention{len(b.attentions) + 1}"
    b.attentions.append(name)
    q, k, v = (b.code(arg) for arg in (*here.args[:2], here.args[-1]))
    word = "attend" if b.tokens else "attend_token"
    more = ""
    if len(here.args) == 5:
        _, _, bias, window, _ = here.args
        more += "" if bias.value == 0 else f", bias={b.at_each(bias)}"
        more += "" if window.value == 0 else f", window={b.code(window)}"
    more += ", strict=True" * here.attrs.strict
    return f'{word}({q}, {k}, {v}, state, later, "{name}", keep{more})', POSTFIX


def _window(b: Batched, here: Node) -> Text:
    """A reduction over the last tokens; sums of products of vectors keep the vectors only."""
    value, length = here.args
    found = low_rank(here)
    if found is not None and found[0] is None:
        total = []
        for f, g, weight, _ in found[1]:
            scaled = b.code(f, POSTFIX) if weight is None else f"({b.code(weight, POSTFIX)}[..., None]*{b.code(f)})"
            total.append(f"{scaled}.mT @ {b.code(g, UNARY)}")
        return " + ".join(total), (PRODUCT if len(total) == 1 else SUM)
    axes = len(value.type.axes)
    match here.attrs.kind:
        case "sum":
            return f"{b.code(recent(value, length), POSTFIX)}.sum({-axes - 1})", POSTFIX
        case "mean":  # of as many as there are
            count = f"t.clamp(max={b.code(length)})" if b.tokens else f"min(t, {b.code(length)})"
            count += f"[..., {', '.join(['None'] * axes)}]" if b.tokens and axes else ""
            return f"{b.code(recent(value, length), POSTFIX)}.sum({-axes - 1})/{count}", PRODUCT
    raise fail("E601", here.span, construct=f"`{here.attrs.kind}` over the last tokens")


def _recent(b: Batched, value: Node, length: Node) -> str:
    """The variable with the values of the last tokens; the state keeps them under a name of their own."""
    axes, key = len(value.type.axes), key_of(value, length)
    given = f'{b.at_each(value)}, {b.code(length)}, {axes}, state, later, {key!r}'
    text = f"recent({given})" if b.tokens else f"recent_token({given}, keep)"
    name = b.fresh("recent_tokens")
    b.lines.append(f"{b.indent}{name} = {text}  # {value!r}, of the last {length!r} tokens")
    return name


def _filled(word: str) -> Callable[[Batched, Node], Text]:
    def write(b: Batched, here: Node) -> Text:
        axes = here.type.axes
        if b.sized(here):
            sizes = ", ".join(axis if axis.isdigit() else b.sizes[axis] for axis in axes)
            return f"torch.{word}({sizes}, dtype=dtype, device=device)", POSTFIX
        return f"torch.{word}_like({b.code(here.args[0])})", POSTFIX

    return write


def _matrix(word: str) -> Callable[[Batched, Node], Text]:
    """One of `dotopt.runtime.matrices`, which take lists."""

    def write(b: Batched, here: Node) -> Text:
        return f"matrices.{word}({', '.join(f'[{b.code(arg)}]' for arg in here.args)})[0]", POSTFIX

    return write


def _constant(b: Batched, here: Node) -> Text:
    value = here.attrs.value
    return decimal(value), (POSTFIX if value >= 0 else UNARY)


def _arange(b: Batched, here: Node) -> Text:
    axis, start = here.attrs
    return f"torch.arange({start}, {b.sizes[axis]} + {start}, dtype=dtype, device=device)", POSTFIX


def _spelled(op: str) -> Callable[[Batched, Node], Text]:
    """How an entrywise operation is written, from its row."""
    match OPERATIONS[op].torch:
        case Infix(sign, "sum" | "product" as level):
            return _infix(sign, SUM if level == "sum" else PRODUCT)
        case Infix(sign, "compare"):
            return _comparison(sign.strip())
        case Infix(sign):
            return _logic(sign, op)
    tensor = in_torch(op, "{}").replace("torch.nn.functional.", "functional.")
    return _function(tensor, f"scalars.{op}({{}})" if op in WORDS else by_torch(op, "{}"))


WRITERS: dict[str, Callable[[Batched, Node], Text]] = {
    "leaf": _leaf,
    "const": _constant,
    "bool": lambda b, here: (str(here.attrs.value), POSTFIX),
    "inf": lambda b, here: ("math.inf", POSTFIX),
    "pi": lambda b, here: ("math.pi", POSTFIX),
    **{op: _spelled(op) for op in FUNCTIONS if op != "neg"},
    **{op: _spelled(op) for op in ENTRYWISE if isinstance(OPERATIONS[op].torch, Infix)},
    "neg": lambda b, here: (f"-{b.code(here.args[0], UNARY)}", UNARY),
    "pow": _power,
    "min": _extreme("minimum", "max"),
    "max": _extreme("maximum", "min"),
    "not": _not,
    "select": _select,
    "abs": _function("torch.abs({})", "abs({})"),
    "stop": _stop,
    "sum": _reduction("sum"),
    "mean": _reduction("mean"),
    "amax": _reduction("amax"),
    "amin": _reduction("amin"),
    "std": _reduction("std"),
    "norm": _norm,
    "size": _size,
    "fires": _fires,
    "matmul": _matmul,
    "outer": _outer,
    "transpose": lambda b, here: (
        f"{b.code(here.args[0], POSTFIX)}.mT" if len(here.args[0].type.axes) > 1 else b.code(here.args[0]),
        POSTFIX if len(here.args[0].type.axes) > 1 else SUM,
    ),
    "trace": lambda b, here: (f"{b.code(here.args[0], POSTFIX)}.diagonal(dim1=-2, dim2=-1).sum(-1)", POSTFIX),
    "diagonal": lambda b, here: (f"{b.code(here.args[0], POSTFIX)}.diagonal(dim1=-2, dim2=-1)", POSTFIX),
    "rank_of": _matrix("rank_of"),
    "inverse": lambda b, here: (f"torch.linalg.inv({b.code(here.args[0])})", POSTFIX),
    "ones": _filled("ones"),
    "zeros": _filled("zeros"),
    "qr": lambda b, here: (f"torch.linalg.qr({b.code(here.args[0])})[0]", POSTFIX),
    "tril": lambda b, here: (f"{b.code(here.args[0], POSTFIX)}.tril()", POSTFIX),
    **{op: _matrix(op) for op in ("solve", "polar", "spectral_norm", "svdvals", "eigenvectors", "top_eigenvector")},
    "eye": lambda b, here: (f"torch.eye({b.sizes[here.attrs.axis]}, dtype=dtype, device=device)", POSTFIX),
    "arange": _arange,
    "attention": _attention,
    "window": _window,
    "apply": _apply,
    "element": _element,
    "loop": _loop,
    "item": _item,
}
