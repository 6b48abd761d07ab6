"""The other rule of `equivalent to R with …`: its knobs are bound, and its leaves are named `R.…`.

Knobs of R are bound by `with`, then by equal Python names, then to their defaults. Its parameters, inputs, axes and its
objective become those of the rule that it is compared with.
"""

from __future__ import annotations

from dataclasses import replace

from dotopt.compiler.ir import Node, Program, State, leaf, node, rebuild, substitute
from dotopt.compiler.lower import Static
from dotopt.compiler.lower.assemble import context_of
from dotopt.compiler.ops.types import REST, Type
from dotopt.compiler.prove.statements.cases import specialise
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s


def other_rule(case: Case, goal: s.Equivalent) -> tuple[Program, dict[str, Node]]:
    """R with its knobs bound and its leaves renamed to `R.…`; and by its own names of its parameters, their leaves."""
    if isinstance(goal.rule, s.Name) and any(
        isinstance(d, s.Declaration) and d.word == "base" and d.name == goal.rule.name for d in case.file.statements
    ):
        if goal.bindings:
            raise Unreadable(f"`with {goal.bindings[0].name} = …` for `{goal.rule.name}`, whose knobs are not known")
        return _base(case, goal.rule), {}
    file = _file(case, goal.rule)
    functions = {d.name for d in file.statements if isinstance(d, s.Declaration) and d.word == "function"}
    bound: dict[str, str] = {}
    options: dict[str, bool | str] = {}
    values: dict[str, Node] = {}
    symbols = _symbols(file)
    for naming in goal.bindings:
        name = symbols.get(naming.name, naming.name)
        match naming.value:
            case s.Name(_, chosen) if name in functions:
                bound[name] = chosen
            case s.Boolean(_, truth):
                options[name] = truth
            case s.Name(_, chosen) if name in _choices(file):
                options[name] = chosen
            case _:
                values[name] = case.value(naming.value)
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
    unknown = next((n.name for n in goal.bindings if symbols.get(n.name, n.name) not in known), None)
    if unknown is not None:
        raise Unreadable(f"`{unknown}` is no knob, option, function or input of the other rule (E406)")
    if program.roles or any(p.indices for p in program.params) or any(i.indices for i in program.inputs):
        raise Unreadable("an equivalence of rules over families of parameters or with roles")
    params = zip(program.params, case.program.params, strict=False)
    return _renamed(program, case, values), {p.name: leaf("param", own.name, own.type) for p, own in params}


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


def _symbols(file: s.File) -> dict[str, str]:
    """The symbols of knobs by their Python names, where these are no symbols themselves."""
    declared = [d for d in file.statements if isinstance(d, s.Declaration)]
    names = {d.name for d in declared}
    return {d.alias: d.name for d in declared if d.alias and d.alias_index is None and d.alias not in names}


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
    table |= _defaults(program, table)
    table |= _draws(program, case, table, axes)
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
        randoms=tuple(
            replace(r, name=table[x].name, type=table[x].type, args=tuple(map(moved, r.args)))
            for r in program.randoms
            if (x := leaf("draw", r.name, r.type)) in table
        ),
    )


def _defaults(program: Program, table: dict[Node, Node]) -> dict[Node, Node]:
    """The defaults that knobs of R keep: the knobs that they use are those of R, and not what has their names here."""
    kept = {here: h.default for h in program.hypers if table[here := leaf("hyper", h.name, h.type)] is h.default}

    def resolved(root: Node) -> Node:
        used = {here for here in root.walk() if here in table}
        return substitute(
            root, {here: resolved(d) if (d := kept.get(here)) is not None else table[here] for here in used}
        )

    return {here: resolved(default) for here, default in kept.items() if default is not None}


def _draws(program: Program, case: Case, table: dict[Node, Node], axes: dict[str, str]) -> dict[Node, Node]:
    """The draws of R: one with the name and the law of a draw here is that draw, any other has numbers of its own."""
    mine = {r.name: r for r in case.program.randoms}
    found: dict[Node, Node] = {}
    for r in program.randoms:
        own, type = mine.get(r.name), _retyped(r.type, axes)
        args = tuple(case.settle(substitute(a, table)) for a in r.args)
        same = own is not None and (own.law, own.type) == (r.law, type) and tuple(map(case.settle, own.args)) == args
        found[leaf("draw", r.name, r.type)] = leaf("draw", r.name if same else f"R.{r.name}", type)
    return found


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


__all__ = ["other_rule"]
