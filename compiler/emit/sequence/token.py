"""One token of a rule over sequences: the equations as they stand, costly values named once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from dotopt.compiler.emit.parts import comment, docstring
from dotopt.compiler.emit.sequence.batched import Batched
from dotopt.compiler.ir import FUNCTIONS, TIME, Equation, Input, Node, Program, State, leaf
from dotopt.compiler.ir.print import infix
from dotopt.compiler.ir.program import at_its_places
from dotopt.compiler.ops.types import REST
from dotopt.compiler.text.errors import fail
from dotopt.grammar.spelling import ascii

INDENT = "    "
CHEAP = ("neg", "abs", "sign", "relu")  # functions that are written again where they are used again
COSTLY = {
    *(op for op in FUNCTIONS if op not in CHEAP), *("matmul", "outer", "sum", "norm", "mean", "element", "pow", "div"),
    *("mul", "add", "sub", "select", "inverse", "arange", "eq", "apply"),
}  # fmt: skip


@at_its_places
def refuse(program: Program) -> None:
    """E601 for what a sequence module cannot do yet, naming the construct."""
    given: tuple[Input | State, ...] = (*program.inputs, *program.states)
    for x in given:
        if REST in x.type.axes:
            raise fail("E601", program.decided_by, construct=f"`{x.name} : {x.type}` in a rule over sequences")
        if x.indices:
            raise fail("E601", program.decided_by, construct=f"the family `{x.name}[{x.indices[0][0]}]` over sequences")
        if x.type.kind in ("list", "sample", "complex"):
            raise fail("E601", program.decided_by, construct=f"`{x.name} : {x.type}` in a rule over sequences")
    for root in program.roots:
        for here in root.walk():
            if here.op in ("oracle", "fold", "argmin", "root", "cg", "base", "claim"):
                text = here.span.text if here.span is not None else infix(here)
                raise fail("E601", here.span, construct=f"`{' '.join(text.split())}` in a rule over sequences")
            if here.role == "draw":
                raise fail("E601", program.decided_by, construct=f"the draw `{here.name}` at every token")


def start_draws(program: Program) -> tuple[State, ...]:
    """The states that begin with a draw."""
    return tuple(x for x in program.states if x.kind == "draw")


@at_its_places
def token_text(program: Program) -> str:
    b = writer(program, tokens=False)
    lines = b.lines
    open_function(program, b, "token", "One token: the outputs and the next state.")
    for state in program.states:
        name = b.names[own_leaf(state)] = b.fresh(ascii(state.name))
        lines.append(f'{INDENT}{name} = state["{state.name}"]')
    for state in first_states(program):
        write_equations(program, b, state.start)
        name = b.names[own_leaf(state)]
        lines.append(f"{INDENT}# {state.name} : first {shown_as(program, state.start)}")
        lines.append(f"{INDENT}{name} = choose(first, {b.fitted(state.start, state.type)}, {name})")
    for root in (*program.outputs.values(), *(x.next for x in program.states if x.next is not None)):
        write_equations(program, b, root)
    for state in program.states:
        name = b.names[own_leaf(state)]
        value = name if state.next is None else b.code(state.next)
        if state.next is not None and not b.long(state.next):
            value = f"choose(True, {value}, {name})"  # what is the same for all sequences
        lines.append(f'{INDENT}later["{state.name}"] = {value}')
    _close(program, b)
    return "\n".join(lines)


def own_leaf(state: State) -> Node:
    """What stands for a state before the token."""
    return leaf("state", state.name, state.type)


@at_its_places
def first_states(program: Program) -> list[State]:
    """The states whose start is computed at the first token, each after those that its start reads."""
    waiting = [x for x in program.states if x.kind == "first"]
    order: list[State] = []
    while waiting:
        needed = {own_leaf(x) for x in waiting}
        free = next((x for x in waiting if not needed & (set(x.start.walk()) - {own_leaf(x)})), None)
        if free is None:
            names = " and ".join(f"`{x.name}`" for x in waiting)
            raise fail("E601", waiting[0].start.span, construct=f"the starts of {names}, which need each other,")
        order.append(free)
        waiting.remove(free)
    return order


def writer(program: Program, tokens: bool) -> Batched:
    """A writer that knows the arguments of a generated function: a variable for each name that the file declares."""
    sizes: dict[str, str] = {}
    b = Batched({TIME: "t"}, sizes, tokens=tokens)
    for x in program.inputs:
        name = b.names[leaf("input", x.name, x.type)] = b.fresh(ascii(x.name))
        for i, axis in enumerate(x.type.axes):
            sizes.setdefault(axis, f"{name}.shape[{i - len(x.type.axes)}]")
    example = program.inputs[0]
    places = ", ".join(["...", *["0"] * len(example.type.axes)])
    b.example = b.names[leaf("input", example.name, example.type)] + (f"[{places}]" if example.type.axes else "")
    b.functions = {x.name: b.fresh(ascii(x.name)) for x in program.callables}
    for hyper in program.hypers:
        name, leaves = b.fresh(ascii(hyper.name)), _hyper_leaves(program, hyper.name)
        b.names |= dict.fromkeys(leaves, name)
        sizes.setdefault(hyper.name, name if leaves else f'hyper["{hyper.name}"]')
    for state in program.states:
        for i, axis in enumerate(state.type.axes):
            sizes.setdefault(axis, f'state["{state.name}"].shape[{i - len(state.type.axes)}]')
    return b


def open_function(program: Program, b: Batched, function: str, text: str) -> None:
    """The head, and the lines that give the hyperparameters their names."""
    inputs = [b.names[leaf("input", x.name, x.type)] for x in program.inputs]
    arguments = ", ".join((*inputs, *b.functions.values(), "state", "t", "first", "hyper"))
    chunk = ", chunk" if function == "stretch" else ""
    b.lines.append(f"def {function}({arguments}{chunk}, keep=None):")
    b.lines.append(INDENT + docstring(text))
    for hyper in program.hypers:
        for here in _hyper_leaves(program, hyper.name)[:1]:
            b.lines.append(f'{INDENT}{b.names[here]} = hyper["{hyper.name}"]')
    b.lines.append(f"{INDENT}later = {{}}")


def _hyper_leaves(program: Program, name: str) -> list[Node]:
    """The leaves of a hyperparameter in what is computed."""
    found = dict.fromkeys(x for root in program.roots for x in root.walk() if x.role == "hyper" and x.name == name)
    return list(found)


def _close(program: Program, b: Batched) -> None:
    outputs = ", ".join(f'"{name}": {b.at_each(root)}' for name, root in program.outputs.items())
    b.lines.append(f"{INDENT}return {{{outputs}}}, later")
    tell_device(b)


def tell_device(b: Batched) -> None:
    """The line that says where tensors are made, if the text makes any."""
    if any("device=device" in line for line in b.lines):
        example = b.example.partition("[")[0]  # the first argument
        place = b.lines.index(f"{INDENT}later = {{}}")
        b.lines.insert(place, f"{INDENT}dtype, device = {example}.dtype, {example}.device")


def write_equations(program: Program, b: Batched, root: Node, equations: Mapping[Node, Equation] | None = None) -> None:
    """Writes what `root` needs, each once, in order: named equations, and costly values that are used twice."""
    table = {e.node: e for e in reversed(program.equations)} if equations is None else equations
    reached = reach(root, b)
    uses = Counter(arg for here in reached if here not in b.names for arg in set(here.args))
    for here in reached:
        if here in b.names or here.op in ("leaf", "const", "bool", "loop"):
            continue
        if here in table:
            write_equation(program, b, table[here])
        elif uses[here] > 1 and here.op in COSTLY and b.is_tensor(here):
            name = b.fresh("part")
            shown = infix(here, program.names)
            b.lines.append(f"{b.indent}{name} = {b.code(here)}" + (f"  # {shown}" if len(shown) < 60 else ""))
            b.names[here] = name


def reach(root: Node, b: Batched) -> list[Node]:
    """What has to be computed for `root`, arguments first; what has a variable already is not looked into."""
    return below((root,), lambda here: () if here in b.names else here.args)


def below(roots: Iterable[Node], reads: Callable[[Node], Sequence[Node]]) -> list[Node]:
    """All that `roots` read, each once, and what it reads before it."""
    found: list[Node] = []
    seen: set[Node] = set()
    stack = [(root, False) for root in reversed(tuple(roots))]
    while stack:
        here, done = stack.pop()
        if done:
            found.append(here)
        elif here not in seen:
            seen.add(here)
            stack.append((here, True))
            stack.extend((child, False) for child in reversed(reads(here)))
    return found


def write_equation(program: Program, b: Batched, equation: Equation) -> None:
    here = equation.node
    text = equation.span.text.strip().split("\n")[0] if equation.span is not None else ""
    if here.op == "item" and here.args[0].op == "loop":  # the loop writes its own lines
        b.text(here)
        return
    value = b.code(here)
    name = b.fresh(ascii(equation.name) + ("_next" if equation.primed else ""))
    if text:
        b.lines.append(b.indent + comment(text))
    b.lines.append(f"{b.indent}{name} = {value}")
    b.names[here] = name


@at_its_places
def shown_as(program: Program, root: Node) -> str:
    return program.names.get(root) or infix(root, program.names)
