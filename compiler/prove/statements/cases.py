"""The cases of a claim: one for each choice of options and rank that it leaves open.

A function that is bound by `given K == norm1` is bound in the lowering itself; a function that nothing binds is
arbitrary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from dotopt.compiler.ir import Program
from dotopt.compiler.lower import Scope, Static
from dotopt.compiler.lower.assemble import context_of
from dotopt.compiler.prove.statements.passes import blocks_around, enter_pass
from dotopt.compiler.prove.statements.premises import open_case, written_conjuncts
from dotopt.compiler.prove.statements.ranks import last_axis, ranks
from dotopt.compiler.prove.statements.simplify import clocked
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library

MOST_CASES = 48


def cases(file: s.File, claim: s.Claim, library: Library, every_option: bool = False) -> Iterator[Case]:
    """The cases of a claim; those that its `given` lines exclude are left out."""
    around = blocks_around(file, claim)
    bound, forced = bound_functions(file, claim, library)
    file = specialise(file, bound)
    options = dict(bound_options(file, bound))
    named = frozenset(here.name for here in claim.walk() if isinstance(here, s.Name))
    first = context_of(file, Static(options, None, forced, named), library)
    free = _open_options(first[0], claim, options, every_option)
    possible = ranks(file, claim)
    choices = list(product(*(values for _, values in free)))
    if len(choices) * len(possible) > MOST_CASES:
        raise Unreadable(f"{len(choices) * len(possible)} combinations of options and ranks; fix some by `given`")
    for chosen in choices:
        for rank in possible:
            picked = options | dict(zip((name for name, _ in free), chosen, strict=True))
            same = picked == options and rank is None
            program, context = first if same else context_of(file, Static(picked, rank, forced, named), library)
            case = Case(
                claim,
                file,
                program.mapped(clocked),
                context,
                Scope(context.scope, claim=True),
                library,
                {k: v for k, v in picked.items() if k not in bound},
                rank,
                list(last_axis(program, rank)),
            )
            if around:
                enter_pass(case, around)
            if open_case(case):
                yield case


def _open_options(
    program: Program, claim: s.Claim, fixed: dict[str, bool | str], every: bool
) -> list[tuple[str, tuple[bool | str, ...]]]:
    return [(o.name, o.values) for o in program.options if o.name not in fixed and not _is_function(o.values)]


def _is_function(values: tuple[bool | str, ...]) -> bool:
    return all(isinstance(v, str) and Library().find(v) is not None for v in values)


def bound_functions(file: s.File, claim: s.Claim, library: Library) -> tuple[dict[str, str], dict[str, str]]:
    """`given K == norm1`: functions of the file, and formulas of the library, that a claim replaces."""
    declared = {d.name for d in file.statements if isinstance(d, s.Declaration) and d.word == "function"}
    imported = {i.local for u in file.statements if isinstance(u, s.Use) for i in u.names}
    bound: dict[str, str] = {}
    forced: dict[str, str] = {}
    givens = [g for g in (*file.statements, *claim.body) if isinstance(g, s.Given)]
    whens = [x.goal.condition for x in claim.body if isinstance(x, s.Show) and isinstance(x.goal, s.Equivalent)]
    written = [*(g.condition for g in givens), *(w for w in whens if w is not None)]
    for condition in (c for w in written for c in written_conjuncts(w)):
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


__all__ = ["bound_functions", "bound_options", "cases", "specialise"]
