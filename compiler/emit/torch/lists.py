"""Python text of a list of tensors, in the words of `dotopt.runtime.foreach` and `dotopt.runtime.matrices`.

Two things decide the words. Sums of scaled terms become `lerp`, `addcmul`, `addcdiv` and `add(…, alpha)`, which read
memory once. And a list that nobody else will read again is overwritten (`mul_`), so that a step makes few new ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dotopt.compiler.emit.torch.places import Places
from dotopt.compiler.emit.torch.products import ONE, Products, negative
from dotopt.compiler.emit.torch.scalars import COMPARISONS, OR, Scalars, literal
from dotopt.compiler.ir import FUNCTIONS, REDUCTIONS, Node, node, number
from dotopt.compiler.ops.types import REST, Type
from dotopt.compiler.text.errors import fail

MATRICES = (
    "inverse",
    "qr",
    "eigenvectors",
    "top_eigenvector",
    "svdvals",
    "polar",
    "spectral_norm",
    "spectral_radius",
    "trace",
    "diagonal",
    "tril",
    "argsort",
    "rank_of",
    "cumsum",
    "outer",
    "solve",
    "columns",
    "matmul",
)
REDUCED = {"sum": "sums", "mean": "means", "norm": "norms", "std": "spreads", "amax": "largest", "amin": "smallest"}
VIEWS = ("diagonal", "tril", "argsort", "rank_of")
MATRIX_WORDS = frozenset((*MATRICES, "transpose", "eye", "matrix_power", "keep_largest"))


@dataclass(frozen=True)
class Code:
    """A Python expression; `owned` if its list may be overwritten; `target` names the list that it was written into.

    `aliases` are the named values that it may turn out to be, so that they must not be overwritten while it lives.
    """

    text: str
    owned: bool = False
    target: str | None = None
    aliases: frozenset[Node] = frozenset()


@dataclass(frozen=True)
class Term:
    """`scale*base` in a sum."""

    scale: Node
    base: Node


class Lists:
    """Writes list expressions, a line at a time; `free` says which names the line may overwrite."""

    def __init__(
        self,
        names: Mapping[Node, str],
        places: Places,
        scalars: Scalars,
        like: str,
        axis: Callable[[Node], str],
        draw: Callable[[Node], str],
    ) -> None:
        self.names = names
        self.places = places
        self.scalars = scalars
        self.like = like  # the parameter list: gives dtype and device
        self.axis = axis
        self.draw = draw
        self.products = Products(places, names)
        self.line()

    # ---- the entry points ----

    def line(self, free: frozenset[Node] = frozenset()) -> Lists:
        """These lists at a new line, which may overwrite those of `free`; what was known of the last one is gone."""
        self.free = free
        self.codes: dict[Node, Code] = {}
        self.counts: dict[Node, Counter[Node]] = {}
        return self

    def code(self, here: Node) -> Code:
        """The list that `here` is."""
        if here not in self.codes:
            self.codes[here] = self._code(here)
        return self.codes[here]

    def _code(self, here: Node) -> Code:
        if self.places.scalar(here):
            return self.filled(here, here.type.axes)
        if here in self.names:
            return Code(self.names[here], here in self.free, self.names[here], frozenset((here,)))
        if here.role == "draw":
            return Code(self.draw(here), True)
        scale, _ = self.products.split(here)
        if here.op in ("add", "sub") or scale is not ONE:
            return self.sum(here)
        return self.operation(here)

    def call(self, name: str, first: Code, *rest: str, fits: bool = True) -> Code:
        """The call of a word, in place if the first list may be overwritten."""
        inplace = first.owned and fits
        text = f"{name}{'_' * inplace}({', '.join((first.text, *rest))})"
        return Code(text, True, *((first.target, first.aliases) if inplace else ()))

    def filled(self, here: Node, axes: tuple[str, ...]) -> Code:
        """A number as a list of tensors with these axes."""
        if axes and axes != self._like_axes():
            raise fail("E601", here.span, construct=f"the number `{here!r}` as {Type('real', axes)}")
        return Code(f"{'constant' if axes else 'single'}({self.scalars.text(here)}, {self.like})", True)

    def argument(self, here: Node, axes: tuple[str, ...]) -> str:
        """`here` as an argument that will be broadcast to `axes`: a number, or a list with axes in the right places."""
        if self.places.scalar(here):
            return self.scalars.text(here)
        return self.aligned(self.code(here), here.type, axes).text

    def aligned(self, code: Code, type: Type, axes: tuple[str, ...]) -> Code:
        """`code` with an axis of size 1 where `type` lacks one that stands before others of its own."""
        have = type.axes
        if not have or have == axes[len(axes) - len(have) :]:
            return code
        if [axis for axis in axes if axis in have] != list(have):
            raise fail("E601", None, construct=f"{type} beside {Type('real', axes)}")
        first = axes.index(have[0])
        missing = [place - len(axes) for place in range(first, len(axes)) if axes[place] not in have]
        places = ", ".join(map(str, sorted(missing)[::-1]))
        return Code(f"unsqueeze({code.text}, {places})", aliases=code.aliases)

    # ---- sums ----

    def terms(self, here: Node) -> list[Term]:
        """The terms of a sum, signs and numbers taken out."""
        if here not in self.names and not self.places.scalar(here):
            if here.op in ("add", "sub"):
                left, right = (self.terms(arg) for arg in here.args)
                if here.op == "sub":
                    right = [Term(negative(term.scale), term.base) for term in right]
                return left + right
            scale, base = self.products.split(here)
            if scale.value in (1, -1) and base.op in ("add", "sub") and base not in self.names:
                inner = self.terms(base)
                return inner if scale is ONE else [Term(negative(term.scale), term.base) for term in inner]
            return [Term(scale, base)]
        return [Term(ONE, here)]

    def sum(self, here: Node) -> Code:
        """Terms added one after the other into the first that can take them."""
        axes = here.type.axes
        terms = self.terms(here)
        lists = [term for term in terms if not self.places.scalar(term.base)]
        numbers = [term for term in terms if self.places.scalar(term.base)]
        if len(terms) == 2 and len(lists) == 2 and (mixed := self._lerp(lists, axes)) is not None:
            return mixed
        if len(terms) == 2 and len(lists) == 2 and (skipped := self._optional(lists, axes)) is not None:
            return skipped
        first = min(lists, key=lambda term: self._cost(term, axes))
        lists.remove(first)
        wide = self._wide(first, axes)
        code = self.scaled(first, axes)
        for term in sorted(lists, key=lambda term: not self._wide(term, axes)):
            code = self._add(code, term, axes, wide)
            wide = wide or self._wide(term, axes)
        for term in numbers:
            value = term.base if term.scale is ONE else node("mul", term.scale, term.base)
            code = self._number(code, value)
        return code

    def _optional(self, terms: list[Term], axes: tuple[str, ...]) -> Code | None:
        """`x + λ*y`, where λ is 0 by default: then nothing is computed."""
        x, y = terms
        if x.scale is not ONE or not self._wide(x, axes) or not self._off_by_default(y.scale):
            return None
        kept = self.code(x.base)
        if " if " in kept.text:  # it would stand there twice
            return None
        code = self._add(kept, y, axes, True)
        text = f"({code.text} if {self.scalars.text(y.scale)} != 0 else {kept.text})"
        return Code(text, kept.owned, code.target, kept.aliases)

    def _off_by_default(self, scale: Node) -> bool:
        hyper = self.scalars.hypers.get(scale.name) if scale.role == "hyper" else None
        return hyper is not None and hyper.default is not None and hyper.default.value == 0

    def _number(self, code: Code, value: Node) -> Code:
        if value.value is not None and value.value < 0:
            return self.call("sub", code, literal(-value.value))
        if value.op == "mul" and value.args[0] is number(-1):
            return self.call("sub", code, self.scalars.text(value.args[1]))
        if value.op == "neg":
            return self.call("sub", code, self.scalars.text(value.args[0]))
        return self.call("add", code, self.scalars.text(value))

    def _cost(self, term: Term, axes: tuple[str, ...]) -> tuple[bool, ...]:
        """How badly a term suits as the first of a sum: the others are added to it."""
        return not self._wide(term, axes), self._product(term), term.scale is not ONE, not self._owned(term)

    def _wide(self, term: Term, axes: tuple[str, ...]) -> bool:
        return term.base.type.axes == axes and term.base.type.kind == "real"

    def _product(self, term: Term) -> bool:
        return term.base not in self.names and term.base.op in ("mul", "div", "pow")

    def _owned(self, term: Term) -> bool:
        return term.base not in self.names or term.base in self.free

    def _lerp(self, terms: list[Term], axes: tuple[str, ...]) -> Code | None:
        """`(1 - w)*x + w*y` as one word."""
        x, y = terms
        if any(self._product(term) or not self._wide(term, axes) for term in terms):
            return None
        if y.scale is node("sub", ONE, x.scale):
            pass
        elif x.scale is node("sub", ONE, y.scale):
            x, y = y, x
        else:
            return None
        if self._owned(x) or not self._owned(y):  # x keeps its place: weight 1 - x.scale
            start, end, weight = x, y, y.scale
        else:
            start, end, weight = y, x, x.scale
        return self.call("lerp", self.code(start.base), self.code(end.base).text, self.scalars.text(weight))

    def scaled(self, term: Term, axes: tuple[str, ...]) -> Code:
        """The list of one term."""
        code = self.operation(term.base)
        code = self.aligned(self._as_numbers(code, term.base), term.base.type, axes)
        if term.scale is ONE:
            return code
        if term.scale is number(-1):
            return self.call("neg", code)
        if term.scale.op == "div" and term.scale.args[0] is ONE:
            return self.call("div", code, self.scalars.text(term.scale.args[1]))
        return self.call("mul", code, self.scalars.text(term.scale))

    def _add(self, code: Code, term: Term, axes: tuple[str, ...], fits: bool) -> Code:
        """`code` plus one more term."""
        base, scale = term.base, term.scale
        if base not in self.names and base.op in ("mul", "div") and all(arg.type.kind == "real" for arg in base.args):
            word = "addcmul" if base.op == "mul" else "addcdiv"
            if not any(map(self.places.scalar, base.args)):
                pair = [self.argument(arg, axes) for arg in base.args]
                return self.call(word, code, *pair, *self._factor(scale), fits=fits)
        if base not in self.names and self._square(base) and base.args[0] in self.names:
            one = self.argument(base.args[0], axes)
            return self.call("addcmul", code, one, one, *self._factor(scale), fits=fits)
        other = self.operation(base)
        text = self.aligned(self._as_numbers(other, base), base.type, axes).text
        if scale is number(-1):
            return self.call("sub", code, text, fits=fits)
        return self.call("add", code, text, *self._factor(scale), fits=fits)

    def _factor(self, scale: Node) -> tuple[str, ...]:
        return () if scale is ONE else (self.scalars.text(scale),)

    def _square(self, here: Node) -> bool:
        return here.op == "pow" and here.args[1].value == 2 and not self.places.scalar(here.args[0])

    def numeric(self, here: Node) -> Code:
        """The list of `here` for arithmetic."""
        return self._as_numbers(self.code(here), here)

    def _as_numbers(self, code: Code, here: Node) -> Code:
        if here.type.kind != "bool" or self.places.scalar(here):
            return code
        return Code(f"numbers({code.text}, {self.like})", True)

    # ---- everything else ----

    def operation(self, here: Node) -> Code:
        """The list of an operation that is no sum."""
        if here in self.names or self.places.scalar(here):
            return self.code(here)
        axes = here.type.axes
        match here.op, here.args:
            case "add" | "sub", _:
                return self.sum(here)
            case "mul", (a, b) if a is b:
                return self.call("square", self.numeric(a))
            case "mul", (a, b):
                return self._commutative("mul", a, b, axes)
            case "div", (a, b) if a is ONE:
                return self.call("reciprocal", self.numeric(b))
            case "div", (a, b):
                return self._call2("div", a, b, axes)
            case "max" | "min", (a, b):
                word = f"{here.op}imum"
                return self._commutative(word, a, b, axes)
            case "pow", (a, b) if b.value == 2:
                return self.call("square", self.numeric(a))
            case "pow", (a, b):
                base, exponent = (self.aligned(self.numeric(x), x.type, axes).text for x in (a, b))
                return Code(f"power({base}, {exponent})", True)
            case "select", (c, a, b):
                return self._select(here, c, a, b)
            case "and" | "or", (a, b):
                word = "both" if here.op == "and" else "either"
                return Code(f"{word}({self.argument(a, axes)}, {self.argument(b, axes)})")
            case "not", (a,):
                return Code(f"negate({self.code(a).text})")
            case op, (a, b) if op in COMPARISONS:
                both = (self.argument(a, self._joint(a, b)), self.argument(b, self._joint(a, b)))
                return Code(f"{op}({both[0]}, {both[1]})")
            case "stop" | "cast", (a,):
                return self.code(a)
            case op, (a,) if op in FUNCTIONS:
                return self.call(op, self.numeric(a))
            case op, (a,) if op in REDUCTIONS:
                return self._reduction(here, a)
        return self._matrix(here)

    def _joint(self, a: Node, b: Node) -> tuple[str, ...]:
        return max(a.type.axes, b.type.axes, key=len)

    def _commutative(self, word: str, a: Node, b: Node, axes: tuple[str, ...]) -> Code:
        """In place into whichever side can be overwritten; a list comes first."""
        if self.places.scalar(a) or (a.type.kind == "bool" and b.type.kind != "bool"):
            a, b = b, a
        if not self.places.scalar(b) and not self._takes(a, axes) and self._takes(b, axes):
            a, b = b, a
        return self._call2(word, a, b, axes)

    def _takes(self, here: Node, axes: tuple[str, ...]) -> bool:
        return here.type.axes == axes and here.type.kind == "real" and self.code(here).owned

    def _call2(self, word: str, a: Node, b: Node, axes: tuple[str, ...]) -> Code:
        first, second = (self.aligned(self.numeric(x), x.type, axes) for x in (a, b))
        return self.call(word, first, second.text, fits=a.type.axes == axes)

    def _select(self, here: Node, c: Node, a: Node, b: Node) -> Code:
        if self.places.scalar(c):
            left, right = (self.filled(x, here.type.axes) if self.places.scalar(x) else self.code(x) for x in (a, b))
            if not (a.type.axes == b.type.axes or self.places.scalar(a) or self.places.scalar(b)):
                raise fail("E601", here.span, construct=f"a choice between {a.type} and {b.type}")
            text = f"({left.text} if {self.scalars.text(c, OR)} else {right.text})"
            target = left.target if left.target == right.target else None
            return Code(text, left.owned and right.owned, target, left.aliases | right.aliases)
        axes = here.type.axes
        arguments = (self.argument(c, axes), self.argument(a, axes), self.argument(b, axes))
        return Code(f"choose({', '.join(arguments)}, {self.like})", True)

    def _reduction(self, here: Node, a: Node) -> Code:
        operand = self.numeric(a).text
        word = REDUCED[here.op]
        axes, have = here.attrs.axes, a.type.axes
        rest: list[str] = []
        if set(axes) != set(have):
            if REST in axes:
                raise fail("E601", here.span, construct="a reduction over unnamed axes that keeps named ones")
            rest.append(str(tuple(have.index(axis) - len(have) for axis in axes)))
        if here.op == "norm" and here.attrs.order != 2:
            order = here.attrs.order
            rest += [*([] if rest else ["None"]), "math.inf" if order is None else literal(order)]
        return Code(f"{word}({', '.join((operand, *rest))})", True)

    def _matrix(self, here: Node) -> Code:
        match here.op, here.args:
            case "transpose", (a,):
                if len([axis for axis in a.type.axes if axis != REST]) < 2:
                    return self.code(a)  # a vector stays what it is
                return Code(f"transpose({self.code(a).text})", aliases=self.code(a).aliases)
            case "unit", (a,):
                return Code(f"units({self.numeric(a).text})", True)
            case "eye", ():
                return Code(f"eye({self.axis(here)}, {self.like})", True)
            case "zeros" | "ones", _ if here.type.axes == self._like_axes():
                return Code(f"constant({0 if here.op == 'zeros' else 1}, {self.like})", True)
            case "matrix_power", (a, b) if self.places.scalar(b):
                return Code(f"matrix_power({self.numeric(a).text}, {self.scalars.text(b)})", True)
            case "keep_largest", (a, b) if self.places.scalar(b):
                return Code(f"keep_largest({self.numeric(a).text}, {self.scalars.text(b)})", True)
            case "matmul", (a, b):
                if len([x for x in b.type.axes if x != REST]) == 1 and REST in b.type.axes:
                    raise fail("E601", here.span, construct="a product with one vector for each leading axis")
                return Code(f"matmul({self.numeric(a).text}, {self.numeric(b).text})", True)
            case op, args if op in MATRICES:
                codes = [self.numeric(arg) for arg in args]
                text = f"{op}({', '.join(code.text for code in codes)})"
                return Code(text, False, None, codes[0].aliases) if op in VIEWS else Code(text, True)
        text = here.span.text if here.op in ("argmin", "root", "cg") and here.span is not None else here.op
        raise fail("E601", here.span, construct=f"`{' '.join(text.split())}` in an optimizer")

    def _like_axes(self) -> tuple[str, ...]:
        for here, name in self.names.items():
            if name == self.like:
                return here.type.axes
        return ()

    # ---- what a statement reads, which decides what it may overwrite ----

    def reads(self, here: Node) -> Counter[Node]:
        """How often each named value occurs in the text of `here`; branches that exclude each other count once."""
        if here in self.names:
            return Counter((here,))
        if here not in self.counts:
            self.counts[here] = self.operands(here)
        return self.counts[here]

    def operands(self, here: Node) -> Counter[Node]:
        """The same for the text of `here` itself, whether it has a name or not."""
        if here.op == "select" and self.places.scalar(here.args[0]):
            condition, left, right = map(self.reads, here.args)
            return condition + (left | right)
        return sum(map(self.reads, here.args), Counter[Node]())
