"""`equivalent to R with … matching … when c`: the same parameter trajectory for every sequence of answers.

Both rules are lowered; hypers of R are bound by `with`, then by equal Python names, then to their defaults. A map
from the states of this rule to those of R is given by `matching`, or found: equal keys, equal names, or a multiple
read off the first steps. Then by induction: the map holds at the start, one step keeps it, and the parameter moves
alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

from dotopt.compiler import syntax as s
from dotopt.compiler.ir import Node, Program, State, leaf, node, rebuild, substitute
from dotopt.compiler.lower import Static
from dotopt.compiler.lower.assemble import context_of
from dotopt.compiler.lower.expression import value
from dotopt.compiler.prove.decide import Task, decide
from dotopt.compiler.prove.facts import Facts, facts_of
from dotopt.compiler.prove.goals import signs_kept
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, all_of
from dotopt.compiler.prove.polynomial import Polynomial
from dotopt.compiler.prove.properties import classes
from dotopt.compiler.prove.refute import Search
from dotopt.compiler.prove.statement import (
    Case,
    Unreadable,
    _absorb,
    _binds_function,
    _conjuncts,
    _parts,
    fold,
    specialise,
)
from dotopt.compiler.prove.unroll import start, trajectory
from dotopt.compiler.types import REST, Mismatch, Type


def equivalent(case: Case, goal: s.Equivalent, seconds: float) -> Outcome:
    """Decides the equivalence in one case; a `when` that this case excludes makes it hold."""
    if goal.condition is not None:
        written = [
            value(case.context, c, case.scope) for c in _conjuncts(goal.condition) if not _binds_function(case, c)
        ]
        parts = [p for w in written for p in _parts(case.settle(w))]
        if any(p.op == "bool" and not p.attrs[0] for p in parts) or not _absorb(
            case, [p for p in parts if p.op != "bool"]
        ):
            return Proved("cases", {"kind": "truth", "value": True})
    other = _other(case, goal)
    if len(case.program.params) != 1 or len(other.params) != 1:
        raise Unreadable("an equivalence of rules with more or less than one parameter")
    problem = "no matching of the states was found; give one by `matching`"
    for match in _matchings(case, goal, other):
        outcome = _by_induction(case, other, match, seconds)
        if isinstance(outcome, Proved):
            shown = {x: repr(e) for x, e in ((k.name.removeprefix("R."), v) for k, v in match.items())}
            return Proved(
                outcome.procedure,
                {"kind": "equivalence", "matching": shown, "parts": [outcome.certificate]},
                outcome.assumptions,
            )
        if isinstance(outcome, Open):
            problem = outcome.reason
    found = _first_difference(case, other, seconds)
    if found is not None:
        return Refuted("first steps", found)
    return Open(f"equivalence: {problem}")


# ---- the other rule ------------------------------------------------------------------------------------------------


def _other(case: Case, goal: s.Equivalent) -> Program:
    """R with its knobs bound and its leaves renamed to `R.…`."""
    if isinstance(goal.rule, s.Name) and any(
        isinstance(d, s.Declaration) and d.word == "base" and d.name == goal.rule.name for d in case.file.statements
    ):
        raise Unreadable("an equivalence to the base rule")
    if not isinstance(goal.rule, s.Name):
        raise Unreadable("an equivalence to a composition")
    file = case.library.file(goal.rule.name)
    if file is None:
        raise Unreadable(f"there is no rule `{goal.rule.name}`")
    functions = {d.name for d in file.statements if isinstance(d, s.Declaration) and d.word == "function"}
    bound: dict[str, str] = {}
    options: dict[str, bool | str] = {}
    values: dict[str, Node] = {}
    for naming in goal.bindings:
        match naming.value:
            case s.Name(_, chosen) if naming.name in functions:
                bound[naming.name] = chosen
            case s.Boolean(_, truth):
                options[naming.name] = truth
            case _:
                values[naming.name] = case.value(naming.value)
    file = specialise(file, bound)
    first = context_of(file, Static({**bound, **options}, case.rank, case.context.static.functions), case.library)[0]
    mine = {o.keyword: o.name for o in case.program.options}
    for option in first.options:
        if option.name in options or option.name in bound:
            continue
        if option.keyword in mine and mine[option.keyword] in case.options:
            options[option.name] = case.options[mine[option.keyword]]
        else:
            options[option.name] = option.default
    program = context_of(file, Static({**bound, **options}, case.rank, case.context.static.functions), case.library)[0]
    return _renamed(program, case, values)


def _renamed(program: Program, case: Case, values: dict[str, Node]) -> Program:
    from dataclasses import replace

    mine = {(h.keyword, h.position): h for h in case.program.hypers}
    table: dict[Node, Node] = {}
    param, own = program.params[0], case.program.params[0]
    table[leaf("param", param.name, param.type)] = leaf("param", own.name, own.type)
    axes = _axis_map(param.type.axes, own.type.axes)
    for hyper in program.hypers:
        here = leaf("hyper", hyper.name, hyper.type)
        if hyper.name in values:
            table[here] = values[hyper.name]
        elif (hyper.keyword, hyper.position) in mine:
            match = mine[hyper.keyword, hyper.position]
            table[here] = leaf("hyper", match.name, match.type)
        elif hyper.default is not None:
            table[here] = hyper.default
    for state in program.states:
        table[leaf("state", state.name, state.type)] = leaf("state", f"R.{state.name}", _retyped(state.type, axes))
    objective = next((c.name for c in case.program.callables if c.word == "objective"), None)
    theirs = next((c.name for c in program.callables if c.word == "objective"), None)

    def change(here: Node) -> Node:
        if here in table:
            return table[here]
        if here.op == "oracle" and here.attrs[0] == theirs and objective is not None:
            first = here.args[here.attrs[3][0]].type if here.attrs[1] != "value" else here.attrs[-1]
            return node("oracle", *here.args, attrs=(objective, *here.attrs[1:-1], first), span=here.span)
        if axes and here.op in ("leaf", "eye", "zeros", "ones"):
            attrs = tuple(
                _retyped(a, axes) if isinstance(a, Type) else axes.get(a, a) if here.op == "eye" else a
                for a in here.attrs
            )
            if here.op == "leaf" and here.role == "axis":
                return leaf("axis", axes.get(here.name, here.name), here.type)
            return node(here.op, *here.args, attrs=attrs)
        if axes and here.op in ("sum", "mean", "amax", "amin", "norm", "std", "size"):
            reduced = _moved_axes(tuple(here.attrs[0]), axes)
            return node(here.op, *here.args, attrs=(reduced, *here.attrs[1:]))
        return here

    def moved(root: Node) -> Node:
        return case.settle(rebuild(root, change))

    def new_state(x: State) -> State:
        return replace(
            x,
            name=f"R.{x.name}",
            type=_retyped(x.type, axes),
            start=moved(x.start),
            next=moved(x.next) if x.next is not None else None,
        )

    return replace(
        program,
        states=tuple(new_state(x) for x in program.states),
        params=(own,),
        next={own.name: moved(program.next[param.name])},
        hypers=(),
        options=(),
        equations=(),
        outputs={},
    )


def _axis_map(theirs: tuple[str, ...], mine: tuple[str, ...]) -> dict[str, str]:
    if theirs == mine:
        return {}
    if theirs == (REST,):
        return {REST: " ".join(mine)}
    if len(theirs) != len(mine):
        raise Unreadable(f"parameters of shapes ({', '.join(theirs)}) and ({', '.join(mine)})")
    return {a: b for a, b in zip(theirs, mine, strict=True) if a != b}


def _retyped(type: Type, axes: dict[str, str]) -> Type:
    from dataclasses import replace

    return replace(type, axes=_moved_axes(type.axes, axes)) if axes else type


def _moved_axes(own: tuple[str, ...], axes: dict[str, str]) -> tuple[str, ...]:
    return tuple(x for a in own for x in axes.get(a, a).split(" "))


# ---- matching of states --------------------------------------------------------------------------------------------


def _matchings(case: Case, goal: s.Equivalent, other: Program) -> Iterator[dict[Node, Node]]:
    """Maps from the states of R to expressions in the states of this rule."""
    given = {n.name: case.value(n.value) for n in goal.matching}
    options: list[list[Node]] = []
    keys = list(other.states)
    for theirs in keys:
        if theirs.name.removeprefix("R.") in given:
            options.append([given[theirs.name.removeprefix("R.")]])
            continue
        options.append(list(_candidates(case, theirs)))
    if not keys:
        yield {}
        return
    for count, choice in enumerate(product(*options)):
        if count > 24:
            return
        yield {leaf("state", t.name, t.type): e for t, e in zip(keys, choice, strict=True)}


def _candidates(case: Case, theirs: State) -> Iterator[Node]:
    mine = [x for x in case.program.states if x.type == theirs.type and not x.indices]
    ranked = sorted(mine, key=lambda x: (x.key != theirs.key, f"R.{x.name}" != theirs.name))
    for x in ranked:
        yield leaf("state", x.name, x.type)
    first = next(iter(trajectory_of_starts(case)))
    for x in ranked:
        ratio = _ratio(case, theirs, x, first)
        if ratio is not None:
            yield node("mul", ratio, leaf("state", x.name, x.type))


def trajectory_of_starts(case: Case) -> Iterator[dict[Node, Node]]:
    """The values after one step from the start."""
    yield start(case.program)


def _ratio(case: Case, theirs: State, mine: State, table: dict[Node, Node]) -> Node | None:
    """The scalar k with theirs = k * mine after the first step, if their normal forms are multiples."""
    from dotopt.compiler.prove.normal import Unsupported

    if mine.next is None or theirs.next is None:
        return None
    facts = facts_of(tuple(case.premises))
    try:
        a = facts.normal(case.settle(substitute(mine.next, table)))
        own = {leaf("state", theirs.name, theirs.type): theirs.start}
        b = facts.normal(case.settle(substitute(substitute(theirs.next, own), table)))
    except (Unsupported, ArithmeticError, Mismatch):
        return None
    quotient = _scalar_quotient(case, facts, a, b)
    return quotient


def _scalar_quotient(case: Case, facts: Facts, a: Polynomial, b: Polynomial) -> Node | None:
    """k among 1 - β, 1/(1 - β), lr, 1/lr, -1 … with b = k*a."""
    from dotopt.compiler.ir import number

    hypers = [leaf("hyper", h.name, h.type) for h in case.program.hypers if not h.indices]
    one = number(1)
    tried: list[Node] = [number(-1)]
    for h in hypers:
        for base in (h, node("sub", one, h)):
            tried += [base, node("div", one, base), node("neg", base)]
    for i, h in enumerate(hypers):
        for g in hypers[i + 1 :]:
            for x in (g, node("sub", one, g)):
                for y in (h, node("sub", one, h)):
                    tried += [node("mul", x, y), node("div", x, y), node("div", y, x)]
    for k in tried:
        try:
            kk = facts.normal(case.settle(k))
            from dotopt.compiler.prove.decide import settle

            if settle(kk * a - b).zero:
                return k
        except ArithmeticError:
            continue
    return None


# ---- induction -----------------------------------------------------------------------------------------------------


def _by_induction(case: Case, other: Program, match: dict[Node, Node], seconds: float) -> Outcome:
    own = frozenset(
        here for p in (case.program, other) for root in p.roots for here in substitute(case.settle(root), match).walk()
    )
    kept = tuple(signs_kept(case, standing=True)) if case.program.states and not case.at_start else ()
    held = Task((*case.premises, *kept), case.program, own, seconds=seconds / 2, refute=False)
    name = case.program.params[0].name
    goals: list[Node] = []
    try:
        mine = case.settle(case.program.next[name])
        theirs = substitute(other.next[name], match)
        goals.append(node("eq", mine, theirs))
        if not case.at_start:
            begin = start(case.program)
            step = {
                leaf("state", x.name, x.type): case.settle(x.next) for x in case.program.states if x.next is not None
            }
            for x in other.states:
                here = leaf("state", x.name, x.type)
                if here not in _needed(other):
                    continue
                goals.append(
                    node(
                        "eq", case.settle(fold(substitute(match[here], begin))), case.settle(substitute(x.start, begin))
                    )
                )
                if x.next is not None:
                    goals.append(node("eq", substitute(match[here], step), substitute(x.next, match)))
    except Mismatch as error:
        return Open(str(error))
    parts = []
    for g in goals:
        if g.args[0] is g.args[1]:
            continue
        outcome = (
            decide(fold(g), held)
            if fold(g).op != "bool"
            else (
                Proved("algebra", {"kind": "truth", "value": True})
                if fold(g).attrs[0]
                else Open("the initial values differ")
            )
        )
        if not isinstance(outcome, Proved):
            return Open(f"`{g!r}` is not proved"[:400])
        parts.append(outcome)
    return all_of(parts, "induction") if parts else Proved("algebra", {"kind": "truth", "value": True})


def _needed(other: Program) -> set[Node]:
    """The states that the parameter depends on."""
    from dotopt.compiler.prove.unroll import state_leaves

    wanted = state_leaves(list(other.next.values()))
    nexts = {leaf("state", x.name, x.type): x.next for x in other.states if x.next is not None}
    while True:
        more = wanted | state_leaves([nexts[x] for x in wanted if x in nexts])
        if more == wanted:
            return wanted
        wanted = more


def _first_difference(case: Case, other: Program, seconds: float) -> dict[str, object] | None:
    """Both rules run from one start with the same answers: where the parameter first differs."""
    from dataclasses import replace

    name, type = case.program.params[0].name, case.program.params[0].type
    here = leaf("param", name, type)
    mine, theirs = list(trajectory(case.program, 4)), list(trajectory(replace(other, inputs=case.program.inputs), 4))
    premises: tuple[Node, ...] = ()
    for t in range(1, 4):
        try:
            goal = node("eq", case.settle(mine[t][here]), case.settle(theirs[t][here]))
            premises += tuple(case.settle(substitute(p, mine[t - 1])) for p in case.premises)
        except Mismatch:
            return None
        search = Search(tuple(p for p in premises if p.op != "bool"), goal, case.program, classes(case))
        search.reads_states = False
        found = search.run(seconds / 4)
        if found is not None:
            return {"step": t, **found}
    return None


__all__ = ["Fraction", "equivalent"]
