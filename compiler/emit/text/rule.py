"""A rule as text: from expressions to a file that a person would have written.

    draft   what a file holds: declarations, states with where they begin, and one expression a state
    rule    its text: shared expressions get names, choices become `cases`, then the house style

Nothing is claimed here; the text is parsed and lowered like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dotopt.compiler.emit.text.format import format_text
from dotopt.compiler.ir import Node, leaf
from dotopt.compiler.ir.print import infix

WIDE = 88  # characters of an equation, beyond which parts of it get names
LETTERS = ("u", "w", "r", "y", "h", "q", "d", "z", "p", "c", "e", "k")


@dataclass(frozen=True, slots=True)
class Knob:
    """A hyperparameter: its name, what stands behind `as`, whether it is an integer, its range and default."""

    name: str
    keyword: str
    whole: bool
    range: str
    default: str


@dataclass(frozen=True, slots=True)
class Switch:
    """An option that is true or false."""

    name: str
    keyword: str
    default: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """A state: name, key, type as written, where it begins (`late`: at a value of the first step), and its equation."""

    name: str
    key: str
    type: str
    start: Node
    late: bool
    next: Node


@dataclass(frozen=True, slots=True)
class Body:
    """What holds for parameters of one shape: states, and where the parameter goes."""

    states: tuple[Kept, ...]
    next: Node


@dataclass(frozen=True, slots=True)
class Draft:
    """A file. `bodies` are by the type of the parameter; one alone is by itself."""

    name: str
    sentence: str
    source: str
    comments: tuple[str, ...]
    param: str
    numbers: tuple[Knob, ...]
    switches: tuple[Switch, ...]
    bodies: tuple[tuple[str, Body], ...]
    gradient: Node  # the leaf that stands for the gradient


def rule(draft: Draft) -> str:
    """The text of a draft, in house style."""
    lines = [f'"""{draft.name}: {draft.sentence}"""', f"rule {draft.name}", f'source "{draft.source}"']
    lines += [f"# {line}" for line in draft.comments]
    lines += ["", "objective f", f"param θ : {draft.param}"]
    for n in draft.numbers:
        called = f" as {n.keyword}" if n.keyword != n.name else ""
        kind = " : int" if n.whole else ""
        lines.append(f"hyper {n.name}{called}{kind}{n.range and ' ' + n.range} = {n.default}")
    for s in draft.switches:
        called = f" as {s.keyword}" if s.keyword != s.name else ""
        lines.append(f"option {s.name}{called} = {'true' if s.default else 'false'}")
    taken = {n.name for n in draft.numbers} | {s.name for s in draft.switches} | {"θ", "t", "f", "g"}
    taken |= {k.name for _, body in draft.bodies for k in body.states}
    if len(draft.bodies) == 1:
        states, equations = _written(draft.bodies[0][1], draft.gradient, taken)
        lines += [*states, "", *equations]
    else:
        lines += ["", "g = ∇f(θ)"]
        for place, (shape, body) in enumerate(draft.bodies):
            last = place == len(draft.bodies) - 1
            lines.append("otherwise:" if last else f"when θ is {shape}:")
            states, equations = _written(body, None, taken)
            lines += ["  " + line for line in (*states, *equations)]
    return format_text("\n".join(lines) + "\n")


def _written(body: Body, gradient: Node | None, taken: set[str]) -> tuple[list[str], list[str]]:
    """The declarations of the states, and the equations in an order to be read."""
    states = []
    names = _named(body, gradient, set(taken))
    definitions = {node: name for node, name in names.items() if not name.endswith("'") or name == "θ'"}
    for kept in body.states:
        called = f" as {kept.key}" if kept.key != kept.name else ""
        start = infix(kept.start, {n: x for n, x in names.items() if x in ("g",) and _reads(kept.start, n)})
        states.append(f"state {kept.name}{called} : {kept.type} = {'first ' if kept.late else ''}{start}")
    wanted: list[tuple[str, Node]] = []
    order = [(node, name) for node, name in definitions.items() if name != "θ'"]
    by_node = dict(order)
    primed = {kept.next: f"{kept.name}'" for kept in body.states}
    done: set[str] = set()

    def add(name: str, root: Node) -> None:
        if name in done:
            return
        done.add(name)
        for here in root.walk():
            if here is not root and here in by_node:
                add(by_node[here], here)
            elif here is not root and here in primed:
                add(primed[here], here)
        wanted.append((name, root))

    for kept in body.states:
        add(f"{kept.name}'", kept.next)
    add("θ'", body.next)
    equations = (
        ["g = ∇f(θ)"]
        if gradient is not None
        and "g" not in names.values()
        and (any(_reads(root, gradient) for root in (*(r for _, r in wanted), *(k.start for k in body.states))))
        else []
    )
    for name, root in wanted:
        equations += _equation(name, root, names, gradient)
    return states, equations


def _reads(root: Node, leaf_: Node) -> bool:
    return any(here is leaf_ for here in root.walk())


def _equation(name: str, root: Node, names: Mapping[Node, str], gradient: Node | None) -> Iterator[str]:
    """`name = root`; a choice of several ways as `cases`."""
    known: dict[Node, str] = {n: x for n, x in names.items() if n is not root}
    if name == "g" and gradient is not None:
        known[gradient] = "∇f(θ)"
    elif gradient is not None and root is gradient:
        yield f"{name} = g"
        return
    again = next((n for n in names.values() if names.get(root) == n and n != name), None)
    if again is not None:  # two states that move alike
        yield f"{name} = {again}"
        return
    arms: list[tuple[str, str]] = []
    here = root
    while here.op == "select" and (here is root or here not in known):
        condition, yes, no = here.args
        arms.append((infix(yes, known) if yes not in known else known[yes], infix(condition, known)))
        here = no
    last = known[here] if here in known else infix(here, known)
    if not arms:
        yield f"{name} = {last}"
    elif len(arms) == 1 and len(arms[0][0]) + len(arms[0][1]) + len(last) < 70:
        yield f"{name} = {_arm(arms[0][0])} if {arms[0][1]} else {last}"
    else:
        yield f"{name} = cases"
        yield from (f"  {_arm(value)} if {condition}" for value, condition in arms)
        yield f"  {_arm(last)} otherwise"


def _arm(text: str) -> str:
    return f"({text})" if " if " in text and not text.startswith("(") else text


def _named(body: Body, gradient: Node | None, taken: set[str]) -> dict[Node, str]:
    """Names of nodes: next values of states, what occurs more than once, and parts of what would be too long."""
    names: dict[Node, str] = {}
    for kept in body.states:
        if kept.next.op not in ("leaf", "const"):
            names.setdefault(kept.next, f"{kept.name}'")
    roots = [kept.next for kept in body.states] + [body.next]
    above = _parents(roots)
    if gradient is not None:
        users = [n for n in above.get(gradient, ()) if n not in roots]
        begun = any(_reads(kept.start, gradient) for kept in body.states)
        if (
            not begun
            and len(above.get(gradient, ())) == len(users) == 1
            and len(users[0].type.axes)
            and (users[0].op in ("add", "sub", "neg", "select") and len(above[users[0]]) > 1)
        ):
            names.setdefault(users[0], "g")
    if body.next in names:
        del names[body.next]
    chosen = [n for root in roots for n in root.walk() if n not in names and n not in roots and _worth(n, above)]
    for here in dict.fromkeys(chosen):
        name = next((x for x in _wishes(here) if x not in taken), None)
        if name is not None:
            names[here] = name
            taken.add(name)
    for root in dict.fromkeys(roots):
        for _ in range(6):
            if len(infix(root, {n: x for n, x in names.items() if n is not root})) <= WIDE:
                break
            part = _largest(root, names, above)
            name = None if part is None else next((x for x in _wishes(part) if x not in taken), None)
            if part is None or name is None:
                break
            names[part] = name
            taken.add(name)
    return names


def _parents(roots: Sequence[Node]) -> dict[Node, list[Node]]:
    above: dict[Node, list[Node]] = {}
    for here in dict.fromkeys(n for root in roots for n in root.walk()):
        for arg in dict.fromkeys(here.args):
            above.setdefault(arg, []).append(here)
    for root in roots:
        above.setdefault(root, [])
    return above


def _worth(here: Node, above: Mapping[Node, list[Node]]) -> bool:
    """Whether it gets a name: long enough and used more than once, or a choice inside something else."""
    if here.op in ("leaf", "const", "neg", "bool") or here.type.kind == "bool":
        return False
    length = len(infix(here))
    if here.op == "select":
        return length > 12
    return len(above.get(here, ())) > 1 and length > (6 if here.type.axes else 11)


def _largest(root: Node, names: Mapping[Node, str], above: Mapping[Node, list[Node]]) -> Node | None:
    """The part of an equation that is worth a name most: about half of it."""
    known = {n: x for n, x in names.items() if n is not root}
    length = len(infix(root, known))
    found = [n for n in _inside(root, names) if n.op not in ("leaf", "const", "neg", "bool") and n.type.kind != "bool"]
    sized = [
        (abs(len(infix(n, {m: x for m, x in known.items() if m is not n})) - length / 2), i)
        for i, n in enumerate(found)
    ]
    best = min(sized, default=None)
    return found[best[1]] if best is not None and best[0] < length / 2 - 8 else None


def _inside(root: Node, names: Mapping[Node, str]) -> Iterator[Node]:
    waiting = list(root.args)
    while waiting:
        here = waiting.pop()
        if here not in names:
            yield here
            waiting += here.args


def _wishes(here: Node) -> Iterator[str]:
    if here.op == "sqrt" or (here.op == "add" and any(a.op == "sqrt" for a in here.args)):
        yield "d"
    yield from LETTERS
    for count in range(1, 40):
        yield f"u{count}"


__all__ = ["Body", "Draft", "Kept", "Knob", "Switch", "leaf", "rule"]
