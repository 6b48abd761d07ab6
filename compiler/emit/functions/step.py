"""One program as pure functions: `init`, the states before the first step, and `step`.

    def init(x, hyper, sizes, random):                          {"V": …}
    def step(x, f, state, t, first, hyper, sizes, random):      ({"d": …}, {"m": …}, {"x": …})

`step` returns the outputs, the next states and the next parameters. Nothing is changed in place, and nothing is read
but the arguments, so a step can be replayed, mapped over runs, or differentiated.
"""

from __future__ import annotations

from dotopt.compiler.emit.functions.families import write
from dotopt.compiler.emit.functions.questions import draw_text, shared
from dotopt.compiler.emit.functions.writer import RESERVED, Writer, domains
from dotopt.compiler.emit.sequence.token import INDENT
from dotopt.compiler.ir import TIME, Node, Program, State, leaf
from dotopt.compiler.ir.print import infix
from dotopt.compiler.ops.types import INT, REST
from dotopt.grammar.spelling import ascii


def functions(program: Program) -> str:
    """The text of `init` and `step`; raises `OptError` (E601) for a construct that has no code in torch."""
    program = shared(program)
    return f"{_init(program)}\n\n\n{_step(program)}"


def arguments(program: Program) -> list[str]:
    """The names of parameters, inputs and functions, in the order of the arguments of `step`."""
    names = [*(x.name for x in program.params), *(x.name for x in program.inputs), *(x.name for x in program.callables)]
    return [ascii(name) for name in (*names, *undeclared(program))]


def undeclared(program: Program) -> list[str]:
    """Objectives that are declared inside roles: asked for, and not among the callables."""
    known = {x.name for x in program.callables}
    return list(dict.fromkeys(o.attrs[0] for o in program.oracles if o.attrs[0] not in known))


def _writer(program: Program) -> Writer:
    b = Writer({}, {}, program=program, homes=domains(program))
    sizes: dict[str, str] = {}
    b.taken |= RESERVED | set(arguments(program))
    for hyper in program.hypers:
        sizes[hyper.name] = b.fresh(ascii(hyper.name))
        b.names[leaf("hyper", hyper.name, hyper.type)] = sizes[hyper.name]
    b.sizes = sizes
    b.order = [leaf("index", name, INT) for name in sorted(b.homes)]
    return b


def _needed_sizes(program: Program, b: Writer, roots: list[Node]) -> list[str]:
    """Lines that give names to the sizes of axes and sets that are read."""
    given = {h.name for h in program.hypers}
    axes: dict[str, None] = {}
    for state in program.states:
        axes.update(dict.fromkeys(state.type.axes))
    for random in program.randoms:
        axes.update(dict.fromkeys(random.type.axes))
    for root in roots:
        for here in root.walk():
            axes.update(dict.fromkeys(here.type.axes))
            if here.role in ("set", "axis"):
                axes[here.name] = None
    axes.update(dict.fromkeys(home.name for home in b.homes.values() if home.role == "set"))
    lines = []
    table = dict(b.sizes)
    for axis in axes:
        if axis in given or axis.isdigit() or axis in table:
            continue
        table[axis] = name = b.fresh("rest" if axis == REST else ascii(axis))
        lines.append(f"{INDENT}{name} = sizes[{axis!r}]")
    b.sizes = table
    return lines


def _open(program: Program, b: Writer, head: str, docstring: str, roots: list[Node]) -> int:
    """Writes the head; returns where the lines that name hyperparameters and sizes belong once it is known which."""
    b.lines += [f"def {head}:", f'{INDENT}"""{docstring}"""']
    b.names[TIME] = "t"
    for x in program.params:
        b.names[leaf("param", x.name, x.type, *_indices(x.indices))] = ascii(x.name)
    return len(b.lines)


def _indices(pairs: tuple[tuple[str, str], ...]) -> tuple[Node, ...]:
    return tuple(leaf("index", name, INT) for name, _ in pairs)


def _finish(program: Program, b: Writer, place: int, sized: list[str]) -> str:
    """Puts in the lines for the hyperparameters, sizes, dtype and device that the body reads."""
    import re

    body = "\n".join(b.lines[place:])
    lines = [
        f'{INDENT}{b.sizes[h.name]} = hyper["{h.name}"]'
        for h in program.hypers
        if re.search(rf"(?<!\w){re.escape(b.sizes[h.name])}(?!\w)", body)
    ]
    lines += [line for line in sized if re.search(rf"(?<!\w){re.escape(line.strip().partition(' =')[0])}(?!\w)", body)]
    if re.search(r"(?<!\w)(dtype=dtype|device\)|device=device|of\(dtype)", body):
        lines.append(f"{INDENT}dtype, device = random.dtype, random.device")
    return "\n".join([*b.lines[:place], *lines, *b.lines[place:]])


