"""All tokens of a stretch at once: elementwise states by a scan, low-rank memories in chunks, frozen ones as constants.

Where a state is sequential there is no such function, and the one for a token is called token by token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dotopt.compiler.emit.batched import Batched
from dotopt.compiler.emit.expression import infix
from dotopt.compiler.emit.token import (
    INDENT,
    fresh,
    open_function,
    reach,
    refuse,
    shown_as,
    token_text,
    write_equations,
    writer,
)
from dotopt.compiler.ir import Equation, Node, Program, State, leaf, node
from dotopt.compiler.recurrence import Affine, Solved, classify
from dotopt.grammar.spelling import ascii


def functions(program: Program) -> str:
    """The functions `token` and, unless a state is sequential, `stretch` of one specialisation."""
    refuse(program)
    parts = [token_text(program)]
    plan = _Plan.of(program)
    if plan is not None:
        parts.append(_stretch(program, plan))
    return "\n\n\n".join(parts) + "\n"


@dataclass(eq=False)
class _Plan:
    """How a stretch is computed: the states in order, and what is read of each low-rank memory."""

    solved: tuple[Solved, ...]
    reads: dict[str, list[tuple[Node, bool, Node]]]  # state -> (q, after the write, the leaf that stands for it)
    table: dict[Node, Node] = field(default_factory=dict)  # reads, and next values of memories -> leaves

    @staticmethod
    def of(program: Program) -> _Plan | None:
        """The plan; None if a state is sequential or a memory is read as a whole."""
        solved = classify(program)
        if any(x.kind == "sequential" for x in solved):
            return None
        if any(x.kind == "frozen" and x.state.kind == "first" and x.state.start.role != "state" for x in solved):
            return None
        plan = _Plan(solved, {})
        for x in solved:
            if x.kind == "low rank":
                plan._find_reads(program, x)
        for x in solved:
            if x.kind != "low rank":
                continue
            own = leaf("state", x.state.name, x.state.type)
            for root in _roots(program, x):
                left = set(outermost(root, plan.table).walk())
                if own in left or x.state.next in left:
                    return None
        return plan

    def _find_reads(self, program: Program, x: Solved) -> None:
        state = x.state
        own = leaf("state", state.name, state.type)
        found = self.reads.setdefault(state.name, [])
        stack, seen = _roots(program, x), set[Node]()
        while stack:
            here = stack.pop()
            if here in seen or here is state.next:  # the memory's own equation is not read, it is solved
                continue
            seen.add(here)
            if here.op == "matmul" and len(here.args[1].type.axes) == 1 and here not in self.table:
                memory, q = here.args
                if memory is own or memory is state.next:
                    stands = leaf("sequence", f"{state.name} read {len(found) + 1}", here.type)
                    found.append((q, memory is not own, stands))
                    self.table[here] = stands
                    stack.append(q)
                    continue
            stack.extend(here.children)


def outermost(root: Node, table: Mapping[Node, Node]) -> Node:
    """`root` with the nodes of `table` replaced where they stand outermost; what is inside them is not looked at."""
    done: dict[Node, Node] = dict(table)

    def changed(here: Node) -> Node:
        if here not in done:
            args = tuple(map(changed, here.args))
            same = all(a is b for a, b in zip(args, here.args, strict=True))
            done[here] = here if same else node(here.op, *args, attrs=here.attrs, span=here.span)
        return done[here]

    return changed(root)


def _roots(program: Program, solved: Solved) -> list[Node]:
    """Everything that is computed besides the memory's own next value."""
    roots = [*program.outputs.values()]
    for x in program.states:
        if x.name != solved.state.name:
            roots += [r for r in (x.next, x.start if x.kind == "first" else None) if r is not None]
    return roots


def recurrences(program: Program) -> tuple[tuple[str, str, str], ...]:
    """For `explain`: name, kind and reason of each state, and whether the parallel form is used."""
    whole = _Plan.of(program) is not None
    return tuple((x.state.name, x.kind if whole else "sequential", x.why) for x in classify(program))


