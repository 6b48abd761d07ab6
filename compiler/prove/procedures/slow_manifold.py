"""One step of a rule as a series: by cases over conditions on its knobs, with states on their slow manifold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from dotopt.compiler.ir import TIME, Node, Program, boolean, leaf, node, substitute
from dotopt.compiler.lower import Static
from dotopt.compiler.lower.assemble import context_of
from dotopt.compiler.prove.forms.polynomial import ONE, ZERO, inverse
from dotopt.compiler.prove.procedures.identities import settle
from dotopt.compiler.prove.procedures.series import from_point, series_of, small
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.procedures.trees import POINT, PROBE, Context, Series, Tree, add, scale, shifted
from dotopt.compiler.prove.statements.cases import specialise
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import state_leaves


def step_of(case: Case, here: Node, c: Context, static: dict[str, bool | str]) -> Iterator[tuple[Series, list[str]]]:
    """θ⁺ - θ for one step of an imported rule, by cases over conditions on its knobs; states on their slow manifold."""
    _, name, *keywords = here.attrs[0].split(" ")
    file = case.library.file(name)
    if file is None:
        raise Unreadable(f"there is no rule `{name}`")
    program = context_of(specialise(file, {}), Static(static), case.library)[0]
    options = {o.name: o.default for o in program.options}
    program = context_of(specialise(file, {}), Static(options), case.library)[0]
    bound = dict(zip(keywords, here.args[1:], strict=True))
    table: dict[Node, Node] = {}
    for hyper in program.hypers:
        asked = bound.get(hyper.keyword) or bound.get(hyper.name)
        value = asked if asked is not None else hyper.default
        if value is None:
            raise Unreadable(f"`{name}` needs `{hyper.keyword}`")
        table[leaf("hyper", hyper.name, hyper.type)] = value
    yield from _cases(case, program, table, c, [])


def _cases(
    case: Case, program: Program, table: dict[Node, Node], c: Context, chosen: list[str]
) -> Iterator[tuple[Series, list[str]]]:
    """One series for each way in which conditions on the constants fall; equations are put in where they hold."""

    def settled(root: Node) -> Node:
        return fold(substitute(fold(substitute(root, table)), table))

    def again(changed: dict[Node, Node], *words: str) -> Iterator[tuple[Series, list[str]]]:
        return _cases(case, program, changed, c, [*chosen, *words])

    param = program.params[0]
    roots = [settled(program.next[param.name]), *(settled(x.next) for x in program.states if x.next is not None)]
    for root in roots:
        for here in root.walk():
            if here.op != "select":
                continue
            condition = here.args[0]
            leaves = [x for x in condition.walk() if x.op == "leaf"]
            if condition.op == "eq" and TIME in leaves:
                yield from again(table | {condition: boolean(False)})
                return
            held = Task(tuple(case.premises), case.program).facts
            for truth in (True, False):
                if held.proves(condition if truth else node("not", condition), 200):
                    yield from again(table | {condition: boolean(truth)})
                    return
            if condition.op == "eq" and len(leaves) == 1 and any(a.value is not None for a in condition.args):
                fixed = next(a for a in condition.args if a.value is not None)
                yield from again({k: substitute(v, {leaves[0]: fixed}) for k, v in table.items()}, repr(condition))
                yield from again(table | {condition: boolean(False)}, f"not ({condition!r})")
                return
            raise Unreadable(f"a step with the condition `{condition!r}`")
    yield displacement(program, settled, c), chosen


def displacement(program: Program, settled: Callable[[Node], Node], c: Context) -> Series:
    """θ⁺ - θ when the states are functions of θ that every step keeps: (1 - ρ) B = rest - (B(θ⁺) - B(θ)), iterated."""
    param = program.params[0]
    theta = leaf("param", param.name, param.type)
    following = settled(program.next[param.name])
    needed = state_leaves([following])
    if len(needed) > 1:
        raise Unreadable("a slow manifold of several states")
    inner = Context(_objective(program), theta, c.h, c.order, c.normal)
    here: dict[Node, Series] = {theta: {POINT: ONE}}
    if not needed:
        return from_point(c.cut(series_of(following, inner, here)))
    (state,) = needed
    update = settled(next(x.next for x in program.states if x.name == state.name and x.next is not None))
    if state_leaves([update]) - {state}:
        raise Unreadable("a slow manifold of several states")
    probe = series_of(update, inner, {**here, state: {PROBE: ONE}})
    rho = probe.pop(PROBE, ZERO)
    if any(_holds(tree, PROBE) for tree in probe):
        raise Unreadable("a state that is asked about inside a gradient")
    if settle(ONE - rho).zero:
        raise Unreadable("a state without a slow manifold")
    manifold: Series = scale(probe, inverse(ONE - rho))
    for _ in range(c.order):
        step = from_point(c.cut(series_of(following, inner, {**here, state: manifold})))
        if not small(step, c):
            raise Unreadable("a step that is not of order h")
        moved: Series = {}
        for tree, p in manifold.items():
            least = min((dict(monomial).get(c.h, 0) for monomial, _ in p.terms), default=c.order)
            near = replace(c, order=c.order - least)  # what is multiplied by h^least may stop earlier
            moved = add(moved, scale(shifted(tree, near.cut(step), near), p))
        change = c.cut(add(moved, scale(manifold, -ONE)))
        manifold = c.cut(scale(add(probe, scale(change, -ONE)), inverse(ONE - rho)))
    return from_point(c.cut(series_of(following, inner, {**here, state: manifold})))


def _holds(tree: Tree, inside: Tree) -> bool:
    return tree == inside or any(_holds(child, inside) for child in tree)


def _objective(program: Program) -> str:
    return next(x.name for x in program.callables if x.word == "objective")


__all__ = ["displacement", "step_of"]
