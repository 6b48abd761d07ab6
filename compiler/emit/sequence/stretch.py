"""All tokens of a stretch at once: entrywise states by a scan, memories of low rank in chunks, frozen ones unchanged.

Each value is written when the first line that needs it is. Where a state is sequential there is no such function, and
the one for a token is called token by token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from dotopt.compiler.analysis.affine import added, kept
from dotopt.compiler.analysis.recurrence import Group, Recurrences, Solved, recurrences
from dotopt.compiler.emit.parts import comment
from dotopt.compiler.emit.sequence.batched import Batched
from dotopt.compiler.emit.sequence.token import (
    INDENT,
    first_states,
    open_function,
    own_leaf,
    refuse,
    shown_as,
    tell_device,
    token_text,
    write_equations,
    writer,
)
from dotopt.compiler.ir import Equation, Node, Program, State, leaf, node
from dotopt.compiler.ir.print import infix
from dotopt.compiler.ir.program import at_its_places
from dotopt.grammar.spelling import ascii


@at_its_places
def functions(program: Program) -> str:
    """The functions `token` and, unless a state is sequential, `stretch` of one specialisation."""
    refuse(program)
    found = recurrences(program)
    parts = [token_text(found.program)]
    if found.parallel:
        parts.append(_stretch(found.program, found))
    return "\n\n\n".join(parts) + "\n"


def outermost(root: Node, table: Mapping[Node, Node]) -> Node:
    """`root` with the nodes of `table` replaced where they stand outermost; what is inside them is not looked at."""
    done: dict[Node, Node] = dict(table)
    stack = [root]
    while stack:  # no recursion: a rule may have hundreds of equations one after the other
        here = stack[-1]
        waiting = [] if here in done else [arg for arg in here.args if arg not in done]
        stack += waiting
        if waiting:
            continue
        stack.pop()
        if here not in done:
            args = tuple(done[arg] for arg in here.args)
            same = all(a is b for a, b in zip(args, here.args, strict=True))
            done[here] = here if same else node(here.op, *args, attrs=here.attrs, span=here.span)
    return done[root]


def _stretch(program: Program, found: Recurrences) -> str:
    b = writer(program, tokens=True)
    open_function(program, b, "stretch", "All tokens of a stretch at once; tokens are the last of the leading axes.")
    writing = _Writing(program, found, b, _starts(program, b))
    for x in found.solved:
        if x.kind == "frozen":
            writing.frozen(x)
    outputs = {name: writing.root(root) for name, root in program.outputs.items()}
    for root in outputs.values():
        writing.equations(root)
    for x in found.solved:
        writing.last(x)
    written = ", ".join(f'"{name}": {b.at_each(root)}' for name, root in outputs.items())
    b.lines.append(f"{INDENT}return {{{written}}}, later")
    tell_device(b)
    return "\n".join(b.lines)


def _starts(program: Program, b: Batched) -> dict[str, str]:
    """The code of what each state is before the stretch; where it may begin there, that is computed on one token.

    It is written on the inputs of the first token, so that a start means here what it means in `token`.
    """
    code = {x.name: f'state["{x.name}"]' for x in program.states}
    one = Batched({own_leaf(x): code[x.name] for x in program.states}, b.sizes, b.lines, variables=b.variables)
    one.functions = b.functions
    one.names |= {here: name for here, name in b.names.items() if here.role == "hyper"}
    for state in first_states(program):
        for x in program.inputs:
            own = leaf("input", x.name, x.type)
            if own not in one.names and own in state.start.walk():
                name = b.fresh(f"{ascii(x.name)}_first")
                b.lines.append(f"{INDENT}{name} = at_first({b.names[own]}, {len(x.type.axes)}, keep)")
                one.names[own] = name
        write_equations(program, one, state.start)
        name = b.fresh(f"{ascii(state.name)}_start")
        b.lines.append(f"{INDENT}# {state.name} : first {shown_as(program, state.start)}")
        b.lines.append(f"{INDENT}{name} = choose(first, {one.fitted(state.start, state.type)}, {code[state.name]})")
        code[state.name] = one.names[own_leaf(state)] = name
    return code


@dataclass(eq=False)
class _Writing:
    """Writes the equations of a stretch: what is read of memories and the solved states have variables of their own."""

    program: Program
    found: Recurrences
    b: Batched
    starts: dict[str, str]  # the code of what each state is before the stretch
    groups: dict[Group, str] = field(default_factory=dict)  # variables
    scanned: set[str] = field(default_factory=set)

    def root(self, here: Node) -> Node:
        """`here` with the leaves for what is read of memories."""
        return outermost(here, self.found.table)

    def equations(self, root: Node) -> None:
        """Writes what `root` needs, each once."""
        self.needed(root)
        table = {
            self.root(e.node): Equation(e.name, self.root(e.node), e.span, e.primed)
            for e in reversed(self.program.equations)
        }
        write_equations(self.program, self.b, root, table)

    def needed(self, root: Node) -> None:
        """Writes the states and the reads of memories that `root` is computed from."""
        nexts = {self.root(x.state.next): x for x in self.found.solved if x.scanned and x.state.next}
        stack, seen = [root], set[Node]()
        while stack:
            here = stack.pop()
            if here in seen or here in self.b.names:
                continue
            seen.add(here)
            if here in self.found.reads:
                self.read(here)
            elif here in nexts and nexts[here].state.name not in self.scanned:
                self.state(nexts[here].state.name)
            elif here.role in ("state", "sequence") and kept(here) is None:
                self.state(here.name.removesuffix(" at the end"))
            stack.extend(here.children)

    def state(self, name: str) -> None:
        x = next(x for x in self.found.solved if x.state.name == name)
        if x.group is not None:
            self.group(x.group)
        elif x.scanned and name not in self.scanned:
            self.scanned |= {name, *(y.name for y in x.partners)}
            {"elementwise": self.elementwise, "coupled": self.coupled, "max-plus": self.peaks}[x.kind](x)

    def frozen(self, x: Solved) -> None:
        name = self.b.fresh(ascii(x.state.name))
        slots = ", ".join(["None"] + [":"] * len(x.state.type.axes))
        self.b.lines.append(f"{INDENT}{name} = {self.starts[x.state.name]}[..., {slots}]  # {x.why}")
        self.b.names[own_leaf(x.state)] = name
        self.b.steady.add(own_leaf(x.state))

    def elementwise(self, x: Solved) -> None:
        state, b = x.state, self.b
        assert x.form is not None
        decay, plus = x.form.scale.get(state.name), added(x.form)
        self.written(decay, plus)
        text = f"{self.factor(decay, state)}, {self.plus(plus, state)}, {self.starts[state.name]}"
        later = b.fresh(f"{ascii(state.name)}_next")
        b.lines.append(INDENT + comment(self.label(state)))
        b.lines.append(f"{INDENT}{later} = scan({text}, {len(state.type.axes)}, keep)")
        self.known(state, later)

    def peaks(self, x: Solved) -> None:
        """The largest value so far, of what fades."""
        state, b = x.state, self.b
        assert x.peak is not None
        self.written(*x.peak)
        text = f"{self.factor(x.peak[0], state)}, {self.plus(x.peak[1], state)}, {self.starts[state.name]}"
        later = b.fresh(f"{ascii(state.name)}_next")
        b.lines.append(INDENT + comment(self.label(state)))
        b.lines.append(f"{INDENT}{later} = peaks({text}, {len(state.type.axes)}, keep)")
        self.known(state, later)

    def coupled(self, x: Solved) -> None:
        """States that mix entry by entry, all of them."""
        b, solved = self.b, {y.state.name: y for y in self.found.solved}
        forms = [form for y in x.partners if (form := solved[y.name].form) is not None]
        self.written(*(part for form in forms for part in (*form.scale.values(), added(form))))
        mix = ", ".join(
            f"[{', '.join(self.factor(form.scale.get(other.name), x.state) for other in x.partners)}]" for form in forms
        )
        plus = [self.plus(added(form), y) for form, y in zip(forms, x.partners, strict=True)]
        starts = [self.starts[y.name] for y in x.partners]
        later = [b.fresh(f"{ascii(y.name)}_next") for y in x.partners]
        b.lines += [INDENT + comment(self.label(y)) for y in x.partners]
        b.lines.append(f"{INDENT}{', '.join(later)} = together(")
        b.lines += [f"{INDENT * 2}[{part}]," for part in (mix, ", ".join(plus), ", ".join(starts))]
        b.lines += [f"{INDENT * 2}{len(x.state.type.axes)}, keep,", f"{INDENT})"]
        for y, name in zip(x.partners, later, strict=True):
            self.known(y, name)

    def written(self, *parts: Node | None) -> None:
        """Writes what the coefficients of a scan need."""
        for part in parts:
            if part is not None:
                self.equations(self.root(part))

    def factor(self, part: Node | None, state: State) -> str:
        """The text of what a state is multiplied by, or raised by, with the axes of the state."""
        return "None" if part is None else self.b.fitted(self.root(part), state.type)

    def plus(self, part: Node | None, state: State) -> str:
        """The text of what is added at every token: it has the sizes of the state."""
        text = "0" if part is None else self.b.fitted(self.root(part), state.type)
        if part is None or not self.b.long(self.root(part)) or part.type.axes != state.type.axes:
            return f"every({text}, {self.b.example}, {len(state.type.axes)}, {self.starts[state.name]})"
        return text

    def known(self, state: State, later: str) -> None:
        """The variable `later` holds the state after every token; writes what it was before, if that is read."""
        b, next, start, axes = self.b, state.next, self.starts[state.name], len(state.type.axes)
        assert next is not None
        b.names[self.root(next)] = b.names[next] = later
        b.names[leaf("sequence", state.name, state.type)] = later
        own = own_leaf(state)
        if self.read_before(own):
            name = b.fresh(ascii(state.name))
            b.lines.append(f"{INDENT}{name} = before({later}, {start}, {axes})")
            b.names[own] = name

    def read_before(self, own: Node) -> bool:
        """Whether anything needs the values that the state had before each token."""
        found = self.found
        roots = [*self.program.outputs.values(), *(q.q for q in found.reads.values())]
        for x in found.solved:
            if x.scanned and x.state.name != own.name:
                roots += x.parts
            elif x.period is not None and x.state.next is not None:
                roots.append(x.state.next.args[1])
        roots += [part for group in found.groups for part in group.parts]
        return any(own in self.root(root).walk() for root in roots)

    def group(self, group: Group) -> None:
        if group in self.groups:
            return
        b = self.b
        self.groups[group] = name = b.fresh(f"{ascii(group.name)}_chunks")
        b.names[leaf("free", name)] = name
        parts = tuple(self.root(part) for part in group.parts)
        self.equations(node("tuple", *parts))
        for state in group.states:
            b.lines.append(INDENT + comment(self.label(state)))
        b.lines += [f"{INDENT}#   {line}" for line in shown(group)]

        alike: set[Node] = set()

        def code(part: Node | None) -> str:
            if part is not None and part.type.axes and part not in alike and not b.long(self.root(part)):
                return b.at_each(self.root(part))
            if part is not None and part.op == "mul" and part not in b.names and not b.is_tensor(part.args[0]):
                return f"times({', '.join(b.code(self.root(arg)) for arg in part.args)})"
            return "None" if part is None else b.code(self.root(part))

        for part, count in Counter(parts).items():  # the same vector for two memories
            if count > 1 and part not in b.names and part.op != "leaf":
                shared = b.fresh("part")
                b.lines.append(f"{INDENT}{shared} = {b.at_each(part) if part.type.axes else b.code(part)}")
                b.names[part] = shared
                alike.add(part)
        turn = ".mT" if group.transposed else ""
        starts = ", ".join(f"{self.starts[x.name]}{turn}" for x in group.states)
        mix = ", ".join(f"[{', '.join(map(code, row))}]" for row in group.mix)
        columns = [] if group.decay is None else [f"decay={code(group.decay)}"]
        mix = mix if group.decay is None else "[1]"
        terms = []
        for term in group.terms:
            p, y = (f"[{', '.join(map(code, vectors))}]" for vectors in (term.p, term.y))
            terms.append(f"Term({p}, {code(term.u)}, {y}{', several=True' * (term.window is not None)})")
        lines = [f"{name} = Chunks(", f"{INDENT}[{starts}],", f"{INDENT}[{mix}],"]
        lines += [f"{INDENT}[{', '.join(terms)}],", f"{INDENT}{', '.join(('chunk', 'keep', *columns))},", ")"]
        b.lines += [INDENT + line for line in lines]
        for i, state in enumerate(group.states):
            b.names[leaf("sequence", f"{state.name} at the end", state.type)] = f"{name}.last[{i}]{turn}"

    def read(self, stands: Node) -> None:
        """A product of a memory with a vector at every token."""
        read, b = self.found.reads[stands], self.b
        group = next(g for g in self.found.groups if any(x.name == read.state for x in g.states))
        self.group(group)
        q = self.root(read.q)
        self.equations(q)
        more = ("" if read.after else ", after=False") + (", transposed=True" * (read.transposed != group.transposed))
        text = f"{self.groups[group]}.read({group.index(read.state)}, {b.at_each(q)}{more})"
        b.names[stands] = text
        named = next((e for e in self.program.equations if self.root(e.node) is stands), None)
        if named is None:
            name = b.fresh(f"{ascii(read.state)}_read")
            prime, turned = "'" * read.after, "ᵀ" * read.transposed
            b.lines.append(f"{INDENT}{name} = {text}  # {read.state}{prime}{turned} @ {infix(q, self.program.names)}")
        else:
            name = b.fresh(ascii(named.name) + "_next" * named.primed)
            if named.span is not None:
                b.lines.append(INDENT + comment(named.span.text))
            b.lines.append(f"{INDENT}{name} = {text}")
        b.names[stands] = name

    def last(self, x: Solved) -> None:
        state, b = x.state, self.b
        axes = len(state.type.axes)
        end = ", ".join(["-1"] + [":"] * axes)
        match x.kind:
            case "elementwise" | "coupled" | "max-plus" | "low rank":
                self.state(state.name)
                value = f"{b.names.get(leaf('sequence', state.name, state.type), '')}[..., {end}]"
                if x.group is not None:
                    value = b.names[leaf("sequence", f"{state.name} at the end", state.type)]
            case _ if x.period is None or state.next is None:
                value = self.starts[state.name]
            case _:
                written = self.root(state.next.args[1])
                self.equations(written)
                atend = written.role == "sequence" and written.name.endswith(" at the end")
                new = b.code(written) if atend else f"{b.fitted(written, state.type, 4)}[..., {end}]"
                if not atend and not b.long(written):
                    new = f"{b.at_each(written, self.starts[state.name])}[..., {end}]"
                held = f"{b.names[own_leaf(state)]}[..., 0{', :' * axes}]"
                fires = f'(state["t"] + t.shape[0]) % {b.code(x.period, 1)} == 0'
                value = f"held({new}, {held}, {axes}, keep) if {fires} else {held}"
        b.lines.append(f'{INDENT}later["{state.name}"] = {value}')

    def label(self, state: State) -> str:
        for equation in self.program.equations:
            if equation.primed and equation.name == state.name and equation.span is not None:
                return equation.span.text.strip().split("\n")[0]
        return f"{state.name}'"


def shown(group: Group) -> tuple[str, ...]:
    """The transition of each memory as it is computed: scalars times memories, plus products `z yᵀ`."""
    names = [x.name + "ᵀ" * group.transposed for x in group.states]
    lines = []
    for i, name in enumerate(names):
        sums = []
        for factor, other in zip(group.mix[i], names, strict=True):
            if factor is not None:
                sums.append(other if factor.value == 1 else f"{_tight(factor)}*{other}")
        for term in group.terms:
            y = term.y[i]
            if y is not None:
                inner = [f"{other} @ {_tight(p)}" for other, p in zip(names, term.p, strict=True) if p is not None]
                inner += [infix(term.u)] if term.u is not None else []
                product = f"outer({' + '.join(inner).replace('+ -', '- ')}, {infix(y)})"
                sums.append(f"sum({product} over last {infix(term.window)})" if term.window is not None else product)
        lines.append(f"{name}' = {' + '.join(sums)}")
    return tuple(lines)


def _tight(here: Node) -> str:
    """The text, in parentheses if it is more than a name."""
    return infix(here) if here.op in ("leaf", "const") else f"({infix(here)})"