def _stretch(program: Program, plan: _Plan) -> str:
    inputs = ", ".join(ascii(x.name) for x in program.inputs)
    b = writer(program, tokens=True)
    open_function(
        program, b, "stretch", inputs, "All tokens of a stretch at once; tokens are the last of the leading axes."
    )
    changed = _Changed(program, plan, b)
    for x in plan.solved:
        if x.kind == "frozen":
            changed.frozen(x)
    for x in plan.solved:
        if x.kind == "elementwise":
            changed.elementwise(x)
        elif x.kind == "low rank":
            changed.low_rank(x)
    outputs = {name: changed.root(root) for name, root in program.outputs.items()}
    for root in outputs.values():
        changed.equations(root)
    for x in plan.solved:
        changed.last(x)
    written = ", ".join(f'"{name}": {b.code(root)}' for name, root in outputs.items())
    b.lines.append(f"{INDENT}return {{{written}}}, later")
    return "\n".join(b.lines)


@dataclass(eq=False)
class _Changed:
    """Writes the equations of a stretch: reads of memories and solved states have variables of their own."""

    program: Program
    plan: _Plan
    b: Batched

    def root(self, here: Node) -> Node:
        """`here` with the reads of memories replaced."""
        return outermost(here, self.plan.table)

    def equations(self, root: Node) -> None:
        table = {
            self.root(e.node): Equation(e.name, self.root(e.node), e.span, e.primed)
            for e in reversed(self.program.equations)
        }
        write_equations(self.program, self.b, root, table)

    def frozen(self, x: Solved) -> None:
        own, name = leaf("state", x.state.name, x.state.type), ascii(x.state.name)
        slots = ", ".join(["None"] + [":"] * len(x.state.type.axes))
        stored = f'state["{x.state.name}"]'
        if x.state.kind == "first":
            stored = f'(state["{x.state.start.name}"] if first else {stored})'
        self.b.lines.append(f"{INDENT}{name} = {stored}[..., {slots}]  # {x.why}")
        self.b.names[own] = name

    def elementwise(self, x: Solved) -> None:
        state, b, next = x.state, self.b, x.state.next
        assert x.form is not None and next is not None
        name, axes = ascii(state.name), len(state.type.axes)
        later = fresh(b, f"{name}_next")
        decay, added = x.form.scale, _added(x.form)
        for part in (decay, added):
            if part is not None:
                self.equations(self.root(part))
        start = self._start(state)
        a = "None" if decay is None else b.fitted(self.root(decay), state.type)
        plus = f"torch.zeros_like({start}).unsqueeze({-axes - 1})"
        if added is not None:
            plus = b.fitted(self.root(added), state.type)
        text = plus if a == "None" else f"scan({a}, {plus}, {start}, {axes})"
        b.lines.append(f"{INDENT}# {self._label(state)}")
        b.lines.append(f"{INDENT}{later} = {text}")
        b.names[self.root(next)] = b.names[next] = later
        b.names[leaf("sequence", state.name, state.type)] = later
        own = leaf("state", state.name, state.type)
        if any(own in reach(self.root(r), b) for r in self._others(state)):
            b.lines.append(f"{INDENT}{name} = before({later}, {start}, {axes})")
            b.names[own] = name

    def _others(self, state: State) -> list[Node]:
        roots = [*self.program.outputs.values()]
        for x in self.plan.solved:
            if x.state.name == state.name:
                continue
            if x.form is not None:
                roots += [part for part in _parts(x.form) if part is not None]
            elif x.state.next is not None:
                roots.append(x.state.next)
        roots += [q for reads in self.plan.reads.values() for q, _, _ in reads]
        return roots

    def _start(self, state: State) -> str:
        stored = f'state["{state.name}"]'
        if state.kind != "first":
            return stored
        start = self.root(state.start)
        self.equations(start)
        slots = ", ".join(["0"] + [":"] * len(state.type.axes))
        name = fresh(self.b, f"{ascii(state.name)}_start")
        fitted = self.b.fitted(start, state.type, 4)
        self.b.lines.append(f"{INDENT}# {state.name} : first {shown_as(self.program, state.start)}")
        self.b.lines.append(f"{INDENT}{name} = {fitted}[..., {slots}] if first else {stored}")
        self.b.names[leaf("free", f"{state.name} start", state.type)] = name
        return name

    def low_rank(self, x: Solved) -> None:
        assert x.form is not None
        state, b = x.state, self.b
        reads = self.plan.reads[state.name]
        for part in (*_parts(x.form), *(q for q, _, _ in reads)):
            if part is not None:
                self.equations(self.root(part))
        decay = "None" if x.form.scale is None or x.form.scale.value == 1 else b.code(self.root(x.form.scale))
        b.lines.append(f"{INDENT}# {self._label(state)}")
        b.lines.append(f"{INDENT}#   = {_form(x.form, state.name)}")
        names = []
        for number, (_, _, stands) in enumerate(reads, start=1):
            name = fresh(b, f"{ascii(state.name)}_read{number}")
            b.names[stands] = name
            names.append(name)
        last = f"{ascii(state.name)}_last"
        b.lines.append(f"{INDENT}({', '.join(names)}{',' if names else ''}), {last} = low_rank(")
        b.lines.append(f"{INDENT * 2}{decay},")
        terms = []
        for pair in x.form.pairs:
            vectors = ("None" if x is None else b.code(self.root(x)) for x in (pair.p, pair.u, pair.y))
            terms.append(f"Pair({', '.join(vectors)})")
        b.lines.append(f"{INDENT * 2}[{', '.join(terms)}],")
        asked = ", ".join(f"Read({b.code(self.root(q))}, after={after})" for q, after, _ in reads)
        b.lines.append(f"{INDENT * 2}[{asked}],")
        b.lines.append(f'{INDENT * 2}state["{state.name}"], chunk,')
        b.lines.append(f"{INDENT})")

    def last(self, x: Solved) -> None:
        state, b = x.state, self.b
        axes = len(state.type.axes)
        end = ", ".join(["-1"] + [":"] * axes)
        match x.kind:
            case "elementwise":
                value = f"{ascii(state.name)}_next[..., {end}]"
            case "low rank":
                value = f"{ascii(state.name)}_last"
            case _ if state.next is None:
                value = f"{ascii(state.name)}[..., 0{', :' * axes}]"
            case _:
                assert x.period is not None
                written = self.root(state.next.args[1])
                self.equations(written)
                fired = f"{b.fitted(written, state.type, 4)}[..., {end}]"
                held = f"{ascii(state.name)}[..., 0{', :' * axes}]"
                value = f"{fired} if int(t[-1]) % {b.code(x.period, 1)} == 0 else {held}"
        b.lines.append(f'{INDENT}later["{state.name}"] = {value}')

    def _label(self, state: State) -> str:
        for equation in self.program.equations:
            if equation.primed and equation.name == state.name and equation.span is not None:
                return equation.span.text.strip().split("\n")[0]
        return f"{state.name}'"


def _parts(form: Affine) -> list[Node | None]:
    return [form.scale, form.rest, *(part for pair in form.pairs for part in (pair.p, pair.u, pair.y))]


def _added(form: Affine) -> Node | None:
    total = form.rest
    for pair in form.pairs:
        if pair.u is not None:
            term = node("outer", pair.u, pair.y)
            total = term if total is None else node("add", total, term)
    return total


def _form(form: Affine, name: str) -> str:
    terms = []
    if form.scale is not None:
        terms.append(name if form.scale.value == 1 else f"{infix(form.scale)}*{name}")
    for pair in form.pairs:
        inner = [f"{name} @ ({infix(pair.p)})"] if pair.p is not None else []
        inner += [infix(pair.u)] if pair.u is not None else []
        terms.append(f"outer({' + '.join(inner)}, {infix(pair.y)})")
    return " + ".join(terms)
