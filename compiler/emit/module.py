"""Rules over sequences as torch modules: one function for a token, one for all tokens of a stretch.

The first is the equations as they stand. The second follows `recurrence`: elementwise states by a scan, low-rank
memories in chunks, frozen ones as constants; where a state is sequential there is no second function and the first is
called token by token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

from dotopt.compiler import syntax as s
from dotopt.compiler.emit.batched import Batched
from dotopt.compiler.emit.expression import infix
from dotopt.compiler.emit.parts import equation_lines, header, hyper_text
from dotopt.compiler.errors import fail
from dotopt.compiler.ir import TIME, Equation, Input, Node, Program, Random, State, leaf, node
from dotopt.compiler.library import Library
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.recurrence import Affine, Solved, classify
from dotopt.compiler.types import REST
from dotopt.grammar.spelling import ascii

INDENT = "    "
COSTLY = {
    *("matmul", "outer", "exp", "log", "sin", "cos", "tanh", "erf", "sigmoid", "gelu", "sqrt", "sum", "norm", "mean"),
    *("element", "pow", "div", "mul", "add", "sub", "select", "inverse", "arange", "floor", "eq"),
}


def functions(program: Program) -> str:
    """The functions `token` and, unless a state is sequential, `stretch` of one specialisation."""
    _refuse(program)
    parts = [_token(program)]
    plan = _Plan.of(program)
    if plan is not None:
        parts.append(_stretch(program, plan))
    return "\n\n\n".join(parts) + "\n"


def _refuse(program: Program) -> None:
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
            if here.op in ("oracle", "apply", "fold", "argmin", "root", "cg", "window", "base", "claim"):
                raise fail("E601", here.span, construct=f"`{infix(here)}` in a rule over sequences")
            if here.role == "draw":
                raise fail("E601", program.decided_by, construct=f"the draw `{here.name}` at every token")


def start_draws(program: Program) -> tuple[State, ...]:
    """The states that begin with a draw."""
    return tuple(x for x in program.states if x.kind == "draw")


# ---- the module ------------------------------------------------------------------------------------------------------


def module(file: s.File, library: Library, origin: tuple[str, ...] | None = None) -> str:
    """The text of the module of a rule over sequences; raises `OptError` if a construct is not compiled yet."""
    whole = lower(file, Static(), library)
    texts: dict[tuple[bool | str, ...], str] = {}
    programs: dict[tuple[bool | str, ...], Program] = {}
    for options in product(*(option.values for option in whole.options)):
        given = {option.name: value for option, value in zip(whole.options, options, strict=True)}
        programs[options] = lower(file, Static(given), library)
        texts[options] = functions(programs[options])
    distinct = list(dict.fromkeys(texts.values()))
    suffix = {text: str(i + 1) if len(distinct) > 1 else "" for i, text in enumerate(distinct)}
    body = [
        text.replace("def token(", f"def token{mark}(").replace("def stretch(", f"def stretch{mark}(")
        for text, mark in suffix.items()
    ]
    table = [f"        {options!r}: {_functions_row(programs[options], texts[options], suffix)}," for options in texts]
    code = "\n\n".join(body)
    words = ["Functions", "Input", "Memory", "SequenceModule", "SequenceRule"]
    words += [w for w in ("Pair", "Read", "attend", "attend_token", "before", "low_rank", "scan") if f"{w}(" in code]
    imports = ["import math", ""] if "math." in code else []
    imports += ["import torch"]
    imports += ["from torch.nn import functional"] if "functional." in code else []
    imports += ["", *(["from dotopt.runtime import scalars"] if "scalars." in code else [])]
    rule_words = sorted({w for w in ("Hyper", "Option") if (whole.hypers if w == "Hyper" else whole.options)})
    imports += [f"from dotopt.runtime.rule import {', '.join(rule_words)}"] if rule_words else []
    imports += ["from dotopt.runtime.sequence import (", *(f"    {w}," for w in sorted(words)), ")"]
    return "\n".join((
        header(file, whole), "", *imports, "", f"__all__ = [{whole.name!r}]", "", "", code.rstrip(), "", "",
        *_class_lines(file, whole, table, origin), "",
    ))


def _functions_row(program: Program, text: str, suffix: Mapping[str, str]) -> str:
    mark = suffix[text]
    stretch = f"stretch{mark}" if "def stretch(" in text else "None"
    memories = "".join(f"{_memory(x, program)}, " for x in program.states)
    solved = classify(program)
    periods = sorted({_period(x) for x in solved if x.period is not None}) if stretch != "None" else []
    reasons = {name: f"{kind}: {why}" for name, kind, why in recurrences(program)}
    return f"Functions(token{mark}, {stretch}, ({memories}), ({''.join(f'{p}, ' for p in periods)}), {reasons!r})"


def _period(x: Solved) -> str:
    period = x.period
    assert period is not None
    if period.role == "hyper":
        return repr(period.name)
    if period.value is not None:
        return str(int(period.value))
    raise fail("E601", period.span, construct=f"the period `{infix(period)}`")


def _memory(state: State, program: Program) -> str:
    axes = f"{state.type.axes!r}"
    if state.kind == "draw":
        random = next(r for r in program.randoms if r.name == f"{state.name} at the start")
        return f"Memory({state.name!r}, {axes}, {_drawn(random)})"
    if state.kind == "first" or state.start.value == 0:
        return f"Memory({state.name!r}, {axes})"
    if state.start.op == "eye":
        return f"Memory({state.name!r}, {axes}, 'eye')"
    if state.start.value is not None:
        return f"Memory({state.name!r}, {axes}, {float(state.start.value)!r})"
    raise fail("E601", state.start.span, construct=f"the start `{infix(state.start)}` of `{state.name}`")


def _drawn(random: Random) -> str:
    def number(here: Node) -> str:
        names = {x: f"sizes[{x.name!r}]" for x in here.walk() if x.role == "axis"}
        names |= {x: f"hyper[{x.name!r}]" for x in here.walk() if x.role == "hyper"}
        return Batched(dict(names), {}).code(here)

    match random.law, random.args:
        case "normal", (mean, deviation):
            value = f"{number(mean)} + ({number(deviation)})*torch.randn(shape, generator=generator)"
        case "uniform", (low, high):
            value = f"{number(low)} + ({number(high)} - {number(low)})*torch.rand(shape, generator=generator)"
        case _:
            raise fail("E601", None, construct=f"a state that starts with `~ {random.law}`")
    return f"lambda shape, sizes, generator, hyper: {value}"


def _class_lines(file: s.File, program: Program, table: list[str], origin: tuple[str, ...] | None) -> list[str]:
    inputs = "".join(f"Input({x.name!r}, {ascii(x.name)!r}, {x.type.axes!r}), " for x in program.inputs)
    outputs = "".join(f"{name!r}, " for name in program.outputs)
    return [
        f"class {program.name}(SequenceModule):",
        f'    """{(program.docstring or program.name).strip()}"""',
        "",
        f"    origin = {origin!r}",
        "    rule = SequenceRule(",
        f"        name={program.name!r},",
        f"        doc={(program.docstring or '')!r},",
        f"        source={(program.source or '')!r},",
        "        text=(",
        *(f"            {line!r}" for line in equation_lines(file, program)),
        "        ),",
        f"        inputs=({inputs}),",
        f"        outputs=({outputs}),",
        "        hypers=(",
        *(f"            {hyper_text(hyper, program)}," for hyper in program.hypers),
        "        ),",
        "        options=(",
        *(f"            Option({o.name!r}, {o.keyword!r}, {o.values!r}, {o.default!r})," for o in program.options),
        "        ),",
        "        functions={",
        *(f"    {row}" for row in table),
        "        },",
        "    )",
    ]


# ---- one token -------------------------------------------------------------------------------------------------------


def _token(program: Program) -> str:
    inputs = ", ".join(ascii(x.name) for x in program.inputs)
    b = _writer(program, tokens=False)
    lines = b.lines
    _open(program, b, "token", inputs, "One token: the outputs and the next state.")
    for state in program.states:
        name = ascii(state.name)
        own = leaf("state", state.name, state.type)
        lines.append(f'{INDENT}{name} = state["{state.name}"]')
        b.names[own] = name
    for state in program.states:
        if state.kind == "first":
            _equations(program, b, state.start)
            name = ascii(state.name)
            lines.append(f"{INDENT}# {state.name} : first {_shown(program, state.start)}")
            lines.append(f"{INDENT}{name} = {b.code(state.start)} if first else {name}")
    for root in (*program.outputs.values(), *(x.next for x in program.states if x.next is not None)):
        _equations(program, b, root)
    for state in program.states:
        value = ascii(state.name) if state.next is None else b.code(state.next)
        lines.append(f'{INDENT}later["{state.name}"] = {value}')
    _close(program, b)
    return "\n".join(lines)


def _writer(program: Program, tokens: bool) -> Batched:
    sizes: dict[str, str] = {}
    for x in program.inputs:
        for i, axis in enumerate(x.type.axes):
            sizes.setdefault(axis, f"{ascii(x.name)}.shape[{i - len(x.type.axes)}]")
    for hyper in program.hypers:
        sizes.setdefault(hyper.name, ascii(hyper.name))
    for state in program.states:
        for i, axis in enumerate(state.type.axes):
            sizes.setdefault(axis, f'state["{state.name}"].shape[{i - len(state.type.axes)}]')
    return Batched({}, sizes, tokens=tokens)


def _open(program: Program, b: Batched, function: str, inputs: str, docstring: str) -> None:
    hypers = [ascii(h.name) for h in program.hypers if _uses(program, h.name)]
    arguments = f"{inputs}, state, t, first, hyper" + (", chunk" if function == "stretch" else "")
    b.lines.append(f"def {function}({arguments}):")
    b.lines.append(f'{INDENT}"""{docstring}"""')
    for name, hyper in zip(hypers, (h for h in program.hypers if _uses(program, h.name)), strict=True):
        b.lines.append(f'{INDENT}{name} = hyper["{hyper.name}"]')
    if _needs_device(program):
        example = program.inputs[0]
        b.lines.append(f"{INDENT}dtype, device = {ascii(example.name)}.dtype, {ascii(example.name)}.device")
    b.lines.append(f"{INDENT}later = {{}}")
    b.names[TIME] = "t"
    for x in program.inputs:
        b.names[leaf("input", x.name, x.type)] = ascii(x.name)


def _uses(program: Program, name: str) -> bool:
    return any(x.role == "hyper" and x.name == name for root in program.roots for x in root.walk())


def _needs_device(program: Program) -> bool:
    return any(x.op in ("eye", "arange") for root in program.roots for x in root.walk())


def _close(program: Program, b: Batched) -> None:
    outputs = ", ".join(f'"{name}": {b.code(root)}' for name, root in program.outputs.items())
    b.lines.append(f"{INDENT}return {{{outputs}}}, later")


def _equations(program: Program, b: Batched, root: Node, equations: Mapping[Node, Equation] | None = None) -> None:
    """Writes what `root` needs, each once, in order: named equations, and costly values that are used twice."""
    table = {e.node: e for e in reversed(program.equations)} if equations is None else equations
    reached = _reach(root, b)
    uses = Counter(arg for here in reached if here not in b.names for arg in set(here.args))
    for here in reached:
        if here in b.names or here.op in ("leaf", "const", "bool", "loop"):
            continue
        if here in table:
            _write(program, b, table[here])
        elif uses[here] > 1 and here.op in COSTLY and b.is_tensor(here):
            name = _fresh(b, "part")
            shown = infix(here, program.names)
            b.lines.append(f"{b.indent}{name} = {b.code(here)}" + (f"  # {shown}" if len(shown) < 60 else ""))
            b.names[here] = name


def _reach(root: Node, b: Batched) -> list[Node]:
    """What has to be computed for `root`, arguments first; what has a variable already is not looked into."""
    found: list[Node] = []
    seen: set[Node] = set()
    stack = [(root, False)]
    while stack:
        here, done = stack.pop()
        if done:
            found.append(here)
        elif here not in seen:
            seen.add(here)
            stack.append((here, True))
            if here not in b.names and here.op != "loop":
                stack.extend((arg, False) for arg in reversed(here.args))
    return found


def _write(program: Program, b: Batched, equation: Equation) -> None:
    here = equation.node
    name = _fresh(b, ascii(equation.name) + ("_next" if equation.primed else ""))
    text = equation.span.text.strip().split("\n")[0] if equation.span is not None else ""
    if here.op == "item" and here.args[0].op == "loop":  # the loop writes its own lines
        b.text(here)
        return
    value = b.code(here)
    if text:
        b.lines.append(f"{b.indent}# {text}")
    b.lines.append(f"{b.indent}{name} = {value}")
    b.names[here] = name


def _fresh(b: Batched, name: str) -> str:
    taken = set(b.names.values())
    count = 2
    chosen = name
    while chosen in taken:
        chosen = f"{name}_{count}"
        count += 1
    return chosen


def _shown(program: Program, root: Node) -> str:
    return program.names.get(root) or infix(root, program.names)


# ---- all tokens of a stretch -----------------------------------------------------------------------------------------


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
    b = _writer(program, tokens=True)
    _open(program, b, "stretch", inputs, "All tokens of a stretch at once; tokens are the last of the leading axes.")
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
        _equations(self.program, self.b, root, table)

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
        later = _fresh(b, f"{name}_next")
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
        if any(own in _reach(self.root(r), b) for r in self._others(state)):
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
        name = _fresh(self.b, f"{ascii(state.name)}_start")
        fitted = self.b.fitted(start, state.type, 4)
        self.b.lines.append(f"{INDENT}# {state.name} : first {_shown(self.program, state.start)}")
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
            name = _fresh(b, f"{ascii(state.name)}_read{number}")
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
