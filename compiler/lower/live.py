"""What a step needs: dead states and equations go, shared scalars are found."""

from __future__ import annotations

from dataclasses import replace

from dotopt.compiler.ir import Node, Program, State


def live(program: Program, wanted: frozenset[str] = frozenset()) -> Program:
    """The program without states that nothing reads and equations that reach nothing; `wanted` states stay.

    What an option makes unread is not allocated, so this is also how options save memory.
    """
    if program.kind in ("theorem", "formula"):
        return program
    by_leaf = {(x.name, x.role): x for x in program.states}
    seen: set[Node] = set()
    kept: set[tuple[str, str | None]] = {(x.name, x.role) for x in program.states if x.name in wanted}
    roots = [
        *program.next.values(), *program.outputs.values(), *program.evaluation.values(),
        *(node for role in program.roles for _, _, node in role.sent),
        *(role.condition for role in program.roles if role.condition is not None),
        *(n for x in program.states if x.name in wanted for n in (x.next, x.start) if n is not None),
    ]
    while roots:
        for here in roots.pop().walk():
            if here in seen:
                continue
            seen.add(here)
            if here.role == "state":
                for key, state in by_leaf.items():
                    if key[0] == here.name and key not in kept:
                        kept.add(key)
                        roots += [n for n in (state.next, state.start) if n is not None]
            elif here.role == "draw":
                roots += [arg for random in program.randoms if random.name == here.name for arg in random.args]
    names = {here.name for here in seen if here.role == "draw"}
    return replace(
        program,
        states=tuple(x for x in program.states if (x.name, x.role) in kept),
        equations=tuple(e for e in program.equations if e.node in seen),
        randoms=tuple(r for r in program.randoms if r.name in names),
    )


def shared_states(program: Program) -> Program:
    """Marks the scalar states that are one number for all tensors: they depend on nothing that differs by tensor."""
    shared = {
        x.name for x in program.states
        if x.type.scalar and not x.indices and x.role is None and program.kind in ("optimizer", "aggregator")
    }
    while True:
        kept = {x.name for x in program.states if x.name in shared and _common(x, shared)}
        if kept == shared:
            break
        shared = kept
    return replace(program, states=tuple(replace(x, shared=x.name in shared) for x in program.states))


def _common(state: State, shared: set[str]) -> bool:
    return all(common(root, shared) for root in (state.start, state.next) if root is not None)


def common(root: Node, shared: set[str]) -> bool:
    """Whether the value is the same for all tensors of a group, given that the states in `shared` are."""
    stack, seen = [root], set[Node]()
    while stack:
        here = stack.pop()
        if here in seen:
            continue
        seen.add(here)
        if here.op in ("sum", "mean", "amax", "amin", "norm", "std", "size") and here.attrs.model:
            continue  # over the whole model
        if here.op == "oracle" and here.attrs.what == "value":
            continue
        match here.role:
            case "param" | "axis" | "rank" | "input" | "index" | "loop":
                return False
            case "state" if here.name not in shared:
                return False
            case "draw" if here.type.axes:
                return False
        if here.op in ("oracle", "native") or (here.op == "size" and not here.attrs.model):
            return False
        stack.extend(here.children)
    return True
