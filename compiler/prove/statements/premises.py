"""The premises of a case: ranges, `given` lines, and what equations among them fix.

An equation that fixes a name is put in wherever the claim is read; what is left is a premise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dotopt.compiler.ir import TIME, Interval, Node, free_indices, instance, leaf, node, number, substitute
from dotopt.compiler.lower import value
from dotopt.compiler.lower.declare import declare
from dotopt.compiler.lower.scope import Imported, Leaf, User
from dotopt.compiler.ops.types import REAL
from dotopt.compiler.prove.forms.domain import Condition, conditions
from dotopt.compiler.prove.forms.facts import facts_of
from dotopt.compiler.prove.forms.scalars import Unsupported
from dotopt.compiler.prove.statements.constants import constants
from dotopt.compiler.prove.statements.intervals import by_law, inside
from dotopt.compiler.prove.statements.run import moves
from dotopt.compiler.prove.statements.sequences import is_start, read_sequences
from dotopt.compiler.prove.statements.solved import is_answer, is_value_of, solutions
from dotopt.compiler.prove.statements.statement import Case, few
from dotopt.compiler.prove.statements.unroll import like, start
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError


def open_case(case: Case) -> bool:
    """Fills the scope and the premises; False if a `given` line excludes this choice."""
    body = [c for c in case.claim.body if not _is_ddt(c) and not isinstance(c, s.Derive)]
    for clause in case.claim.body:
        if isinstance(clause, s.Derive):
            for name in clause.names:
                case.scope.names[name] = Leaf("free", name, REAL)
    waiting = len(case.context.later)
    declare(case.context, case.scope, body)
    for later in case.context.later[waiting:]:  # the parameters of the laws of draws
        later()
    case.program = replace(case.program, randoms=tuple(case.context.randoms))
    spoken_of = {here.name for here in case.claim.walk() if isinstance(here, s.Name)}
    for random in case.program.randoms:
        if random.law != "uniform" or random.name in spoken_of or _orders(case.claim):  # else they only take time
            case.premises += by_law(leaf("draw", random.name, random.type), random)
    for role, declared in (("hyper", case.program.hypers), ("input", case.program.inputs)):
        for x in declared:
            indices = (case.context.index(name) for name, _ in x.indices)
            case.premises += inside(leaf(role, x.name, x.type, *indices), x.interval)
    for clause in (*case.file.statements, *case.claim.body):
        if isinstance(clause, s.ForAll):
            for q in clause.names:
                case.premises += quantified(case, q)
    written = [*read_sequences(case)]
    for p in case.file.head.parameters:
        if p.bounds is not None:
            case.premises += quantified(case, s.Quantified(p.span, p.name, (), p.type, p.bounds))
    written += constants(case)
    unread: OptError | None = None  # names of other ranks and options do no harm where another line excludes this case
    for clause in (*case.file.statements, *case.claim.body):
        if isinstance(clause, s.Given):
            for condition in written_conjuncts(clause.condition):
                if binds_function(case, condition):
                    continue
                try:
                    written.extend(written_parts(value(case.context, condition, case.scope)))
                except OptError as error:
                    unread = unread or error
    if any(w.op == "bool" and not w.attrs[0] for w in written):
        return False
    if unread is not None:
        raise unread
    return absorb(case, [w for w in written if w.op != "bool"])


def _orders(claim: s.Claim) -> bool:
    """Whether a sentence of the claim says what is larger."""
    shown = (here for clause in claim.body if isinstance(clause, s.Show) for here in clause.walk())
    return any(isinstance(here, s.Compare) and set(here.operators) & {"<", "<=", ">", ">="} for here in shown)


def written_conjuncts(e: s.Expression) -> Iterator[s.Expression]:
    if isinstance(e, s.Binary) and e.operator == "and":
        yield from written_conjuncts(e.left)
        yield from written_conjuncts(e.right)
    else:
        yield e


def _is_ddt(clause: s.Statement) -> bool:
    return isinstance(clause, s.Definition) and any(
        isinstance(t, s.Call) and isinstance(t.function, s.Name) and t.function.name == "ddt" for t in clause.targets
    )


def binds_function(case: Case, condition: s.Expression) -> bool:
    match condition:
        case s.Compare(_, ("==",), (s.Name(_, left), s.Name())):
            found = case.scope.find(left)
            return found is not None and isinstance(found[0], Imported | User)
    return False


def written_parts(here: Node) -> Iterator[Node]:
    if here.op == "and":
        for part in here.args:
            yield from written_parts(part)
    else:
        yield here


def quantified(case: Case, q: s.Quantified) -> list[Node]:
    """The bounds of a name of `for all`; those of a family hold for every member."""
    if not isinstance(q.bounds, s.Bounds):
        return []
    name: s.Expression = s.Name(q.span, q.name)
    if q.indices:
        name = s.Index(q.span, name, tuple(s.Name(q.span, i.name) for i in q.indices))
    here = value(case.context, name, case.scope)
    bounds = q.bounds
    low = value(case.context, bounds.low, case.scope) if bounds.low is not None else None
    high = value(case.context, bounds.high, case.scope) if bounds.high is not None else None
    return inside(here, Interval(low, high, bounds.open_low, bounds.open_high))


def absorb(case: Case, written: list[Node]) -> bool:
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
            waiting = [*written_parts(here), *waiting]
            continue
        if here.op == "eq" and _no_such_number(here):
            return False
        functions = len(case.functions)
        if here.op == "eq" and _fix(case, here):
            kept = [case.settle(k) for k in kept]
            case.premises = [case.settle(p) for p in case.premises]
            if len(case.functions) == functions:  # not `f(θ) == e`, which speaks of every θ
                waiting += [c.implied for c in _owed(case, here)]  # what is put in says so no more
            continue
        kept.append(here)
        if not any(part.op == "or" for part in here.walk()):
            kept += [c.implied for c in _owed(case, here) if c.implied not in kept]
    case.premises += kept
    case.premises += [member for p in case.premises for member in _members(case, p)]
    return not any(p.op == "bool" and not p.attrs[0] for p in case.premises)


def _owed(case: Case, premise: Node) -> list[Condition]:
    """Where both sides of a premise have a value: it says nothing elsewhere. What the rule itself needs is assumed."""
    found = conditions([premise])
    if not found:
        return []
    own = {here for root in case.program.roots for here in case.settle(root).walk()}
    return [c for c in found if c.source not in own]


def _members(case: Case, premise: Node) -> Iterator[Node]:
    """What a premise on a family over a few known numbers says of each: `given z[k] >= 0` with `k in 1..3`."""
    free = free_indices(premise)
    if len(free) != 1:
        return
    (index,) = free
    for k in few(case.index_sets.get(index.name)):
        yield case.settle(instance(premise, {index: number(k)}))


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
    if case.standing and moves(equation) and not _defines(equation):
        return False  # true in every step, each with its own values: a premise like any other
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
        if name.role not in ("hyper", "free", "time", "param", "state", "input"):
            continue
        if name.args and not family and not is_start(case, name):
            continue
        if name in set(body.walk()) or body.type.kind in ("tuple", "any") or body.op in ("inf", "eye"):
            continue
        if not set(body.type.axes) <= set(name.type.axes) or not is_value_of(name, body):
            continue
        if name.role in ("param", "state") and body.value is None and case.program.next:
            order = 4
        else:
            order = {"free": 0, "time": 1, "hyper": 1, "input": 2, "param": 3, "state": 3}[name.role]
        if best is None or order < best[0]:
            best = order, name, body
    if best is None:
        return _solve(case, equation)
    _, name, body = best
    if name is TIME:
        case.at_start = body.value == 1
    case.substitutions.append({name: like(body, name.type)})
    return True


def _defines(equation: Node) -> bool:
    """Whether it says what a function is, everywhere: `f(θ) == e` with θ in e."""
    for asked, body in (equation.args, equation.args[::-1]):
        if asked.op in ("oracle", "apply") and asked.attrs[1] in ("value", "field", 0):
            first, count = asked.attrs[3]
            points = asked.args[first : first + count]
            return len(points) == 1 and points[0].op == "leaf" and points[0] in set(body.walk())
    return False


def _solve(case: Case, equation: Node) -> bool:
    """Whether the equation was solved for a name, or for an answer of a function, and absorbed."""
    unknown = {name for c in case.claim.body if isinstance(c, s.Derive) for name in c.names}

    def nonzero(here: Node) -> bool:
        facts = facts_of(tuple(case.premises))
        try:
            p = facts.normal(here)
        except (Unsupported, ArithmeticError):
            return False
        return facts.positive(p) or facts.positive(-p)

    if equation.args[0].type.kind != "real":
        return False
    for name, body in solutions(equation, nonzero):
        if name.op == "leaf" and name.name in unknown:
            continue
        case.substitutions.append({name: like(body, name.type)})
        if is_answer(name):
            case.asked.append(name)
            case.point_premises.append(node("eq", name, body))
        return True
    return False


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


__all__ = ["absorb", "binds_function", "open_case", "quantified", "written_conjuncts", "written_parts"]
