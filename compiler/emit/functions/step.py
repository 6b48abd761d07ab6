"""One program as pure functions: `init`, the states before the first step, and `step`.

    def init(x, hyper, sizes, random):                          {"V": …}
    def step(x, f, state, t, first, hyper, sizes, random):      ({"d": …}, {"m": …}, {"x": …})

`step` returns the outputs, the next states and the next parameters. Nothing is changed in place, and nothing is read
but the arguments, so a step can be replayed, mapped over runs, or differentiated.
"""

from __future__ import annotations

from dotopt.compiler.emit.functions.frame import (
    arguments,
    close,
    draws,
    family_of,
    indices_of,
    needed_sizes,
    open_function,
    states,
    targets,
    writer_of,
)
from dotopt.compiler.emit.functions.questions import QUESTIONS, draw_text, shared
from dotopt.compiler.emit.functions.statements import write
from dotopt.compiler.emit.functions.writer import Writer, domains
from dotopt.compiler.emit.sequence.token import INDENT
from dotopt.compiler.ir import Node, Program, State, leaf
from dotopt.compiler.ir.print import infix
from dotopt.compiler.ir.program import at_its_places
from dotopt.compiler.text.errors import fail


@at_its_places
def functions(program: Program) -> str:
    """The text of `init` and `step`; raises `OptError` (E601) for a construct that has no code in torch."""
    program = shared(program)
    return f"{init(program)}\n\n\n{_step(program)}"


@at_its_places
def init(program: Program) -> str:
    """The text of `init`; of a protocol, for one party."""
    b = writer_of(program)
    roots = [s.start for s in program.states if s.kind != "first" or _known_at_once(program, s)]
    given = (*(x.name for x in program.params), *(x.name for x in program.inputs))
    names = ", ".join(b.argument(name) for name in given)
    place = open_function(
        program,
        b,
        f"init({names}{', ' if names else ''}hyper, sizes, random)",
        "The states before the first step.",
        roots,
    )
    sized = needed_sizes(program, b, roots)
    for x in program.inputs:
        b.names[leaf("input", x.name, x.type, *indices_of(x.indices))] = b.argument(x.name)
    values = []
    for state in program.states:
        if state.kind == "first" and not _known_at_once(program, state):
            values.append(f'"{state.name}": None')
            continue
        family = [] if program.roles else [b.sizes[of] if of else "1" for _, of in _with_sets(program, state)]
        shape = ", ".join([*family, *(b.sizes.get(a, a) for a in state.type.axes)])
        random = next((r for r in program.randoms if r.name == f"{state.name} at the start"), None)
        if random is not None:
            values.append(f'"{state.name}": {draw_text(b, random)}')
        elif b.is_tensor(state.start):
            values.append(f'"{state.name}": {b.code(state.start)}')
        elif shape:
            values.append(f'"{state.name}": torch.full(({shape},), {b.code(state.start)}, dtype=dtype, device=device)')
        else:
            values.append(f'"{state.name}": torch.as_tensor({b.code(state.start)}, dtype=dtype, device=device)')
    b.lines.append(f"{INDENT}return {{{', '.join(values)}}}")
    return close(program, b, place, sized)


def _known_at_once(program: Program, state: State) -> bool:
    """Whether `first e` of a party is found before the first step, in which it may not take part.

    Raises `OptError` (E601) where `e` is more than the parameters and the hyperparameters.
    """
    if state.role not in {role.name for role in program.roles if role.indices}:
        return False
    known = ("", "param", "hyper")
    if all(here.role in known and here.op not in QUESTIONS for here in state.start.walk()):
        return True
    raise fail("E601", state.start.span, construct=f"a party's state that starts with `{infix(state.start)}`")


def _with_sets(program: Program, state: State) -> list[tuple[str, str]]:
    """The indices of a state with their sets, those that the declaration leaves out included."""
    homes = domains(program)
    found = []
    for name, of in family_of(program, state):
        home = homes.get(name)
        found.append((name, of or (home.name if home is not None else "")))
    return found


def _step(program: Program) -> str:
    b = writer_of(program)
    roots = list(program.roots)
    head = ", ".join((*arguments(program, b), "state", "t", "first", "hyper", "sizes", "random"))
    place = open_function(
        program, b, f"step({head})", "One step: the outputs, the next states, the next parameters.", roots
    )
    sized = needed_sizes(program, b, roots)
    for x in program.inputs:
        b.names[leaf("input", x.name, x.type, *indices_of(x.indices))] = b.argument(x.name)
    draws(program, b)
    states(program, b, program.states)
    draws(program, b)
    write(b, *targets(program), equations=program.equations)
    outputs = ", ".join(f'"{name}": {_whole(b, root)}' for name, root in program.outputs.items())
    later = ", ".join(f'"{s.name}": {_later(program, b, s)}' for s in program.states)
    moved = ", ".join(f'"{name}": {b.code(root)}' for name, root in program.next.items())
    b.lines.append(f"{INDENT}return {{{outputs}}}, {{{later}}}, {{{moved}}}")
    return close(program, b, place, sized)


def _whole(b: Writer, root: Node) -> str:
    return b.code(root) if b.is_tensor(root) else f"torch.as_tensor({b.code(root)}, dtype=dtype, device=device)"


def _later(program: Program, b: Writer, state: State) -> str:
    own = leaf("state", state.name, state.type, *indices_of(family_of(program, state)))
    if state.next is None:
        return b.names[own]
    text = b.fitted(state.next, own)
    if not b.axes(own):
        return text if b.is_tensor(state.next) else f"torch.as_tensor({text}, dtype=dtype, device=device)"
    if b.axes(state.next) != b.axes(own):
        return (
            f"({text}).expand({b.names[own]}.shape)"
            if b.is_tensor(state.next)
            else f"torch.full_like({b.names[own]}, {text})"
        )
    return text
