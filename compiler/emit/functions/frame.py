"""What the functions of a rule begin and end with: arguments, hyperparameters, sizes, states, draws."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dotopt.compiler.emit.functions.questions import draw_text
from dotopt.compiler.emit.functions.statements import write
from dotopt.compiler.emit.functions.writer import RESERVED, Writer, domains
from dotopt.compiler.emit.names import Names
from dotopt.compiler.emit.sequence.token import INDENT
from dotopt.compiler.ir import TIME, Node, Program, State, leaf
from dotopt.compiler.ir.print import infix
from dotopt.compiler.ops.types import INT, REST


def arguments(program: Program, b: Writer) -> list[str]:
    """The variables of parameters, inputs and functions, in the order of the arguments of `step`."""
    return [b.argument(name) for name in asked_of_user(program)]


def asked_of_user(program: Program) -> list[str]:
    """The names of what a step is given besides its state: parameters, inputs, functions."""
    names = [*(x.name for x in program.params), *(x.name for x in program.inputs), *(x.name for x in program.callables)]
    return [*names, *undeclared(program)]


def undeclared(program: Program) -> list[str]:
    """Objectives that are declared inside roles: asked for, and not among the callables."""
    known = {x.name for x in program.callables}
    return list(dict.fromkeys(o.attrs.name for o in program.oracles if o.attrs.name not in known))


def writer_of(program: Program) -> Writer:
    b = Writer({}, {}, program=program, homes=domains(program))
    sizes: dict[str, str] = {}
    b.variables = Names(RESERVED)
    arguments(program, b)
    for hyper in program.hypers:
        sizes[hyper.name] = b.fresh(hyper.name)
        b.names[leaf("hyper", hyper.name, hyper.type)] = sizes[hyper.name]
    b.sizes = sizes
    b.order = [leaf("index", name, INT) for name in sorted(b.homes)]
    return b


def needed_sizes(program: Program, b: Writer, roots: list[Node]) -> list[str]:
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
        table[axis] = name = b.fresh("rest" if axis == REST else axis)
        lines.append(f"{INDENT}{name} = sizes[{axis!r}]")
    b.sizes = table
    return lines


def open_function(program: Program, b: Writer, head: str, docstring: str, roots: list[Node]) -> int:
    """Writes the head; returns where the lines that name hyperparameters and sizes belong once it is known which."""
    b.lines += [f"def {head}:", f'{INDENT}"""{docstring}"""']
    b.names[TIME] = "t"
    for x in program.params:
        b.names[leaf("param", x.name, x.type, *indices_of(x.indices))] = b.argument(x.name)
    return len(b.lines)


def indices_of(pairs: tuple[tuple[str, str], ...]) -> tuple[Node, ...]:
    return tuple(leaf("index", name, INT) for name, _ in pairs)


def close(program: Program, b: Writer, place: int, sized: list[str]) -> str:
    """Puts in the lines for the hyperparameters, sizes, dtype and device that the body reads."""
    body = "\n".join(b.lines[place:])
    lines = [
        f'{INDENT}{b.sizes[h.name]} = hyper["{h.name}"]'
        for h in program.hypers
        if re.search(rf"(?<!\w){re.escape(b.sizes[h.name])}(?!\w)", body)
    ]
    lines += [line for line in sized if re.search(rf"(?<!\w){re.escape(line.strip().partition(' =')[0])}(?!\w)", body)]
    if re.search(r"(?<!\w)(dtype=dtype|device\)|device=device|of\(dtype|dtype, device\))", body):
        lines.append(f"{INDENT}dtype, device = random.dtype, random.device")
    return "\n".join([*b.lines[:place], *lines, *b.lines[place:]])


def family_of(program: Program, state: State) -> tuple[tuple[str, str], ...]:
    role = next((r.indices for r in program.roles if r.name == state.role), ())
    return (*state.indices, *role)


def targets(program: Program) -> list[Node]:
    return [
        *program.outputs.values(),
        *(s.next for s in program.states if s.next is not None),
        *program.next.values(),
    ]


def states(program: Program, b: Writer, chosen: Iterable[State]) -> None:
    """Writes the names of states, and the values of those that the first step starts."""
    needed = {here for root in targets(program) for here in root.walk()}
    for state in chosen:
        name = b.fresh(state.name)
        own = leaf("state", state.name, state.type, *indices_of(family_of(program, state)))
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


def draws(program: Program, b: Writer) -> None:
    """Writes the draws whose arguments are known: the others wait for the states, or belong into loops."""
    drawn = {x.name: x for root in program.roots for x in root.walk() if x.role == "draw" and not x.args}
    for random in program.randoms:
        here = drawn.get(random.name)
        if here is None or here in b.names or any(_waits(program, b, arg) for arg in random.args):
            continue
        write(b, *random.args, equations=program.equations)
        name = b.fresh(random.name)
        given = "".join(f"{infix(arg)}, " for arg in random.args).removesuffix(", ")
        b.lines += [f"{INDENT}# {random.name} ~ {random.law}({given})", f"{INDENT}{name} = {draw_text(b, random)}"]
        b.names[here] = name
