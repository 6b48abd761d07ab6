"""A protocol as one generator that every party runs: it yields what its role sends, and goes on with the reductions.

    def party(i, x, f, state, own, t, first, hyper, sizes, random):
        Δ, δ = None, None
        if i in S: …                                     what this client computes
        mean_Δ, sum_δ = yield [Mean("Δ", Δ), Sum("δ", δ)]     one message a phase
        …                                                what everybody computes
        return moved, later, own_later

What stands outside the roles is common knowledge: each party computes it, from the same reductions and the same draws.
A party with `i` None takes no role. Reductions that need others before them wait for a later phase.
"""

from __future__ import annotations

from dotopt.compiler.emit.functions.frame import (
    arguments,
    close,
    draws,
    needed_sizes,
    open_function,
    states,
    targets,
    writer_of,
)
from dotopt.compiler.emit.functions.questions import draw_text, shared
from dotopt.compiler.emit.functions.statements import hoist, write
from dotopt.compiler.emit.functions.writer import Writer
from dotopt.compiler.emit.names import spelled
from dotopt.compiler.emit.sequence.token import INDENT
from dotopt.compiler.ir import Equation, Fold, Node, Program, RoleProgram, State, instance, leaf
from dotopt.compiler.ir.print import infix
from dotopt.compiler.ir.program import at_its_places
from dotopt.compiler.ops.types import INT
from dotopt.compiler.text.errors import fail

KINDS = {"sum": "Sum", "mean": "Mean", "max": "Max", "min": "Min"}


@at_its_places
def role_of(program: Program) -> RoleProgram:
    """The role that many parties play; raises `OptError` (E601) if there is none, or more than one."""
    many = [role for role in program.roles if role.indices]
    if len(many) != 1 or len(many[0].indices) != 1:
        raise fail("E601", program.decided_by, construct="a protocol without exactly one role of many parties")
    return many[0]


@at_its_places
def chosen(program: Program) -> str:
    """The text of the function that says who takes part in a round: those whom a draw chooses, or everybody."""
    role = role_of(program)
    b = writer_of(program)
    place = open_function(program, b, "chosen(hyper, sizes, random)", "Who takes part in a round.", [])
    sized = needed_sizes(program, b, list(program.roots))
    folds = [here for phase in phases(program) for here in phase]
    drawn = {here.args[0] for here in folds} | ({role.condition.args[0]} if role.condition is not None else set())
    who = f"range(1, {b.sizes[role.indices[0][1]]} + 1)"
    if len(drawn) == 1 and role.condition is not None and role.condition.op == "contains":
        (elements,) = drawn
        if elements.role == "draw":
            random = next(r for r in program.randoms if r.name == elements.name)
            if not any(x.role in ("state", "param", "draw") for arg in random.args for x in arg.walk()):
                who = draw_text(b, random)
    b.lines.append(f"{INDENT}return {who}")
    return close(program, b, place, sized)


def own_states(program: Program) -> tuple[State, ...]:
    """The states that each party of the role keeps."""
    role = role_of(program)
    return tuple(state for state in program.states if state.role == role.name)


def phases(program: Program) -> list[list[Node]]:
    """The sums over the parties, those first that need no other: a message for each."""
    role = role_of(program)
    (home,) = {of for _, of in role.indices}
    depth: dict[Node, int] = {}
    folds: dict[Node, None] = {}
    for root in targets(program):
        for here in root.walk():
            below = max((depth[child] for child in here.children), default=0)
            domain = here.args[0] if here.op == "fold" else None
            ours = domain is not None and (domain.name == home or _drawn_from(program, domain) == home)
            depth[here] = below + (1 if ours else 0)
            if ours:
                folds[here] = None
    most = max((depth[here] for here in folds), default=0)
    return [[here for here in folds if depth[here] == k] for k in range(1, most + 1)]


def _drawn_from(program: Program, domain: Node) -> str:
    random = next((r for r in program.randoms if domain.role == "draw" and r.name == domain.name), None)
    return random.args[0].name if random is not None and random.args else ""


