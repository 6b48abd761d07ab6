"""A family of parameters over levels, as the parameter groups of one optimizer: hyperparameters by level.

    param θ[l in levels], hyper η[l in levels], θ'[l] = …    ->    param θ, hyper η, θ' = …

So the rule of one level is the rule of all, and what is a family in the file is a group in Python.
"""

from __future__ import annotations

from dataclasses import replace

from dotopt.compiler.ir import Node, Program, leaf, rebuild
from dotopt.compiler.ir.program import at_its_places
from dotopt.compiler.text.errors import fail

FAMILIES = ("param", "hyper", "state")


@at_its_places
def grouped(program: Program) -> Program:
    """The program of one level, if `program` moves one family of parameters; else `program`.

    Raises `OptError` if a level reads another one.
    """
    if len(program.params) != 1 or len(program.params[0].indices) != 1:
        return program
    index, levels = program.params[0].indices[0]

    def change(here: Node) -> Node:
        if here.op == "leaf" and here.role in FAMILIES and here.args:
            (at,) = here.args
            if at.role == "index" and at.name == index:
                return leaf(here.role, here.name, here.type, span=here.span)
            raise fail("E601", here.span, construct=f"`{here!r}`, which is another level of `{levels}`,")
        if here.op == "item" and here.args[0].op == "oracle" and here.args[1:] and here.args[1].role == "index":
            return here.args[0]
        return here

    def one(root: Node) -> Node:
        changed = rebuild(root, change)
        if any(here.role == "index" and here.name == index for here in changed.walk()):
            odd = f"the level `{index}` as a number, or what is no family over `{levels}`,"
            raise fail("E601", root.span, construct=odd)
        return changed

    made = program.mapped(one)
    return replace(
        made,
        params=tuple(replace(x, indices=()) for x in made.params),
        hypers=tuple(replace(x, indices=()) for x in made.hypers),
        states=tuple(replace(x, indices=()) for x in made.states),
    )
