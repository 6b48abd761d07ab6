"""`equivalent to R with … matching … when c`: the same parameter trajectory for every sequence of answers.

Both rules are lowered; hypers of R are bound by `with`, then by equal Python names, then to their defaults. A map
from the states of this rule to those of R is given by `matching`, or found: equal keys, equal names, or a multiple
read off the first steps. Then by induction: the map holds at the start, one step keeps it, and the parameter moves
alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product

from dotopt.compiler import syntax as s
from dotopt.compiler.ir import TIME, Node, Program, State, leaf, node, number, rebuild, substitute
from dotopt.compiler.lower import Static
from dotopt.compiler.lower.assemble import context_of
from dotopt.compiler.lower.expression import value
from dotopt.compiler.prove.forms.facts import Facts, facts_of
from dotopt.compiler.prove.forms.polynomial import Polynomial
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, all_of
from dotopt.compiler.prove.procedures.decide import Task, decide
from dotopt.compiler.prove.procedures.signs import signs_kept
from dotopt.compiler.prove.statements.cases import specialise
from dotopt.compiler.prove.statements.premises import absorb, binds_function, written_conjuncts, written_parts
from dotopt.compiler.prove.statements.properties import classes
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import start, state_leaves, trajectory
from dotopt.compiler.prove.worlds.refute import Search
from dotopt.compiler.types import REST, Mismatch, Type


def equivalent(case: Case, goal: s.Equivalent, seconds: float, depth: int = 2) -> Outcome:
    """Decides the equivalence in one case; a `when` that this case excludes makes it hold."""
    if goal.condition is not None:
        written = [
            value(case.context, c, case.scope) for c in written_conjuncts(goal.condition) if not binds_function(case, c)
        ]
        parts = [p for w in written for p in written_parts(case.settle(w))]
        if any(p.op == "bool" and not p.attrs[0] for p in parts) or not absorb(
            case, [p for p in parts if p.op != "bool"]
        ):
            return Proved("cases", {"kind": "truth", "value": True})
    if any(x.indices for x in case.program.params) or case.program.roles:
        raise Unreadable("an equivalence of rules over families of parameters or with roles")
    other = _other(case, goal)
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
    split = next(_conditions(case, other), None) if depth else None
    if split is not None:
        return all_of(_cases(case, goal, split, seconds, depth), "cases")
    found = _first_difference(case, other, seconds)
    if found is not None:
        return Refuted("first steps", found)
    return Open(f"equivalence: {problem}")


def _conditions(case: Case, other: Program) -> Iterator[Node]:
    """Equations of knobs and numbers on which one of the rules turns."""
    for root in (*other.roots, *map(case.settle, case.program.roots)):
        for here in root.walk():
            if here.op == "select" and here.args[0].op == "eq":
                x, y = here.args[0].args
                if y.value is not None and x.op == "leaf" and x.role in ("hyper", "free") and x.type.scalar:
                    yield here.args[0]


def _cases(case: Case, goal: s.Equivalent, condition: Node, seconds: float, depth: int) -> Iterator[Outcome]:
    """The equivalence where the condition holds, and where it does not."""
    for premise in (condition, node("not", condition)):
        here = replace(
            case,
            premises=list(case.premises),
            substitutions=list(case.substitutions),
            functions=dict(case.functions),
            point_premises=list(case.point_premises),
            asked=list(case.asked),
        )
        if not absorb(here, [premise]):
            continue
        outcome = equivalent(here, replace(goal, condition=None), seconds / 2, depth - 1)
        if isinstance(outcome, Refuted):
            shown = {"where": repr(premise), **outcome.counterexample}
            outcome = Refuted(outcome.procedure, shown, outcome.repair)
        yield outcome


# ---- the other rule ------------------------------------------------------------------------------------------------


def _other(case: Case, goal: s.Equivalent) -> Program:
    """R with its knobs bound and its leaves renamed to `R.…`."""
    if isinstance(goal.rule, s.Name) and any(
        isinstance(d, s.Declaration) and d.word == "base" and d.name == goal.rule.name for d in case.file.statements
    ):
        return _base(case, goal.rule)
    file = _file(case, goal.rule)
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
            case s.Name(_, chosen) if naming.name in _choices(file):
                options[naming.name] = chosen
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
    known = {h.name for h in program.hypers} | {i.name for i in program.inputs} | {o.name for o in first.options}
    known |= set(bound)
    unknown = next((n.name for n in goal.bindings if n.name not in known), None)
    if unknown is not None:
        raise Unreadable(f"`{unknown}` is no knob, option, function or input of the other rule (E406)")
    if program.roles or any(p.indices for p in program.params) or any(i.indices for i in program.inputs):
        raise Unreadable("an equivalence of rules over families of parameters or with roles")
    return _renamed(program, case, values)


def _file(case: Case, rule: s.Expression) -> s.File:
    """The file of a rule, or one made for a composition such as `Cautious(Lion)`."""
    if not isinstance(rule, s.Name):
        head = replace(case.file.head, word="composition", name=rule.span.text, parameters=(), value=rule)
        return replace(case.file, head=head, statements=())
    file = case.library.file(rule.name)
    if file is None:
        raise Unreadable(f"there is no rule `{rule.name}`")
    return file


def _choices(file: s.File) -> set[str]:
    return {d.name for d in file.statements if isinstance(d, s.Declaration) and d.word == "option"}


def _base(case: Case, rule: s.Name) -> Program:
    """The wrapped rule alone: it is where `B(θ)` goes, once a step and nowhere else."""
    (param,) = case.program.params
    alone = case.value(s.Call(rule.span, rule, (s.Name(rule.span, param.name),)))
    asked = {here for root in case.program.roots for here in case.settle(root).walk() if here.op == "base"}
    if asked - {alone}:
        raise Unreadable(f"what `{rule.name}` does when it is asked elsewhere or with other knobs")
    return replace(
        case.program,
        states=(),
        next={param.name: alone},
        hypers=(),
        options=(),
        equations=(),
        outputs={},
    )


def _renamed(program: Program, case: Case, values: dict[str, Node]) -> Program:
    mine = {(h.keyword, h.position): h for h in case.program.hypers}
    table: dict[Node, Node] = {}
    axes: dict[str, str] = {}
    if len(program.params) != len(case.program.params):
        raise Unreadable(f"rules of {len(case.program.params)} and {len(program.params)} parameters")
    for param, own in zip(program.params, case.program.params, strict=True):
        table[leaf("param", param.name, param.type)] = leaf("param", own.name, own.type)
        axes |= _axis_map(param.type.axes, own.type.axes)
    inputs = {x.name: x for x in case.program.inputs}
    for read in program.inputs:
        here = leaf("input", read.name, read.type)
        if read.name in values:
            table[here] = values[read.name]
        elif read.name in inputs:
            table[here] = leaf("input", read.name, inputs[read.name].type)
            axes |= _axis_map(read.type.axes, inputs[read.name].type.axes)
        else:
            raise Unreadable(f"the other rule reads `{read.name}`, which this one has not; give it by `with`")
    for hyper in program.hypers:
        here = leaf("hyper", hyper.name, hyper.type)
        if hyper.name in values:
            table[here] = values[hyper.name]
        elif (hyper.keyword, hyper.position) in mine:
            match = mine[hyper.keyword, hyper.position]
            table[here] = leaf("hyper", match.name, match.type)
        elif hyper.default is not None:
            table[here] = hyper.default
        else:
            raise Unreadable(f"the other rule needs `{hyper.name}`; give it by `with`")
    families = {state.name for state in program.states if state.indices}
    for state in program.states:
        table[leaf("state", state.name, state.type)] = leaf("state", f"R.{state.name}", _retyped(state.type, axes))
    objective = next((c.name for c in case.program.callables if c.word == "objective"), None)
    theirs = next((c.name for c in program.callables if c.word == "objective"), None)

    def change(here: Node) -> Node:
        if here in table:
            return table[here]
        if here.role == "state" and here.args and here.name in families:
            return leaf("state", f"R.{here.name}", _retyped(here.type, axes), *here.args)
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
        params=case.program.params,
        next={
            own.name: moved(program.next[param.name])
            for param, own in zip(program.params, case.program.params, strict=True)
        },
        hypers=(),
        options=(),
        equations=(),
        outputs={name: moved(answer) for name, answer in program.outputs.items()},
    )


def visible(mine: Program, theirs: Program) -> Iterator[tuple[Node, Node]]:
    """What must move alike: the parameters, or without any the outputs of equal names."""
    if mine.params:
        yield from ((mine.next[p.name], theirs.next[p.name]) for p in mine.params)
        return
    if not mine.outputs or not theirs.outputs:
        raise Unreadable("an equivalence of rules without a parameter and without an output")
    if len(mine.outputs) == len(theirs.outputs) == 1:
        yield from zip(mine.outputs.values(), theirs.outputs.values(), strict=True)
        return
    for name, answer in theirs.outputs.items():
        if name not in mine.outputs:
            raise Unreadable(f"the other rule answers `{name}`, which this one does not")
        yield mine.outputs[name], answer


def _axis_map(theirs: tuple[str, ...], mine: tuple[str, ...]) -> dict[str, str]:
    if theirs == mine:
        return {}
    if theirs == (REST,):
        return {REST: " ".join(mine)}
    if len(theirs) != len(mine):
        raise Unreadable(f"tensors of shapes ({', '.join(theirs)}) and ({', '.join(mine)})")
    return {a: b for a, b in zip(theirs, mine, strict=True) if a != b}


def _retyped(type: Type, axes: dict[str, str]) -> Type:
    return replace(type, axes=_moved_axes(type.axes, axes)) if axes else type


def _moved_axes(own: tuple[str, ...], axes: dict[str, str]) -> tuple[str, ...]:
    return tuple(x for a in own for x in axes.get(a, a).split(" "))


# ---- matching of states --------------------------------------------------------------------------------------------


def _matchings(case: Case, goal: s.Equivalent, other: Program) -> Iterator[dict[Node, Node]]:
    """Maps from the states of R to expressions in the states of this rule."""
    given = {n.name: case.value(n.value) for n in goal.matching}
    options: list[list[Node]] = []
    needed = _needed(other)
    keys = [x for x in other.states if leaf("state", x.name, x.type) in needed]
    if any(x.indices for x in other.states) or any(x.indices for x in case.program.states):
        raise Unreadable("an equivalence with families of states")
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
    from dotopt.compiler.prove.forms.normal import Unsupported

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
            from dotopt.compiler.prove.procedures.decide import settle

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
    goals: list[Node] = []
    try:
        for mine, theirs in visible(case.program, other):
            goals.append(node("eq", case.settle(mine), substitute(theirs, match)))
        if not case.at_start:
            begin = start(case.program)
            step = {
                leaf("state", x.name, x.type): case.settle(x.next) for x in case.program.states if x.next is not None
            }
            for x in other.states:
                here = leaf("state", x.name, x.type)
                if here not in match:
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
        outcome = _kept(g, held)
        if not isinstance(outcome, Proved) and TIME in set(g.walk()) and not case.at_start:
            outcome = _first_and_later(case, g, held)
        if not isinstance(outcome, Proved):
            return Open(f"`{g!r}` is not proved"[:400])
        parts.append(outcome)
    return all_of(parts, "induction") if parts else Proved("algebra", {"kind": "truth", "value": True})


def _kept(g: Node, held: Task) -> Outcome:
    g = fold(g)
    if g.op != "bool":
        return decide(g, held)
    return Proved("algebra", {"kind": "truth", "value": True}) if g.attrs[0] else Open("the initial values differ")


def _first_and_later(case: Case, g: Node, held: Task) -> Outcome:
    """One step, for t = 1 with the states where they start, and for every later t."""
    begin = start(case.program)
    table = {k: substitute(v, {TIME: number(1)}) for k, v in begin.items()}
    first = case.settle(substitute(substitute(g, table), {TIME: number(1)}))
    premises = tuple(case.settle(substitute(substitute(p, table), {TIME: number(1)})) for p in held.premises)
    if any(p.op == "bool" and not p.attrs[0] for p in premises):
        return Open("the premises fail in the first step")
    at_first = Task(tuple(p for p in premises if p.op != "bool"), case.program, held.of_rule | set(first.walk()))
    at_first.refute = False
    later = Task((*held.premises, node("ge", TIME, number(2))), case.program, held.of_rule, refute=False)
    return all_of(_kept(part, task) for part, task in ((first, at_first), (g, later)))


def _needed(other: Program) -> set[Node]:
    """The states that the parameter or the outputs depend on."""
    wanted = state_leaves([*other.next.values(), *other.outputs.values()])
    nexts = {leaf("state", x.name, x.type): x.next for x in other.states if x.next is not None}
    while True:
        more = wanted | state_leaves([nexts[x] for x in wanted if x in nexts])
        if more == wanted:
            return wanted
        wanted = more


def _first_difference(case: Case, other: Program, seconds: float) -> dict[str, object] | None:
    """Both rules run from one start with the same answers: where the parameter or an output first differs."""
    mine, theirs = list(trajectory(case.program, 3)), list(trajectory(replace(other, inputs=case.program.inputs), 3))
    premises: tuple[Node, ...] = ()
    for t, (own, their) in enumerate(zip(mine, theirs, strict=True), 1):
        try:
            pairs = [
                node("eq", case.settle(substitute(x, own)), case.settle(substitute(y, their)))
                for x, y in visible(case.program, other)
            ]
            goal = pairs[0] if len(pairs) == 1 else node("and", *pairs)
            premises += tuple(case.settle(substitute(p, own)) for p in case.premises)
        except Mismatch:
            return None
        search = Search(tuple(p for p in premises if p.op != "bool"), goal, case.program, classes(case))
        search.reads_states = False
        found = search.run(seconds / 4)
        if found is not None:
            return {"step": t, **found}
    return None


__all__ = ["Fraction", "equivalent"]
