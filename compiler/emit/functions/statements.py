"""Lines that give values their names: equations, answers of the user, and what is costly and read more than once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from dotopt.compiler.emit.functions.questions import QUESTIONS, draw_text
from dotopt.compiler.emit.functions.writer import Writer, binds
from dotopt.compiler.emit.parts import comment
from dotopt.compiler.emit.sequence.token import COSTLY, below
from dotopt.compiler.ir import Equation, Fold, Lambda, Loop, Node
from dotopt.compiler.ir.print import infix

HEAVY = COSTLY | {"oracle", "fold", "argmin", "root", "cg", "keep_largest", "solve", "apply", "attention"}


def write(b: Writer, *roots: Node, equations: Iterable[Equation] = ()) -> None:
    """Writes what `roots` need, each value once: what has a name, answers of the user, and costly values read twice.

    What stands in the branch of a choice that a number decides is left to that branch.
    """
    table = {e.node: e for e in reversed(tuple(equations))}
    b.early = frozenset()
    b.early = early = _early(b, _needed(b, roots))
    needed = _needed(b, roots)
    uses = Counter(child for here in needed for child in set(_reads(b, here)))
    for here in needed:
        if here.role == "draw" and here not in b.names:
            _drawn(b, here)
        if here in b.names or here.op in ("leaf", "const", "bool", "pi", "inf", "tuple", "range"):
            continue
        if here in table:
            equation = table[here]
            shown = equation.span.text.strip() if equation.span is not None else equation.label
            assign(b, here, equation.label, comment(shown))
        elif here.op == "oracle" and b.named(here) is None:
            assign(b, here, "answer")
        elif here.op in ("loop", "argmin", "root", "cg"):
            b.text(here)
        elif (here in early and b.named(here) is None) or (
            uses[here] > 1 and here.op in HEAVY and b.is_tensor(here) and b.named(here) is None
        ):
            assign(b, here, "part")


def _drawn(b: Writer, here: Node) -> None:
    """A draw inside a loop or a role: one for each pass."""
    assert b.program is not None
    random = next(r for r in b.program.randoms if r.name == here.name)
    name = b.fresh(here.name)
    b.lines.append(f"{b.indent}{name} = {draw_text(b, random)}")
    b.names[here] = name


def _reads(b: Writer, here: Node) -> tuple[Node, ...]:
    """What is computed at the same place as `here`: its arguments, and the body of a sum over whole axes."""
    if by_host(b, here):
        return (here.args[0], *(x for x in b.early if x in _inside(here)))
    if here.op == "fold" and not restricted(here) and not serial(b, here.attrs.body):
        return (*here.args, *here.attrs.body.nodes)
    return here.args


def by_host(b: Writer, here: Node) -> bool:
    """Whether a choice is made by a number of the host, so that only one branch is computed."""
    return here.op == "select" and not b.is_tensor(here.args[0])


def _inside(here: Node) -> set[Node]:
    """What is below a choice."""
    return {x for part in here.args[1:] for x in part.walk()}


def _early(b: Writer, needed: list[Node]) -> frozenset[Node]:
    """Costly values that several branches need, both of one choice or those of two: they are computed before."""
    found: dict[Node, set[tuple[Node, int]]] = {}
    for here in needed:
        if by_host(b, here):
            for side, part in enumerate(here.args[1:]):
                for x in _needed_in(b, part):
                    found.setdefault(x, set()).add((here.args[0], side))
    fixed = set(needed)
    several = {
        x for x, where in found.items()
        if len(where) > 1 and x not in fixed and x not in b.names and (x.op in HEAVY or x.op == "select")
    }  # fmt: skip
    several = {x for other in found if other not in several for x in other.args if x in several}
    moving = {v for x in several for inner in x.walk() for attr in inner.attrs
              if isinstance(attr, Loop | Fold | Lambda) for v in binds(attr, ())}  # fmt: skip
    return frozenset(x for x in several if not moving & b.leaves(x))


def _needed_in(b: Writer, part: Node) -> set[Node]:
    """What a branch computes, with the branches inside it."""
    found: set[Node] = set()
    stack = [part]
    while stack:
        here = stack.pop()
        if here not in found and here not in b.names:
            found.add(here)
            stack.extend(here.args)
    return found


def restricted(here: Node) -> bool:
    """Whether a sum runs over some elements of a set only."""
    return here.args[0].op != "range" and here.args[0].role != "set"


def _needed(b: Writer, roots: Iterable[Node]) -> list[Node]:
    """What is computed for `roots` here, arguments first; not what a loop, a member or a branch computes inside."""
    return below(roots, lambda here: () if here in b.names else _reads(b, here))


def assign(b: Writer, here: Node, name: str, above: str = "") -> None:
    """Writes the line that gives a value a name, below `above`; a short value without one has its text beside it."""
    if here.op == "item" and here.args[0].op == "loop":
        b.text(here)  # the loop writes its own lines
        return
    text = b.code(here)
    chosen = b.fresh(name)
    b.lines += [f"{b.indent}{above}"] if above else []
    note = "" if above or len(shown := infix(here)) > 60 else f"  # {shown}"
    b.lines.append(f"{b.indent}{chosen} = {text}{note}")
    b.names[here] = chosen


def serial(b: Writer, body: Fold) -> bool:
    """Whether the elements of a sum are taken one by one: a function of the user for each, or something solved."""
    return any(
        inner.op in QUESTIONS and inner.op != "oracle" and set(body.indices) & b.depends(inner)
        for root in body.nodes
        for inner in root.walk()
    )


def hoist(b: Writer, roots: Iterable[Node], moving: set[Node], equations: Iterable[Equation] = ()) -> None:
    """Writes what is costly in `roots` and does not depend on `moving`: the same in every pass, or for everybody."""
    nodes = dict.fromkeys(here for root in roots for here in root.walk())
    moving = set(moving)
    for here in nodes:
        if here.op == "fold" and not restricted(here) and not serial(b, here.attrs.body):
            continue  # its indices are axes
        moving |= {x for attr in here.attrs if isinstance(attr, Loop | Fold | Lambda) for x in binds(attr, nodes)}
        moving |= {here} if here.role == "draw" and here not in b.names else set()
    still = {here for here in nodes if not moving & b.leaves(here)}
    whole = [child for here in nodes if here not in still for child in here.children if child in still]
    for child in dict.fromkeys((*whole, *(root for root in roots if root in still))):
        if child not in b.names and any(x.op in HEAVY for x in child.walk()):
            write(b, child, equations=equations)
            if child.op in HEAVY and child not in b.names and b.named(child) is None:
                assign(b, child, "part")