@at_its_places
def party(program: Program) -> str:
    """The text of the generator; raises `OptError` (E601) for a construct that has no code in torch."""
    program = shared(program)
    role = role_of(program)
    b = writer_of(program)
    index = leaf("index", role.indices[0][0], INT)
    me = b.fresh(index.name)
    names = arguments(program, b)
    head = ", ".join((me, *names, "state", "own", "t", "first", "hyper", "sizes", "random"))
    place = open_function(program, b, f"party({head})", "One round, as one party sees it.", [])
    sized = needed_sizes(program, b, list(program.roots))
    draws(program, b)
    states(program, b, [s for s in program.states if s not in own_states(program)])
    draws(program, b)
    inner = b.inner()
    inner.bind(index, me)
    inner.path = (me,)
    b.lines.append(f"{INDENT}if {me} is not None:")
    for state in own_states(program):
        name = b.fresh(state.name)
        b.lines.append(f'{inner.indent}{name} = own["{state.name}"]')
        inner.names[leaf("state", state.name, state.type, index)] = name
    if not own_states(program):
        b.lines.pop()
    sent = {value: name for r in program.roles for _, name, value in r.sent}
    for phase in phases(program):
        _phase(b, inner, index, me, phase, sent)
    write(b, *_common(program), equations=program.equations)
    moved = ", ".join(f'"{name}": {b.code(root)}' for name, root in program.next.items())
    later = ", ".join(
        f'"{s.name}": {b.code(s.next) if s.next is not None else b.names[leaf("state", s.name, s.type)]}'
        for s in program.states
        if s not in own_states(program)
    )
    kept = _own(program, b, inner, role, index, me)
    b.lines.append(f"{INDENT}return {{{moved}}}, {{{later}}}, {kept}")
    return close(program, b, place, sized)


def _common(program: Program) -> list[Node]:
    mine = own_states(program)
    return [*program.next.values(), *(s.next for s in program.states if s.next is not None and s not in mine)]


def _phase(b: Writer, inner: Writer, index: Node, me: str, folds: list[Node], sent: dict[Node, str]) -> None:
    """What the party adds to each reduction, and the yield that exchanges them."""
    parts, calls, results = [], [], []
    for here in folds:
        body: Fold = here.attrs.body
        if body.condition is not None or len(body.indices) != 1 or body.kind not in KINDS:
            raise fail("E601", here.span, construct=f"`{infix(here)}` over the parties of a role")
        value = instance(body.body, {body.indices[0]: index})
        name = sent.get(value) or sent.get(body.body) or "part"
        part, result = b.fresh(f"{spelled(name)}_sent"), b.fresh(f"{body.kind}_{spelled(name)}")
        parts.append((here, value, part))
        calls.append(f'{KINDS[body.kind]}("{name}", {part})')
        results.append(result)
    for here, value, part in parts:
        domain = here.args[0]
        taking = f"{me} in {b.code(domain)}" if domain.role == "draw" else f"{me} is not None"
        own = {x for x in value.walk() if x.role == "state" and x.args}
        hoist(b, [value], {index, *own}, _equations(b))
        b.lines += [f"{INDENT}{part} = None", f"{INDENT}if {taking}:"]
        inner.names |= {k: v for k, v in b.names.items() if k not in inner.names}
        inner.items |= {k: v for k, v in b.items.items() if k not in inner.items}
        write(inner, value, equations=_equations(b))
        b.lines.append(f"{inner.indent}{part} = {inner.code(value)}")
    b.lines.append(f"{INDENT}{', '.join(results)}{',' if len(results) == 1 else ''} = yield [{', '.join(calls)}]")
    for (here, _, _), result in zip(parts, results, strict=True):
        b.names[here] = result


def _equations(b: Writer) -> list[Equation]:
    assert b.program is not None
    return [*b.program.equations, *(e for role in b.program.roles for e in role.equations)]


def _own(program: Program, b: Writer, inner: Writer, role: RoleProgram, index: Node, me: str) -> str:
    mine = own_states(program)
    if not mine:
        return "own"
    taking = f"{me} is not None"
    if role.condition is not None:
        inner.names |= {k: v for k, v in b.names.items() if k not in inner.names}
        taking += f" and {inner.code(role.condition)}"
    b.lines.append(f"{INDENT}if {taking}:")
    inner.names |= {k: v for k, v in b.names.items() if k not in inner.names}
    inner.items |= {k: v for k, v in b.items.items() if k not in inner.items}
    roots = [s.next for s in mine if s.next is not None]
    write(inner, *roots, equations=_equations(b))
    rows = ", ".join(
        f'"{s.name}": {inner.code(s.next) if s.next is not None else inner.names[leaf("state", s.name, s.type, index)]}'
        for s in mine
    )
    b.lines.append(f"{inner.indent}own = {{{rows}}}")
    return "own"
