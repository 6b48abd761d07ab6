"""`[strictly] stable [exactly] for c`: the step on a quadratic is linear; c is compared with the Schur-Cohn criterion.

The step must be a linear map of the parameter and the states with scalar coefficients; rules that take signs or
divide by gradients are refused. All roots of z^n + … + c0 lie in the closed unit disc iff those of the polynomial
shrunk by every r < 1 lie in the open one, which is what is shown for n > 2; for n <= 2 the closed conditions are
exact. `strictly` asks for the open disc, of which the criterion is exact for every n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, islice
from typing import Any

import numpy as np

from dotopt.compiler.ir import TIME, Node, leaf, node, number
from dotopt.compiler.prove.forms.certificates import smt_certificate
from dotopt.compiler.prove.forms.normal import atoms_below
from dotopt.compiler.prove.forms.polynomial import ONE, ZERO, Atom, Polynomial, single, single_product, variable
from dotopt.compiler.prove.forms.smt import check
from dotopt.compiler.prove.fuel import until
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.solver.client import Answer
from dotopt.compiler.prove.solver.logic import And, Implies, Not
from dotopt.compiler.prove.statements.held_fixed import held_fixed
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.worlds.setting import Setting
from dotopt.compiler.prove.worlds.world import Undecidable, World
from dotopt.compiler.text import syntax as s


@dataclass
class Linear:
    """The step as a matrix over `names`; `late` says that terms β^t were taken at t = ∞."""

    names: tuple[str, ...]
    matrix: list[list[Polynomial]]
    task: Task
    late: bool

    @property
    def characteristic(self) -> list[Polynomial]:
        """c0, …, c(n-1), 1 of det(z - A), by the method of Faddeev and LeVerrier."""
        n = len(self.matrix)
        coefficients = [ZERO] * n + [ONE]
        m = [[ZERO] * n for _ in range(n)]
        for k in range(1, n + 1):
            m = _product(self.matrix, m) if k > 1 else m
            m = [[m[i][j] + (coefficients[n - k + 1] if i == j else ZERO) for j in range(n)] for i in range(n)]
            am = _product(self.matrix, m)
            trace = ZERO
            for i in range(n):
                trace = trace + am[i][i]
            coefficients[n - k] = trace * Fraction(-1, k)
        return coefficients


def _product(a: list[list[Polynomial]], b: list[list[Polynomial]]) -> list[list[Polynomial]]:
    n = len(a)
    out = [[ZERO] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            total = ZERO
            for k in range(n):
                total = total + a[i][k] * b[k][j]
            out[i][j] = total
    return out


def linear_step(case: Case) -> Linear:
    """The matrix of one late step (t > 1); raises `Unreadable` (E405) if the step is not linear."""
    program = case.program
    held = Task((*case.premises, node("ge", TIME, number(2))), program)
    nexts: dict[Node, Node] = {}
    for param in program.params:
        nexts[leaf("param", param.name, param.type)] = case.settle(program.next[param.name])
    for state in program.states:
        if state.next is not None:
            nexts[leaf("state", state.name, state.type)] = case.settle(state.next)
    return linear_map(nexts, held)


def linear_map(nexts: dict[Node, Node], held: Task) -> Linear:
    """The matrix of the map from leaves to their next values; raises `Unreadable` (E405) if it is not linear."""
    normal = held.facts.normal
    leaves = list(nexts)
    atoms = {next(iter(normal(x).atoms())): x for x in leaves}
    rows: dict[Node, dict[Node, Polynomial]] = {}
    late = False
    used = [x for x in leaves if x.role == "param"]
    for x in used:  # and, while the list grows, the states that these depend on
        p, limit = late_form(normal(nexts[x]), held)
        late = late or limit
        rows[x] = _coefficients(p, atoms, x)
        used += [y for y in rows[x] if y not in used and not rows[x][y].zero]
    matrix = [[rows[x].get(y, ZERO) for y in used] for x in used]
    if any(a.kind == "truth" and _timed(a) for row in matrix for p in row for a in p.atoms()):
        raise Unreadable("the stability of a step that is another one now and then: one says little of them all")
    return Linear(tuple(x.name for x in used), matrix, held, late)


def _timed(condition: Atom) -> bool:
    return any(a.kind == "leaf" and a.key[0] == "time" for a in atoms_below(single(condition)))


def late_form(p: Polynomial, task: Task) -> tuple[Polynomial, bool]:
    """p at t = ∞: powers β^t of numbers below one are gone, inside quotients too."""
    found = False

    def change(a: Atom) -> Polynomial | None:
        nonlocal found
        if a.kind == "pow" and (speed := _speed(a.key[1])) is not None:
            base: Polynomial = a.key[0]
            facts = task.facts
            if facts.nonnegative(base) and facts.positive(ONE - base) and facts.positive(speed):
                found = True
                return ZERO
        if a.kind == "inverse":
            inside = a.key[0].replace(change)
            if inside != a.key[0]:
                from dotopt.compiler.prove.forms.polynomial import inverse

                return inverse(inside)
        return None

    result = p.replace(change)
    return result, found


def _speed(exponent: Polynomial) -> Polynomial | None:
    """The coefficient of t, if the exponent is linear in it."""
    times = [a for a in exponent.atoms() if a.kind == "leaf" and a.key[0] == "time"]
    if len(times) != 1:
        return None
    still = exponent.replace(lambda a: ZERO if a is times[0] else None)
    speed = (exponent - still) * single(times[0], -1)
    return None if times[0] in set(speed.atoms()) else speed


def _coefficients(p: Polynomial, atoms: dict[Atom, Node], target: Node) -> dict[Node, Polynomial]:
    row: dict[Node, Polynomial] = {}
    for monomial, c in p.terms:
        variables = [(a, power) for a, power in monomial if a in atoms]
        rest = tuple(f for f in monomial if f[0] not in atoms)
        inside = {a for f in rest for a in atoms_below(single(f[0]))} & set(atoms)
        if len(variables) != 1 or variables[0][1] != 1 or inside or any(f[0].axes for f in rest):
            raise Unreadable(f"the step of `{target.name}` is not linear in the parameter and the states (E405)")
        x = atoms[variables[0][0]]
        row[x] = row.get(x, ZERO) + single_product(rest) * c
    return row


# ---- the criterion -------------------------------------------------------------------------------------------------


def open_disc(c: list[Polynomial]) -> list[Polynomial]:
    """Polynomials that are positive iff all roots lie in the open unit disc (Schur and Cohn)."""
    conditions: list[Polynomial] = []
    while len(c) > 1:
        n = len(c) - 1
        conditions += [c[n] - c[0], c[n] + c[0]]
        c = [c[n] * c[k + 1] - c[0] * c[n - k - 1] for k in range(n)]
    return conditions


def closed_disc(c: list[Polynomial]) -> list[Polynomial]:
    """Polynomials that are all >= 0 if the roots lie in the closed disc; for degree 1 and 2 also only if."""
    n = len(c) - 1
    at_one, at_minus = ZERO, ZERO
    for k, ck in enumerate(c):
        at_one = at_one + ck
        at_minus = at_minus + ck * (-1) ** (n - k)
    if n == 1:
        return [at_one, at_minus]
    if n == 2:
        return [at_one, at_minus, ONE - c[0]]
    return [at_one, at_minus, ONE - c[0], ONE + c[0], *open_disc(c)]  # these are positive for all smaller roots


def stable(case: Case, goal: s.Stable, fuel: float) -> Outcome:
    """Decides `stable for c`, or `stable exactly for c`."""
    if Task(tuple(case.premises), case.program).facts.contradictory():
        return Vacuous()
    case = held_fixed(case)
    step = linear_step(case)
    condition = case.value(goal.condition)
    c = step.characteristic
    facts = step.task.facts
    assumptions = ("t large: terms β^t are gone",) if step.late else ()
    certificates: list[dict[str, Any]] = []
    n = len(c) - 1
    uses: set[Atom] = set()
    holds = facts.smt.formula(condition, uses)
    if goal.strictly:
        enough = And(*(facts.smt.compare(p, ">", uses) for p in open_disc(c)))
    elif n <= 2:
        enough = And(*(facts.smt.compare(p, ">=", uses) for p in closed_disc(c)))
    else:
        r = variable("r of the shrunk polynomial")
        shrunk = [ck * r ** (n - k) for k, ck in enumerate(c)]
        ru: set[Atom] = set()
        t = facts.smt.term(r, ru)
        uses |= ru
        parts = [facts.smt.compare(p, ">", uses) for p in open_disc(shrunk)]
        enough = Implies(And(t > 0, t < 1), And(*parts))
    necessary = enough if goal.strictly else And(*(facts.smt.compare(p, ">=", uses) for p in closed_disc(c)))
    assertions, _ = facts.assertions(uses)
    questions = [[*assertions, holds, Not(enough)]]
    if goal.exactly:
        questions.append([*assertions, Not(holds), necessary])
    unsure = False
    for question in questions:
        answer = check(question, fuel * 0.4)
        if answer.result == "unsat":
            certificates.append(smt_certificate(question))
            continue
        unsure = True
        if answer.result == "sat":
            found = _check_model(step, condition, facts, answer, case, goal)
            if found:
                return Refuted("smt", found)
    if not unsure:
        kind = {
            "kind": "stability",
            "states": list(step.names),
            "characteristic": [repr(ck) for ck in c],
            "parts": certificates,
        }
        return Proved("schur-cohn", kind, assumptions)
    found = _sampled(step, condition, case, goal, fuel)
    if found:
        return Refuted("sampling", found)
    return Open(f"stability of degree {n}: the criterion was not decided")


def _check_model(
    step: Linear, condition: Node, facts: Any, answer: Answer, case: Case, goal: s.Stable
) -> dict[str, Any] | None:
    given: dict[Node, Any] = {}
    for here in {h for root in (*case.premises, condition) for h in root.walk()} | _hypers(case):
        if here.op == "leaf" and here.type.scalar and here.role in ("hyper", "free"):
            try:
                (a,) = facts.normal(here).atoms()
            except ValueError:
                continue
            if a in facts.smt.variables:
                given[here] = answer.value(facts.smt.variables[a])
    return _unlike(step, condition, World(0, given=given), case, goal)


def _hypers(case: Case) -> set[Node]:
    return {leaf("hyper", h.name, h.type) for h in case.program.hypers if not h.indices}


def _sampled(step: Linear, condition: Node, case: Case, goal: s.Stable, fuel: float) -> dict[str, Any] | None:
    draw = Setting(tuple(case.premises), case.program).draw
    end = until(fuel * 0.4)
    for seed in islice(count(), 3000):
        if end.passed:
            return None
        found = _unlike(step, condition, World(seed, draw=draw), case, goal)
        if found is not None:
            return found
    return None


def _unlike(step: Linear, condition: Node, world: World, case: Case, goal: s.Stable) -> dict[str, Any] | None:
    """Numbers at which the condition and the spectral radius disagree."""
    try:
        if not all(world.truth(p) is True for p in case.premises):
            return None
        wanted = world.truth(condition)
    except Undecidable:
        return None
    values: dict[Atom, Any] = {}
    for here in _hypers(case) | {h for p in (*case.premises, condition) for h in p.walk() if h.role == "free"}:
        if here.type.scalar:
            (a,) = step.task.facts.normal(here).atoms()
            values[a] = world.value(here)[1].item()
    try:
        rounded = {a: float(x) for a, x in values.items()}
        matrix = np.array([[_evaluated(p, rounded) for p in row] for row in step.matrix], dtype=float)
    except (KeyError, ZeroDivisionError, OverflowError):
        return None
    radius = float(max(abs(np.linalg.eigvals(matrix))))
    blur = rounding(matrix)
    stands = radius < 1 if abs(radius - 1) > blur else _at_the_circle(step, values, goal.strictly)
    if (wanted is True and stands is False) or (wanted is False and goal.exactly and stands is True):
        fixed = {name for table in case.substitutions for name in table}
        drawn = sorted((k.name, str(v[1].item())) for k, v in world.values.items() if k not in fixed)
        return {**dict(drawn), "condition": bool(wanted), "spectral radius": round(radius, 6)}
    return None


def _at_the_circle(step: Linear, values: dict[Atom, Any], strictly: bool) -> bool | None:
    """Whether the roots are where they should be, by fractions; None where these do not tell: of the closed disc they
    do for up to two states."""
    c = step.characteristic
    if not strictly and len(c) > 3:
        return None
    try:
        conditions = [_evaluated(p, values) for p in (open_disc(c) if strictly else closed_disc(c))]
    except (KeyError, ArithmeticError, TypeError):
        return None
    return all(p > 0 if strictly else p >= 0 for p in conditions)


def rounding(matrix: np.ndarray[Any, Any]) -> float:
    """By how much eigenvalues of a matrix that is known to double precision may be off: Elsner's bound.

    Of a root of multiplicity n the n-th root of the precision is lost (L. Elsner, Linear Algebra Appl. 71, 1985).

    >>> rounding(np.eye(1)) < 1e-12 < 1e-6 < rounding(np.eye(3)) < 1e-3
    True
    """
    n, size = len(matrix), float(np.linalg.norm(matrix, 2))
    error = 1e-15 * (n + 1) ** 2 * (1 + size)
    return float((2 * size + error) ** (1 - 1 / n) * error ** (1 / n))


def _evaluated(p: Polynomial, values: Mapping[Atom, Any]) -> Any:
    """p at these numbers; of fractions a fraction, and no roots."""
    total: Any = 0
    for monomial, c in p.terms:
        term: Any = c
        for a, power in monomial:
            match a.kind:
                case "inverse":
                    base = 1 / _evaluated(a.key[0], values)
                case "sqrt":
                    base = math.sqrt(_evaluated(a.key[0], values))
                    if any(isinstance(x, Fraction) for x in values.values()):
                        raise ArithmeticError("a root of fractions")
                case "truth":
                    inside = _evaluated(a.key[1], values)
                    base = int(inside > 0 if a.key[0] == "gt" else inside == 0)
                case "abs":
                    base = abs(_evaluated(a.key[0], values))
                case _:
                    base = values[a]
            term = term * base**power
        total = total + term
    return total


__all__ = ["Linear", "closed_disc", "linear_map", "linear_step", "open_disc", "stable"]
