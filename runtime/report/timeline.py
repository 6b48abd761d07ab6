"""What happens when: which equations fire at which step, which conditions hold, and the listing of the IR."""

from __future__ import annotations

from dotopt.compiler import ir
from dotopt.compiler.analysis.ranges import number_at
from dotopt.compiler.ir import Node, Program
from dotopt.compiler.ir.print import infix


def timeline(program: Program, steps: int) -> list[tuple[str, list[bool | None]]]:
    """For each state and parameter, whether its equation fires at t = 1 … `steps`; None where it cannot be told.

    An equation without `every` fires at every step; one with `otherwise` when it does not take that value.
    Hyperparameters have their defaults.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import lower
    >>> dict(timeline(lower(Library().file("Muon")), 3))
    {'M': [True, True, True], 'W': [True, True, True]}
    """
    nexts = [(state.name, state.next) for state in program.states] + list(program.next.items())
    table: list[tuple[str, list[bool | None]]] = []
    for name, next in nexts:
        if next is None:
            table.append((name, [False] * steps))
            continue
        gate = next.args[0] if next.op == "select" and next.args[0].op == "fires" else None
        table.append((name, [True if gate is None else _fires(gate, t, program) for t in range(1, steps + 1)]))
    return table


def _fires(gate: Node, t: int, program: Program) -> bool | None:
    period, start = (number_at(arg, t, program) for arg in gate.args)
    if period is None or start is None or period < 1:
        return None
    return t >= start and (t - start) % period == 0


def listing(program: Program) -> list[str]:
    """The IR, one node a line: a number for each shared node, its operation, and what it is called in the file."""
    names = program.names
    numbers: dict[Node, str] = {}
    lines: list[str] = []
    for root in program.roots or tuple(equation.node for equation in program.equations):
        for here in root.walk():
            if here in numbers:
                continue
            if here.op in ("leaf", "const", "bool"):
                numbers[here] = infix(here)
                continue
            numbers[here] = f"%{len(lines)}"
            args = ", ".join(numbers[arg] for arg in here.args)
            attrs = ", ".join(_short(attr) for attr in here.attrs)
            called = f"    # {names[here]}" if here in names else ""
            lines.append(f"{numbers[here]} = {here.op}({args}{'; ' + attrs if attrs else ''}) : {here.type}{called}")
    for state in program.states:
        if state.next is not None:
            lines.append(f"{state.name}' = {numbers[state.next]}")
    lines += [f"{name}' = {numbers[next]}" for name, next in program.next.items()]
    lines += [f"{name} = {numbers[value]}" for name, value in program.outputs.items()]
    if program.result is not None:
        lines.append(f"result = {numbers[program.result]}")
    return lines


def _short(attr: object) -> str:
    match attr:
        case ir.Loop(variables, nexts):
            return "; ".join(f"{v.name}' = {infix(n)}" for v, n in zip(variables, nexts, strict=True))
        case ir.Fold(kind, _, body):
            return f"{kind} of {infix(body)}"
        case ir.Lambda(variables, body):
            return f"{', '.join(v.name for v in variables)} -> {infix(body)}"
        case tuple():
            return f"({', '.join(map(_short, attr))})"
    return str(attr)