def _family(program: Program, state: State) -> tuple[tuple[str, str], ...]:
    role = next((r.indices for r in program.roles if r.name == state.role), ())
    return (*state.indices, *role)


def _init(program: Program) -> str:
    b = _writer(program)
    roots = [s.start for s in program.states if s.kind != "first"]
    names = ", ".join(ascii(name) for name in (*(x.name for x in program.params), *(x.name for x in program.inputs)))
    place = _open(
        program,
        b,
        f"init({names}{', ' if names else ''}hyper, sizes, random)",
        "The states before the first step.",
        roots,
    )
    sized = _needed_sizes(program, b, roots)
    for x in program.inputs:
        b.names[leaf("input", x.name, x.type, *_indices(x.indices))] = ascii(x.name)
    values = []
    for state in program.states:
        if state.kind == "first":
            values.append(f'"{state.name}": None')
            continue
        family = [b.sizes[of] if of else "1" for _, of in _with_sets(program, state)]
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
    return _finish(program, b, place, sized)


def _with_sets(program: Program, state: State) -> list[tuple[str, str]]:
    """The indices of a state with their sets, those that the declaration leaves out included."""
    homes = domains(program)
    found = []
    for name, of in _family(program, state):
        home = homes.get(name)
        found.append((name, of or (home.name if home is not None else "")))
    return found


def _step(program: Program) -> str:
    b = _writer(program)
    roots = list(program.roots)
    head = ", ".join((*arguments(program), "state", "t", "first", "hyper", "sizes", "random"))
    place = _open(program, b, f"step({head})", "One step: the outputs, the next states, the next parameters.", roots)
    sized = _needed_sizes(program, b, roots)
    for x in program.inputs:
        b.names[leaf("input", x.name, x.type, *_indices(x.indices))] = ascii(x.name)
    _draws(program, b)
    _states(program, b)
    _draws(program, b)
    write(b, *_targets(program), equations=program.equations)
    outputs = ", ".join(f'"{name}": {_whole(b, root)}' for name, root in program.outputs.items())
    later = ", ".join(f'"{s.name}": {_later(program, b, s)}' for s in program.states)
    moved = ", ".join(f'"{name}": {b.code(root)}' for name, root in program.next.items())
    b.lines.append(f"{INDENT}return {{{outputs}}}, {{{later}}}, {{{moved}}}")
    return _finish(program, b, place, sized)


def _targets(program: Program) -> list[Node]:
    return [
        *program.outputs.values(),
        *(s.next for s in program.states if s.next is not None),
        *program.next.values(),
    ]


def _whole(b: Writer, root: Node) -> str:
    return b.code(root) if b.is_tensor(root) else f"torch.as_tensor({b.code(root)}, dtype=dtype, device=device)"


def _later(program: Program, b: Writer, state: State) -> str:
    own = leaf("state", state.name, state.type, *_indices(_family(program, state)))
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


def _states(program: Program, b: Writer) -> None:
    needed = {here for root in _targets(program) for here in root.walk()}
    for state in program.states:
        name = b.fresh(ascii(state.name))
        own = leaf("state", state.name, state.type, *_indices(_family(program, state)))
        if state.kind != "first":
            b.lines.append(f'{INDENT}{name} = state["{state.name}"]')
            b.names[own] = name
            continue
        early = [x for x in state.start.walk() if x in needed and x.op == "oracle" and not _waits(program, b, x)]
        write(b, *early, equations=program.equations)
        inner = b.inner()
        b.lines.append(f"{INDENT}if first:")
        write(inner, state.start, equations=program.equations)
        b.lines += [f"{inner.indent}{name} = {inner.fitted(state.start, own)}", f"{INDENT}else:"]
        b.lines.append(f'{inner.indent}{name} = state["{state.name}"]')
        b.names[own] = name


def _waits(program: Program, b: Writer, root: Node) -> bool:
    """Whether `root` reads a state or a draw that has no variable yet."""
    return any(here.role in ("state", "draw") and here not in b.names for here in root.walk())


def _draws(program: Program, b: Writer) -> None:
    """Writes the draws whose arguments are known: the others wait for the states, or belong into loops."""
    drawn = {x.name: x for root in program.roots for x in root.walk() if x.role == "draw" and not x.args}
    for random in program.randoms:
        here = drawn.get(random.name)
        if here is None or here in b.names or any(_waits(program, b, arg) for arg in random.args):
            continue
        write(b, *random.args, equations=program.equations)
        name = b.fresh(ascii(random.name))
        given = "".join(f"{infix(arg)}, " for arg in random.args).removesuffix(", ")
        b.lines += [f"{INDENT}# {random.name} ~ {random.law}({given})", f"{INDENT}{name} = {draw_text(b, random)}"]
        b.names[here] = name
