"""An expression in LaTeX, as a paper would print it.

    text, level = what each node of the tree prints

Levels are the precedences of the grammar: parentheses appear only where they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from dotopt.compiler.emit.latex.tense import Names, is_number
from dotopt.compiler.ir.print import decimal
from dotopt.compiler.ops import OPERATIONS
from dotopt.compiler.ops.row import Around, Call
from dotopt.compiler.text import syntax as s
from dotopt.grammar import spelling

CONDITIONAL, OR, AND, NOT, COMPARE, RANGE, SUM, PRODUCT, SIGN, POWER, POSTFIX = range(11)

SIGNS = {"and": r"\text{ and }", "or": r"\text{ or }", "+": " + ", "-": " - "}
LEVELS = {"or": OR, "and": AND, "+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "@": PRODUCT, "^": POWER}
RELATIONS = {"==": "=", "!=": r"\neq", "<=": r"\leq", ">=": r"\geq", "in": r"\in", "not in": r"\notin"}
# what functions that files call look like, by the name that they are called by
SPELLED = {row.opt.name: row.latex for row in OPERATIONS.values() if isinstance(row.opt, Call)}


@dataclass(frozen=True)
class Writer:
    """Writes expressions at one place of the file: what is bound there, and which time is meant."""

    names: Names
    bound: frozenset[str] = frozenset()  # arguments of the local function that is written
    loop: frozenset[str] = frozenset()  # variables of the loops around
    counter: str = "j"
    first: bool = False  # values of the first step

    def write(self, value: s.Syntax, level: int = CONDITIONAL) -> str:
        """The expression, in parentheses if it binds looser than `level`."""
        text, mine = self._text(value)
        return text if mine >= level else parentheses(text)

    def value(self, value: s.Expression, remark: str) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """What stands right of `=`: (text, remark, cases)."""
        match value:
            case s.Cases(cases=cases):
                return "", remark, tuple((self.write(case.value), self._condition(case.condition)) for case in cases)
            case s.Conditional(condition=condition, then=then, otherwise=otherwise):
                lines = [(self.write(then), self._condition(condition))]
                while isinstance(otherwise, s.Conditional):
                    lines.append((self.write(otherwise.then), self._condition(otherwise.condition)))
                    otherwise = otherwise.otherwise
                return "", remark, (*lines, (self.write(otherwise), self._condition(None)))
        return self.write(value), remark, ()

    def _condition(self, condition: s.Expression | None) -> str:
        return prose("otherwise") if condition is None else prose("if ") + self.write(condition)

    def phase(self, phase: s.Phase) -> str:
        """`every C from a otherwise o`."""
        text = prose("every ") + self.write(phase.period)
        if phase.start is not None:
            text += prose(" from ") + self.write(phase.start)
        if phase.otherwise is not None:
            text += prose(", otherwise ") + self.write(phase.otherwise)
        return text

    def index(self, index: s.IndexName) -> str:
        """`i ∈ S`."""
        domain = rf" \in {self.write(index.domain)}" if index.domain is not None else ""
        return spelling.latex(index.name) + domain

    def _text(self, value: s.Syntax) -> tuple[str, int]:
        match value:
            case s.Number(value=number):
                return _constant(number)
            case s.Infinity():
                return r"\infty", POSTFIX
            case s.Boolean(value=truth):
                return prose("true" if truth else "false"), POSTFIX
            case s.Name(name=name, primed=primed):
                return self._name(name, primed), POSTFIX
            case s.Index(base=base, indices=indices):
                return self._indexed(base, indices), POSTFIX
            case s.Member(base=base, name=name):
                return f"{self.write(base, POSTFIX)}.{upright(name)}", POSTFIX
            case s.Call():
                return self._call(value)
            case s.Gradient(function=function, argument=argument, order=order):
                below = f"_{{{spelling.latex(argument)}}}" if argument else ""
                power = f"^{{{order}}}" if order > 1 else ""
                return rf"\nabla{below}{power} {self.write(function, POSTFIX)}", POSTFIX
            case s.Conjugate(function=function):
                return f"{self.write(function, POSTFIX)}^{{*}}", POSTFIX
            case s.Transpose(operand=operand):
                return f"{self.write(operand, POSTFIX)}^{{\\top}}", POWER
            case s.Unary(operator="√", operand=operand):
                return rf"\sqrt{{{self.write(operand)}}}", POSTFIX
            case s.Unary(operator="|", operand=operand):
                return between("|", self.write(operand), "|"), POSTFIX
            case s.Unary(operator="not", operand=operand):
                return rf"\neg {self.write(operand, NOT)}", NOT
            case s.Unary(operand=operand):
                return f"-{self.write(operand, POWER)}", SIGN
            case s.Norm(operand=operand):
                return between(r"\Vert ", self.write(operand), r"\Vert "), POSTFIX
            case s.Binary():
                return self._binary(value)
            case s.Compare(operators=operators, operands=operands):
                parts = [self.write(operands[0], RANGE)]
                for operator, operand in zip(operators, operands[1:], strict=True):
                    parts += [RELATIONS.get(operator, operator), self.write(operand, RANGE)]
                return " ".join(parts), COMPARE
            case s.Conditional(condition=condition, then=then, otherwise=otherwise):
                return self._inline(then, condition, otherwise), CONDITIONAL
            case s.Range(first=first, last=last):
                return rf"\{{{self.write(first)}, \ldots, {self.write(last)}\}}", POSTFIX
            case s.Sequence(kind=kind, items=items):
                opening, closing = {"tuple": ("(", ")"), "list": ("[", "]")}.get(kind, (r"\{", r"\}"))
                return opening + ", ".join(map(self.write, items)) + closing, POSTFIX
            case s.Window(body=body, length=length):
                return rf"{self.write(body)} {prose(' over the last ')} {self.write(length)}", CONDITIONAL
            case s.Keyword(name=name, value=inner):
                return f"{spelling.latex(name)} = {self.write(inner)}", COMPARE
        raise TypeError(f"no LaTeX for {type(value).__name__}")

    def _inline(self, then: s.Expression, condition: s.Expression, otherwise: s.Expression) -> str:
        branch = self.write(then, OR) + prose(" if ") + self.write(condition, OR)
        return branch + prose(" else ") + self.write(otherwise)

    def _name(self, name: str, primed: bool, below: str = "") -> str:
        """The name with its indices `below`, then its time."""
        text = subscript(spelling.latex(name), below) if below else spelling.latex(name)
        if name in self.bound:
            return text
        if name in self.loop:
            return subscript(text, f"{self.counter}+1" if primed else self.counter)
        if name not in self.names.moving:
            return text + "'" if primed else text
        before = name in self.names.held and not primed
        if self.first:
            return subscript(text, "0" if before else "1")
        return subscript(text, "t-1" if before else "t")

    def _indexed(self, base: s.Expression, indices: tuple[s.Expression, ...]) -> str:
        inside = ", ".join(map(self.write, indices))
        if isinstance(base, s.Norm):
            return f"{self.write(base).rstrip()}_{{{inside}}}"
        if isinstance(base, s.Name):
            timed = any(isinstance(part, s.Name) and part.name == "t" for index in indices for part in index.walk())
            return subscript(spelling.latex(base.name), inside) if timed else self._name(base.name, base.primed, inside)
        return f"{self.write(base, POSTFIX)}_{{{inside}}}"

    def _binary(self, value: s.Binary) -> tuple[str, int]:
        left, right, operator = value.left, value.right, value.operator
        level = LEVELS[operator]
        match operator:
            case "^":
                power = self.write(right)
                base = self.write(left, POSTFIX)
                return f"{base}^{{{power}}}", POWER
            case "/":
                return rf"\frac{{{self.write(left)}}}{{{self.write(right)}}}", POSTFIX
            case "@":
                return self._beside(self.write(left, PRODUCT), self.write(right, POWER)), level
            case "*":
                return self._times(left, right), level
        right_level = level + 1 if operator == "-" else level
        return self.write(left, level) + SIGNS[operator] + self.write(right, right_level), level

    def _times(self, left: s.Expression, right: s.Expression) -> str:
        a, b = self.write(left, PRODUCT), self.write(right, POWER)
        if isinstance(right, s.Number):
            return rf"{a} \cdot {b}"
        if is_number(left, self.names.numbers) or is_number(right, self.names.numbers):
            return self._beside(a, b)
        return rf"{a} \odot {b}"

    def _beside(self, left: str, right: str) -> str:
        """Two factors; words are kept apart by a thin space."""
        spelled = any(word in text for word in (r"\mathrm", r"\operatorname", r"\text") for text in (left, right))
        return left + (r"\," if spelled and not left.endswith(")") else " ") + right

    def _call(self, call: s.Call) -> tuple[str, int]:
        name = call.function.name if isinstance(call.function, s.Name) else ""
        if name in self.names.functions or name in self.bound or not name:
            return self._plain_call(self.write(call.function, POSTFIX), call)
        arguments = call.arguments
        if len(arguments) == 1 and isinstance(arguments[0], s.Comprehension):
            return self._fold(name, arguments[0])
        match name, arguments:
            case ("sqrt", (inner,)):
                return rf"\sqrt{{{self.write(inner)}}}", POSTFIX
            case ("norm", (inner,)):
                return between(r"\Vert ", self.write(inner), r"\Vert ") + self._axes(call), POSTFIX
            case ("dot", (left, right)):
                inside = f"{self.write(left)}, {self.write(right)}"
                return between(r"\langle ", inside, r"\rangle ") + self._axes(call), POSTFIX
            case ("outer", (left, right)):
                return rf"{self.write(left, POWER)} {self.write(right, POSTFIX)}^{{\top}}", PRODUCT
            case ("transpose", (inner,)):
                return f"{self.write(inner, POSTFIX)}^{{\\top}}", POWER
            case ("inverse", (inner,)):
                return f"{self.write(inner, POSTFIX)}^{{-1}}", POWER
            case ("solve", (matrix, right)):
                return rf"{self.write(matrix, POSTFIX)}^{{-1}} {self.write(right, POWER)}", PRODUCT
            case ("matrix_power", (matrix, power)):
                return f"{self.write(matrix, POSTFIX)}^{{{self.write(power)}}}", POWER
            case ("ddt", (inner,)):
                return rf"\frac{{d}}{{dt}} {self.write(inner, POSTFIX)}", PRODUCT
            case ("sum", (s.Window(body=body, length=length),)):
                return rf"\sum_{{{prose('last ')}{self.write(length)}}} {self.write(body, PRODUCT)}", SUM
            case ("sum", (inner,)) if not call.keywords:
                return rf"\sum {self.write(inner, PRODUCT)}", SUM
            case (_, (inner,)) if isinstance(spelled := SPELLED.get(name), Around):
                opening, closing = spelled.opening, spelled.closing
                return opening + self.write(inner) + closing, POSTFIX
        return self._plain_call(operator(name) + self._axes(call), call)

    def _plain_call(self, function: str, call: s.Call) -> tuple[str, int]:
        inside = [self.write(argument) for argument in call.arguments]
        inside += [self.write(keyword) for keyword in call.keywords if keyword.name not in ("over", "per")]
        samples = ";\\, " + ", ".join(map(self.write, call.samples)) if call.samples else ""
        arguments = ", ".join(inside) + samples
        return function + parentheses(arguments), POSTFIX

    def _axes(self, call: s.Call) -> str:
        words = [
            (prose("per ") if keyword.name == "per" else "") + self.write(keyword.value)
            for keyword in call.keywords
            if keyword.name in ("over", "per")
        ]
        return f"_{{{', '.join(words)}}}" if words else ""

    def _fold(self, name: str, body: s.Comprehension) -> tuple[str, int]:
        below = ", ".join(map(spelling.latex, body.names))
        if body.domain is not None:
            below += rf" \in {self.write(body.domain)}"
        if body.condition is not None:
            below += rf",\; {self.write(body.condition)}"
        sign = r"\sum" if name == "sum" else operator(name)
        return rf"{sign}_{{{below}}} {self.write(body.body, PRODUCT)}", SUM


def _constant(number: Fraction) -> tuple[str, int]:
    if number == Fraction(1, 2):
        return r"\frac{1}{2}", POSTFIX
    text = decimal(number)
    if "/" in text:
        return rf"\frac{{{abs(number.numerator)}}}{{{number.denominator}}}", POSTFIX
    if "e" in text:
        mantissa, exponent = text.split("e")
        head = "" if mantissa == "1" else mantissa + r" \cdot "
        return f"{head}10^{{{exponent}}}", POWER if not head else PRODUCT
    return text, POSTFIX


def subscript(text: str, below: str) -> str:
    """`text` with one more subscript; a name may have one already.

    >>> subscript("a_{0}", "t"), subscript("m", "t-1")
    ('a_{0,t}', 'm_{t-1}')
    """
    return f"{text[:-1]},{below}}}" if text.endswith("}") and "_{" in text else f"{text}_{{{below}}}"


def indexed(name: str, indices: tuple[s.IndexName, ...]) -> str:
    """The name with the indices of its declaration."""
    below = ",".join(spelling.latex(index.name) for index in indices)
    return subscript(spelling.latex(name), below) if below else spelling.latex(name)


def parentheses(text: str) -> str:
    """In parentheses, as tall as the text needs."""
    return between("(", text, ")")


def between(opening: str, text: str, closing: str) -> str:
    r"""Between two signs, as tall as the text needs.

    >>> print(between("|", "x", "|"), between("|", r"\frac{a}{b}", "|"))
    |x| \left|\frac{a}{b}\right|
    """
    tall = any(sign in text for sign in (r"\frac", r"\sqrt", r"\sum"))
    return rf"\left{opening}{text}\right{closing}" if tall else f"{opening}{text}{closing}"


def operator(name: str) -> str:
    """The name of a function: upright, unless it is a symbol."""
    spelled = SPELLED.get(name)
    word = spelled.name if isinstance(spelled, Call) else name
    if word.startswith("\\"):
        return word
    known = spelling.latex(word)
    return known.replace(r"\mathrm", r"\operatorname", 1) if known.startswith(r"\mathrm") else known


def upright(name: str) -> str:
    """A word."""
    escaped = name.replace("_", r"\_")
    return rf"\mathrm{{{escaped}}}"


def prose(words: str) -> str:
    """Words between the equations, with their blanks."""
    escaped = words.replace("_", r"\_")
    return rf"\text{{{escaped}}}"
