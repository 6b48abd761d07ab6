"""A claim in its file becomes premises and goals on IR nodes, one case for each choice of options and rank.

Equations among the premises that fix a name are substituted (`given ε == 0`, `given t == 1`, `given f(θ) == …`); a
function that is bound by `given K == norm1` is bound in the lowering itself; what is left are premises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from math import floor

from dotopt.compiler import syntax as s
from dotopt.compiler.calculus import gradient, jacobian_vector
from dotopt.compiler.errors import OptError
from dotopt.compiler.ir import TIME, Interval, Loop, Node, Program, boolean, leaf, node, number, rebuild, substitute
from dotopt.compiler.library import Library
from dotopt.compiler.lower import Context, Scope, Static, value
from dotopt.compiler.lower.assemble import context_of
from dotopt.compiler.lower.declare import declare
from dotopt.compiler.lower.scope import Imported, User
from dotopt.compiler.prove.statements.expectation import expectations
from dotopt.compiler.prove.statements.unroll import like, start
from dotopt.compiler.types import REST

RANKS = (1, 2, 3)
MOST_CASES = 48


class Unreadable(Exception):
    """The claim says something that the engine has no meaning for; the message says what."""


@dataclass
class Case:
    """One choice of options and rank: the program, the scope of the claim, and the premises."""

    claim: s.Claim
    file: s.File
    program: Program
    context: Context
    scope: Scope
    library: Library
    options: dict[str, bool | str]
    rank: int | None
    premises: list[Node] = field(default_factory=list)
    substitutions: list[dict[Node, Node]] = field(default_factory=list)
    functions: dict[str, tuple[Node, Node]] = field(default_factory=dict)  # f -> (variable, body)
    at_start: bool = False  # `given t == 1`
    point_premises: list[Node] = field(default_factory=list)  # equations that fix an answer at a point, as written
    asked: list[Node] = field(default_factory=list)  # oracles whose answer a premise fixes
    fixed_states: bool = False  # whether a premise says what a state or the parameter is

    def value(self, expression: s.Expression) -> Node:
        """The node of an expression, with the premises that fix names put in, and means over draws taken."""
        here = value(self.context, expression, self.scope)
        return self.settle(expectations(here, self.context.randoms))

    def settle(self, here: Node) -> Node:
        """A node with the substitutions of the premises."""
        for table in self.substitutions:
            here = substitute(here, table)
        if self.functions:
            here = rebuild(here, self._defined)
            for table in self.substitutions:
                here = substitute(here, table)
        return fold(here)

    def _defined(self, here: Node) -> Node:
        """An oracle of a function that the premises define."""
        if here.op not in ("oracle", "apply") or here.attrs[0] not in self.functions:
            return here
        variable, body = self.functions[here.attrs[0]]
        what = here.attrs[1]
        first = here.attrs[3][0]
        point = here.args[first]
        match what:
            case "value" | "field" | 0:
                return substitute(body, {variable: point})
            case "gradient" | 1:
                return substitute(gradient(body, variable), {variable: point})
            case "hessian_vector":
                direction = leaf("free", "direction of the product", variable.type)
                product_ = jacobian_vector(gradient(body, variable), variable, direction)
                return substitute(product_, {variable: point, direction: here.args[-1]})
        return here

    @property
    def label(self) -> str:
        """The options and rank of the case, for the report."""
        parts = [f"{name} = {str(value).lower()}" for name, value in self.options.items()]
        return ", ".join(parts + ([f"rank = {self.rank}"] if self.rank is not None else []))


# ---- cases ---------------------------------------------------------------------------------------------------------


def cases(file: s.File, claim: s.Claim, library: Library, every_option: bool = False) -> Iterator[Case]:
    """The cases of a claim; those that its `given` lines exclude are left out."""
    bound, forced = bound_functions(file, claim, library)
    file = specialise(file, bound)
    options = dict(bound_options(file, bound))
    named = frozenset(here.name for here in claim.walk() if isinstance(here, s.Name))
    first = context_of(file, Static(options, None, forced, named), library)
    free = _open_options(first[0], claim, options, every_option)
    ranks: tuple[int | None, ...] = RANKS if _reads_rank(file) else (None,)
    choices = list(product(*(values for _, values in free)))
    if len(choices) * len(ranks) > MOST_CASES:
        raise Unreadable(f"{len(choices) * len(ranks)} combinations of options and ranks; fix some by `given`")
    for chosen in choices:
        for rank in ranks:
            picked = options | dict(zip((name for name, _ in free), chosen, strict=True))
            same = picked == options and rank is None
            program, context = first if same else context_of(file, Static(picked, rank, forced, named), library)
            case = Case(
                claim,
                file,
                program,
                context,
                Scope(context.scope, claim=True),
                library,
                {k: v for k, v in picked.items() if k not in bound},
                rank,
            )
            if _open_case(case):
                yield case


def _open_options(
    program: Program, claim: s.Claim, fixed: dict[str, bool | str], every: bool
) -> list[tuple[str, tuple[bool | str, ...]]]:
    return [(o.name, o.values) for o in program.options if o.name not in fixed and not _is_function(o.values)]


def _is_function(values: tuple[bool | str, ...]) -> bool:
    return all(isinstance(v, str) and Library().find(v) is not None for v in values)


def _reads_rank(file: s.File) -> bool:
    for here in file.walk():
        if isinstance(here, s.Call) and isinstance(here.function, s.Name) and here.function.name == "rank":
            return True
        if isinstance(here, s.When) and here.type is not None:
            return True
    return False


def bound_functions(file: s.File, claim: s.Claim, library: Library) -> tuple[dict[str, str], dict[str, str]]:
    """`given K == norm1`: functions of the file, and formulas of the library, that a claim replaces."""
    declared = {d.name for d in file.statements if isinstance(d, s.Declaration) and d.word == "function"}
    imported = {i.local for u in file.statements if isinstance(u, s.Use) for i in u.names}
    bound: dict[str, str] = {}
    forced: dict[str, str] = {}
    givens = [g for g in (*file.statements, *claim.body) if isinstance(g, s.Given)]
    whens = [x.goal.condition for x in claim.body if isinstance(x, s.Show) and isinstance(x.goal, s.Equivalent)]
    written = [*(g.condition for g in givens), *(w for w in whens if w is not None)]
    for condition in (c for w in written for c in _conjuncts(w)):
        match condition:
            case s.Compare(_, ("==",), (s.Name(_, left), s.Name(_, right))) if left in declared:
                bound[left] = right
            case s.Compare(_, ("==",), (s.Name(_, left), s.Name(_, right))) if left in imported and not _quantity(
                file, claim, left
            ):
                forced[left] = right
    return bound, forced


def _quantity(file: s.File, claim: s.Claim, name: str) -> bool:
    return any(isinstance(d, s.Declaration) and d.name == name for d in file.statements)


def _conjuncts(e: s.Expression) -> Iterator[s.Expression]:
    if isinstance(e, s.Binary) and e.operator == "and":
        yield from _conjuncts(e.left)
        yield from _conjuncts(e.right)
    else:
        yield e


def specialise(file: s.File, bound: dict[str, str]) -> s.File:
    """The file with pluggable functions bound by the claim; those that it does not bind become arbitrary functions."""
    statements: list[s.Statement] = []
    for d in file.statements:
        if isinstance(d, s.Declaration) and d.word == "function" and (isinstance(d.value, s.Name) or d.name in bound):
            chosen = bound.get(d.name)
            d = replace(d, value=s.Name(d.span, chosen) if chosen is not None else None)
        statements.append(d)
    return replace(file, statements=tuple(statements))


def bound_options(file: s.File, bound: dict[str, str]) -> Iterator[tuple[str, bool | str]]:
    """The bound functions as options of the lowering."""
    yield from bound.items()


# ---- premises ------------------------------------------------------------------------------------------------------


def _open_case(case: Case) -> bool:
    """Fills the scope and the premises; False if a `given` line excludes this choice."""
    from dotopt.compiler.prove.statements.constants import constants

    body = [c for c in case.claim.body if not _is_ddt(c) and not isinstance(c, s.Derive)]
    for clause in case.claim.body:
        if isinstance(clause, s.Derive):
            for name in clause.names:
                from dotopt.compiler.lower.scope import Leaf
                from dotopt.compiler.types import REAL

                case.scope.names[name] = Leaf("free", name, REAL)
    declare(case.context, case.scope, body)
    for hyper in case.program.hypers:
        if not hyper.indices:
            case.premises += inside(leaf("hyper", hyper.name, hyper.type), hyper.interval)
    for given in case.program.inputs:
        if not given.indices:
            case.premises += inside(leaf("input", given.name, given.type), given.interval)
    for clause in (*case.file.statements, *case.claim.body):
        if isinstance(clause, s.ForAll):
            for q in clause.names:
                case.premises += quantified(case, q)
    for p in case.file.head.parameters:
        if p.bounds is not None:
            case.premises += quantified(case, s.Quantified(p.span, p.name, (), p.type, p.bounds))
    written: list[Node] = list(constants(case))
    for clause in (*case.file.statements, *case.claim.body):
        if isinstance(clause, s.Given):
            for condition in _conjuncts(clause.condition):
                if _binds_function(case, condition):
                    continue
                here = value(case.context, condition, case.scope)
                written.extend(_parts(here))
    if any(w.op == "bool" and not w.attrs[0] for w in written):
        return False
    return _absorb(case, [w for w in written if w.op != "bool"])


def _is_ddt(clause: s.Statement) -> bool:
    return isinstance(clause, s.Definition) and any(
        isinstance(t, s.Call) and isinstance(t.function, s.Name) and t.function.name == "ddt" for t in clause.targets
    )


def _binds_function(case: Case, condition: s.Expression) -> bool:
    match condition:
        case s.Compare(_, ("==",), (s.Name(_, left), s.Name())):
            found = case.scope.find(left)
            return found is not None and isinstance(found[0], Imported | User)
    return False


def _parts(here: Node) -> Iterator[Node]:
    if here.op == "and":
        for part in here.args:
            yield from _parts(part)
    else:
        yield here


def inside(here: Node, interval: Interval) -> list[Node]:
    """The bounds of an interval as premises."""
    if here.type.kind == "int" and interval.open_low and interval.low is not None and interval.low.value is not None:
        interval = replace(interval, low=number(floor(interval.low.value) + 1), open_low=False)
    found = []
    if interval.low is not None:
        found.append(node("gt" if interval.open_low else "ge", here, interval.low))
    if interval.high is not None and interval.high.op != "inf":
        found.append(node("lt" if interval.open_high else "le", here, interval.high))
    return found


def quantified(case: Case, q: s.Quantified) -> list[Node]:
    """The bounds of a name of `for all`."""
    if q.indices or not isinstance(q.bounds, s.Bounds):
        return []
    here = value(case.context, s.Name(q.span, q.name), case.scope)
    bounds = q.bounds
    low = value(case.context, bounds.low, case.scope) if bounds.low is not None else None
    high = value(case.context, bounds.high, case.scope) if bounds.high is not None else None
    return inside(here, Interval(low, high, bounds.open_low, bounds.open_high))


def _absorb(case: Case, written: list[Node]) -> bool:
    """Substitutes the equations that fix a name, and keeps the rest as premises."""
    waiting = sorted(written, key=lambda here: here.op != "eq" or TIME not in here.args)  # t == 1 fixes the states
    if any(here.op == "eq" and TIME in here.args and number(1) in here.args for here in waiting):
        case.at_start = True
        table = {k: v for k, v in start(case.program).items() if k is not TIME}
        case.substitutions += [{TIME: number(1)}, {k: substitute(v, {TIME: number(1)}) for k, v in table.items()}]
        case.premises = [case.settle(p) for p in case.premises]
    kept: list[Node] = []
    while waiting:
        here = case.settle(waiting.pop(0))
        if here.op == "bool":
            if not here.attrs[0]:
                return False
            continue
        if here.op == "and":
            waiting = [*_parts(here), *waiting]
            continue
        if here.op == "eq" and _no_such_number(here):
            return False
        if here.op == "eq" and _fix(case, here):
            kept = [case.settle(k) for k in kept]
            case.premises = [case.settle(p) for p in case.premises]
            continue
        kept.append(here)
    case.premises += kept
    return not any(p.op == "bool" and not p.attrs[0] for p in case.premises)


def _no_such_number(equation: Node) -> bool:
    """Whether it asks a whole number to be a fraction, or the step to come before the first."""
    for name, wanted in (equation.args, equation.args[::-1]):
        if name.op == "leaf" and wanted.value is not None:
            if name.type.kind == "int" and wanted.value.denominator != 1:
                return True
            if name is TIME and wanted.value < 1:
                return True
    return False


def _fix(case: Case, equation: Node) -> bool:
    """Whether the equation was absorbed as a substitution."""
    left, right = equation.args
    if left.op == right.op == "tuple":
        return False
    for name, body in ((left, right), (right, left)):
        if name.op in ("oracle", "apply") and name.attrs[1] in ("value", "field", 0):
            return _define_function(case, name, body)
        if name.op in ("oracle", "apply") and body.value is not None:  # `given ∇f(s) == 0`
            zero = node("zeros", attrs=(name.type,)) if body.value == 0 and name.type.axes else body
            case.substitutions.append({name: zero})
            case.asked.append(name)
            case.point_premises.append(node("eq", name, zero))
            return True
        if name.op == "base":
            case.substitutions.append({name: body})
            return True
    best: tuple[int, Node, Node] | None = None
    for name, body in ((left, right), (right, left)):
        family = name.role == "hyper" and body.value is not None  # `given C[l] == 1`: of this member only
        if name.role not in ("hyper", "free", "time", "param", "state", "input") or (name.args and not family):
            continue
        if name in set(body.walk()) or body.type.kind in ("tuple", "any") or body.op in ("inf", "eye"):
            continue
        if not set(body.type.axes) <= set(name.type.axes):
            continue
        if name.role in ("param", "state") and body.value is None and case.program.next:
            order = 4
        else:
            order = {"free": 0, "time": 1, "hyper": 1, "input": 2, "param": 3, "state": 3}[name.role]
        if best is None or order < best[0]:
            best = order, name, body
    if best is None:
        return False
    _, name, body = best
    if name is TIME:
        case.at_start = body.value == 1
    case.fixed_states = case.fixed_states or name.role in ("param", "state")
    case.substitutions.append({name: like(body, name.type)})
    return True


def _define_function(case: Case, asked: Node, body: Node) -> bool:
    """`given f(θ) == e`: f is the function θ -> e; with e free of θ it is only the value at this point."""
    split = asked.attrs[3]
    points = asked.args[split[0] : split[0] + split[1]]
    if len(points) == 1 and points[0].op == "leaf" and points[0] in set(body.walk()):
        case.functions[asked.attrs[0]] = (points[0], body)
        return True
    if (points and body.value is not None) or not set(points) & set(body.walk()):
        case.substitutions.append({asked: body})
        case.asked.append(asked)
        case.point_premises.append(node("eq", asked, body))
        return True
    return False


# ---- small simplifications -----------------------------------------------------------------------------------------


def fold(root: Node) -> Node:
    """Numbers computed, branches of decided conditions taken, short loops written out."""
    return rebuild(root, _fold_one)


def _fold_one(here: Node) -> Node:
    args = here.args
    match here.op:
        case "lt" | "le" | "gt" | "ge" | "eq" | "ne" if all(a.value is not None for a in args):
            x, y = args[0].value, args[1].value
            assert x is not None and y is not None
            return boolean({"lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y, "eq": x == y, "ne": x != y}[here.op])
        case "select" if args[0].op == "bool":
            chosen = args[1] if args[0].attrs[0] else args[2]
            return chosen if chosen.type == here.type or not here.type.axes else here
        case "not" if args[0].op == "bool":
            return boolean(not args[0].attrs[0])
        case "and" | "or" if any(a.op == "bool" for a in args):
            decisive = here.op == "or"
            if any(a.op == "bool" and bool(a.attrs[0]) == decisive for a in args):
                return boolean(decisive)
            rest = [a for a in args if a.op != "bool"]
            return rest[0] if rest else boolean(not decisive)
        case "add" | "sub" | "mul" if all(a.value is not None for a in args):
            x, y = args[0].value, args[1].value
            assert x is not None and y is not None
            return number({"add": x + y, "sub": x - y, "mul": x * y}[here.op])
        case "mul" if any(a.value == 0 for a in args) and not here.type.axes:
            return number(0)
        case "pow" if args[1].value == 1:
            return args[0]
        case "add" | "sub" if any(_identity_of(a) is not None for a in args):
            sized = [_sized(a, b) for a, b in ((args[0], args[1]), (args[1], args[0]))]
            return node(here.op, *sized)
        case "matmul" if _second_derivative(args[0]):
            return _hessian_vector(args[0], args[1])
        case "window" if args[1].value == 1:  # over the last step alone
            return args[0]
        case "fires" if all(a.value == 1 for a in args):  # every step from the first
            return boolean(True)
        case "loop":
            return _renamed(here)
        case "transpose" if args[0].op == "window" and _symmetric(args[0].args[0]):
            return args[0]
    return here


def _renamed(here: Node) -> Node:
    """The loop with plain names for its variables, so that one formula used twice is one node."""
    body: Loop = here.attrs[0]
    inside = {x for root in body.nodes for x in root.walk() if x.role == "loop"} - set(body.variables)
    plain = {v: leaf("loop", re.sub(r"_\d+$", "", v.name), v.type, *v.args) for v in body.variables}
    if len(set(plain.values())) < len(plain) or inside & set(plain.values()) or any(v.args for v in plain):
        return here  # a name would be caught
    renamed = replace(
        body,
        variables=tuple(plain.values()),
        nexts=tuple(substitute(x, plain) for x in body.nexts),
        until=None if body.until is None else substitute(body.until, plain),
        equations=(),
    )
    return node("loop", *here.args, attrs=(renamed, *here.attrs[1:]), span=here.span)


def _symmetric(here: Node) -> bool:
    """Whether a matrix is its own transpose by its form: a vector with itself, times numbers."""
    match here.op, here.args:
        case "outer", (a, b):
            return a is b
        case "mul", (a, b) if a.type.scalar or b.type.scalar:
            return _symmetric(b if a.type.scalar else a)
        case ("add" | "sub"), (a, b):
            return _symmetric(a) and _symmetric(b)
    return False


def _identity_of(here: Node) -> Node | None:
    """The `I` without a size in `α*I`."""
    if here.role == "identity":
        return here
    if here.op in ("mul", "div", "neg") and here.type.any:
        return next((i for a in here.args if (i := _identity_of(a)) is not None), None)
    return None


def _sized(here: Node, other: Node) -> Node:
    """`α*I` beside a matrix takes its size."""
    identity = _identity_of(here)
    if identity is None or len(other.type.axes) < 2:
        return here
    return substitute(here, {identity: node("eye", attrs=(other.type.axes[-1],))})


def _second_derivative(here: Node) -> bool:
    """Whether a matrix is a product of Hessians and scalars."""
    match here.op:
        case "oracle":
            return bool(here.attrs[1] == "hessian")
        case "mul" | "div":
            return any(
                _second_derivative(a) and b.type.scalar
                for a, b in (here.args, here.args[::-1])[: 2 if here.op == "mul" else 1]
            )
        case "matmul":
            return all(_second_derivative(a) for a in here.args)
    return False


def _hessian_vector(matrix: Node, v: Node) -> Node:
    """∇²f(y) @ v as one oracle, linear in v."""
    if v.type.axes and len(v.type.axes) != 1:
        return node("matmul", matrix, v)
    match matrix.op:
        case "oracle":
            attrs = (matrix.attrs[0], "hessian_vector", *matrix.attrs[2:-1], v.type)
            return node("oracle", *matrix.args, v, attrs=attrs)
        case "matmul":
            return _hessian_vector(matrix.args[0], _hessian_vector(matrix.args[1], v))
        case _:
            x, y = matrix.args
            if matrix.op == "mul" and x.type.scalar:
                x, y = y, x
            return node(matrix.op, _hessian_vector(x, v), y)


__all__ = ["REST", "Case", "OptError", "Unreadable", "cases", "fold"]
