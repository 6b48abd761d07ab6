"""`in fp16`: a claim about arithmetic that rounds. Each operation of the equations is rounded to nearest, ties to even.

Entry by entry, over finite inputs, as z3's theory of IEEE numbers sees it. A kernel that keeps float32 in registers
rounds less often; what is said here is true of code that goes operation by operation. A counterexample starts from the
initial states, and is computed again in numbers that are rounded one by one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import Any

from dotopt.compiler.ir import TIME, Node, leaf, node, substitute
from dotopt.compiler.lower.expression import value
from dotopt.compiler.prove.forms.certificates import smt_certificate
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous
from dotopt.compiler.prove.solver.client import ask
from dotopt.compiler.prove.solver.logic import And, If, Implies, Not, Or, Term, term, truth
from dotopt.compiler.prove.statements.intervals import inside
from dotopt.compiler.prove.statements.reached import Reached, every_step, reached
from dotopt.compiler.prove.statements.run import any_step, first_step, moves, steps
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s

FORMATS = {"fp16": (5, 11), "bf16": (8, 8), "tf32": (8, 11), "fp32": (8, 24), "fp64": (11, 53)}  # exponent, digits
STEPS = 3  # counterexamples are looked for in so many first steps
NEAREST = "RNE"
COMPARED = {"lt": "fp.lt", "le": "fp.leq", "gt": "fp.gt", "ge": "fp.geq", "eq": "fp.eq"}
ROUNDED = {"add": "fp.add", "sub": "fp.sub", "mul": "fp.mul", "div": "fp.div"}
ALONE = {"neg": "fp.neg", "abs": "fp.abs"}


def machine(case: Case, condition: s.Expression, name: str, all_steps: bool, fuel: float) -> Outcome:
    """The outcome of a condition in the arithmetic of a format."""
    if name not in FORMATS:
        raise Unreadable(f"{name}, which has no infinities: only {', '.join(FORMATS)}")
    if case.functions:
        raise Unreadable("an objective that is given, in rounded arithmetic")
    goal = value(case.context, condition, case.scope)
    work = fuel / 3
    premises = tuple(case.premises)
    run = reached(case)
    questions = [(premises, _fixed(case, goal))]
    if run.asked is not None and 1 < run.asked <= STEPS and run.readable:  # that step, with those before it written out
        standing = every_step(case)
        begin = first_step(case.program, lambda here: here)
        *_, moment = steps(replace(begin, renewed=any_step(case.program).renewed), run.asked)
        there = [_fixed(standing, moment.written(p)) for p in (*_said(case, run), goal)]
        questions = [(tuple(there[:-1]), there[-1])]
    elif all_steps:
        first = first_step(case.program, lambda here: here)
        now, later = steps(any_step(case.program, lambda here: here, case.functions), 2)
        following = tuple(later.written(p) for p in premises if moves(p))
        questions = [
            (tuple(map(first.written, premises)), _fixed(case, first.written(goal))),
            ((*premises, _fixed(case, now.written(goal)), *following), _fixed(case, later.written(goal))),
        ]
    certificates: list[dict[str, Any]] = []
    for step, (held, wanted) in enumerate(questions):
        asked = Question(name, reached=step > 0)
        assumed = [asked.truth(p) for p in held]
        shown = asked.truth(wanted)
        given = [*asked.sides(), *assumed]
        if ask(given, work).result == "unsat":
            return Vacuous()
        if ask([*given, Not(shown)], work).result != "unsat":
            return _counterexample(case, goal, name, all_steps, work // STEPS)
        certificates.append(smt_certificate([*given, Not(shown)]))
    finite = "finite inputs" if all_steps else "finite inputs and states"
    assumptions = (f"each operation rounds to {name}; {finite}",)
    if len(certificates) == 1:
        return Proved("ieee", certificates[0], assumptions)
    return Proved("induction", {"kind": "induction", "parts": certificates}, assumptions)


def _said(case: Case, run: Reached) -> list[Node]:
    """What premises say of the step in question, those that are put in as well."""
    fixed = (node("eq", *pair) for pair in run.fixed if pair[0] is not TIME)
    return [*case.premises, *case.point_premises, *fixed]


def _fixed(case: Case, here: Node) -> Node:
    """A node with what premises fix put in, and nothing computed: 1/10 + 2/10 is an operation that rounds."""
    for table in case.substitutions:
        here = substitute(here, table)
    return here


def _counterexample(case: Case, goal: Node, name: str, all_steps: bool, work: float) -> Outcome:
    """Numbers of the first steps at which the goal fails, or what is missing."""
    ranges = {p for i in case.program.inputs for p in inside(leaf("input", i.name, i.type), i.interval)}
    standing, run = every_step(case), reached(case)
    said = _said(case, run)
    always = [p for p in said if all_steps or p in ranges]
    before: list[Node] = []
    count = STEPS if case.program.kind != "theorem" else 1
    for step, moment in enumerate(steps(first_step(case.program, lambda here: here), count), start=1):
        asked = Question(name)
        premises = [*before, *(_fixed(standing, moment.written(p)) for p in said)]
        before += [_fixed(standing, moment.written(p)) for p in always]
        if run.asked not in (None, step):
            continue
        wanted = _fixed(standing, moment.written(goal))
        question = [asked.truth(p) for p in premises] + [Not(asked.truth(wanted))]
        model = ask([*asked.sides(), *question], work)
        if model.result != "sat":
            continue
        values = {here: number_of(model.bits.get(x.args[0], "0"), FORMATS[name]) for here, x in asked.leaves.items()}
        again = Rounded(FORMATS[name], values)
        if all(again(p) for p in premises) and not again(wanted):
            found = {(repr(here) if here.args else here.name): value for here, value in values.items()}
            sides = [again(a) for a in wanted.args] if wanted.op in COMPARED else []
            shown = dict(zip(("left", "right"), sides, strict=False))
            return Refuted("ieee", {"step": step, **{k: repr(v) for k, v in {**found, **shown}.items()}})
    what = "the induction" if all_steps else "it"
    return Open(f"{what} is not proved in {name}; it does not fail in the first {STEPS} steps, as far as z3 can tell")


class Question:
    """Nodes as terms of the theory of IEEE numbers; `leaves` are the numbers that nothing is known of.

    In the step of an induction parameters and states are `reached`: they may have overflown before.
    """

    def __init__(self, name: str, reached: bool = False) -> None:
        self.reached = reached
        self.form = " ".join(map(str, FORMATS[name]))
        self.sort = f"(_ FloatingPoint {self.form})"
        self.leaves: dict[Node, Term] = {}
        self.done: dict[Node, Term] = {}

    def sides(self) -> list[Term]:
        """Leaves are finite, and an objective that is asked twice at one point answers twice the same."""
        given = [x for here, x in self.leaves.items() if not (self.reached and here.role in ("param", "state"))]
        finite = [Not(Or(_is("fp.isNaN", x), _is("fp.isInfinite", x))) for x in given]
        asked = [here for here in self.leaves if here.args]
        for a, b in combinations(asked, 2):
            if a.attrs == b.attrs and len(a.args) == len(b.args):
                same = And(*(_is("fp.eq", self(x), self(y)) for x, y in zip(a.args, b.args, strict=True)))
                finite.append(Implies(same, self.leaves[a] == self.leaves[b]))
        return finite

    def truth(self, here: Node) -> Term:
        """A boolean node."""
        return self(here)

    def __call__(self, here: Node) -> Term:
        if here not in self.done:
            self.done[here] = self._made(here)
        return self.done[here]

    def _made(self, here: Node) -> Term:
        match here.op:
            case "const":
                return self._number(here.value or Fraction(0))
            case "bool":
                return truth(bool(here.attrs[0]))
            case "zeros" | "ones":
                return self._number(Fraction(here.op == "ones"))
            case "leaf" | "oracle":
                if here.type.kind != "real" or (here.op == "leaf" and here.role == "time"):
                    raise Unreadable(f"`{here!r}` in rounded arithmetic")
                for a in here.args:
                    self(a)
                return self.leaves.setdefault(here, Term("name", (f"x{len(self.leaves)}",), self.sort))
            case op if op in ALONE:
                return Term(ALONE[op], (self(here.args[0]),), self.sort)
            case "sqrt":
                return self._rounded("fp.sqrt", self(here.args[0]))
            case "sign":
                x, one = self(here.args[0]), self._number(Fraction(1))
                signed = If(_is("fp.isNegative", x), Term("fp.neg", (one,), self.sort), one)
                return If(Or(_is("fp.isNaN", x), _is("fp.isZero", x)), x, signed)
            case "pow" if here.args[1].value == 2:
                x = self(here.args[0])
                return self._rounded("fp.mul", x, x)
            case "and":
                return And(*(self(a) for a in here.args))
            case "or":
                return Or(*(self(a) for a in here.args))
            case "not":
                return Not(self(here.args[0]))
            case "select":
                return If(*(self(a) for a in here.args))
            case "ne" if here.args[0].type.kind != "bool":
                return Not(_is("fp.eq", *(self(a) for a in here.args)))
            case op if op in COMPARED and here.args[0].type.kind != "bool":
                return _is(COMPARED[op], *(self(a) for a in here.args))
            case op if op in ROUNDED:
                return self._rounded(ROUNDED[op], *(self(a) for a in here.args))
            case "max" | "min":
                x, y = (self(a) for a in here.args)
                better = _is("fp.geq" if here.op == "max" else "fp.leq", x, y)
                nan = Term(f"(_ NaN {self.form})", (), self.sort)
                return If(Or(_is("fp.isNaN", x), _is("fp.isNaN", y)), nan, If(better, x, y))
        raise Unreadable(f"`{here!r}` in rounded arithmetic: only entry by entry, without exp and the like")

    def _rounded(self, op: str, *args: Term) -> Term:
        return Term(op, (Term(NEAREST, (), "RoundingMode"), *args), self.sort)

    def _number(self, value: Fraction) -> Term:
        return self._rounded(f"(_ to_fp {self.form})", term(value))


def _is(op: str, *args: Term) -> Term:
    return Term(op, args, "Bool")


def number_of(bits: str, form: tuple[int, int]) -> float:
    """The number with these bits: of the sign, the exponent and the digits after the first.

    >>> number_of(str(0b0_01111_1000000000), FORMATS["fp16"]), number_of("nan", FORMATS["fp16"])
    (1.5, nan)
    """
    if bits == "nan":
        return math.nan
    exponent, digits = form
    whole = int(bits)
    fraction, whole = whole & ((1 << (digits - 1)) - 1), whole >> (digits - 1)
    power, sign = whole & ((1 << exponent) - 1), -1.0 if whole >> exponent else 1.0
    if power == (1 << exponent) - 1:
        return math.nan if fraction else math.copysign(math.inf, sign)
    bias = (1 << (exponent - 1)) - 1
    first = 0 if power == 0 else 1 << (digits - 1)
    return sign * math.ldexp(first | fraction, max(power, 1) - bias - (digits - 1))


class Rounded:
    """Numbers by the same operations, each rounded: double precision and then once more, which does no harm to formats
    of at most 24 digits (25 digits more would be needed to feel it)."""

    def __init__(self, form: tuple[int, int], values: Mapping[Node, float]) -> None:
        self.exponent, self.digits = form
        self.done: dict[Node, Any] = dict(values)

    def round(self, x: float) -> float:
        """The nearest number of the format, ties to even; infinity beyond the largest."""
        if x == 0 or not math.isfinite(x) or self.digits == 53:
            return x
        bias = 2 ** (self.exponent - 1) - 1
        fraction, power = math.frexp(x)
        unit = max(power - self.digits, 2 - bias - self.digits)
        near = math.ldexp(float(round(math.ldexp(fraction, power - unit))), unit)
        return near if abs(near) < 2.0 ** (bias + 1) else math.copysign(math.inf, x)

    def __call__(self, here: Node) -> Any:
        if here not in self.done:
            self.done[here] = self._made(here)
        return self.done[here]

    def _made(self, here: Node) -> Any:
        if here.op == "const":
            return self.round(float(here.value or 0))
        if here.op == "ones":
            return 1.0
        if here.op in ("bool", "zeros"):
            return bool(here.attrs[0]) if here.op == "bool" else 0.0
        a = [self(x) for x in here.args]
        match here.op:
            case "and":
                return all(a)
            case "or":
                return any(a)
            case "not":
                return not a[0]
            case "select":
                return a[1] if a[0] else a[2]
            case "lt" | "le" | "gt" | "ge" | "eq" | "ne":
                return getattr(operator, here.op)(*a)
            case "sign":
                return a[0] if a[0] == 0 or math.isnan(a[0]) else math.copysign(1.0, a[0])
            case "max" | "min":
                if any(map(math.isnan, a)):
                    return math.nan
                return max(a) if here.op == "max" else min(a)
        if here.op in NUMBERS:
            return self.round(NUMBERS[here.op](*a))
        raise Unreadable(f"`{here!r}` in rounded arithmetic")


def _quotient(x: float, y: float) -> float:
    if y:
        return x / y
    return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x) * math.copysign(1, y)


# what is rounded after it was computed in double precision
NUMBERS: dict[str, Callable[..., float]] = {
    "neg": operator.neg, "abs": abs, "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": _quotient,
    "pow": lambda x, _: x * x, "sqrt": lambda x: math.sqrt(x) if x >= 0 else math.nan,
}  # fmt: skip

__all__ = ["FORMATS", "machine"]
