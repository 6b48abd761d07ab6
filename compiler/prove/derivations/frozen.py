"""One step near a minimum, on one coordinate: linear in the parameter and the states, with the rest held fixed.

On f = σ/2 θ² a gradient is σ θ. What depends on gradients and is not linear in them, such as √v + ε, multiplies the
step by a factor that changes slowly: it is *frozen*, a positive number of its own. What neither is linear nor
multiplies anything, such as sign(m), leaves no linear step, and `NotLinear` says so.

    freeze(program)       the next value of each variable as a node on scalars, and what was frozen
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dotopt.compiler.analysis.intervals import assumptions, interval
from dotopt.compiler.analysis.ranges import number_at
from dotopt.compiler.ir import ENTRYWISE, Node, Program, leaf, node, number, substitute
from dotopt.compiler.ir.print import infix
from dotopt.compiler.ops.types import REAL
from dotopt.compiler.prove.derivations.conditions import LATE, Settled, named
from dotopt.compiler.prove.forms.facts import facts_of
from dotopt.compiler.prove.statements.simplify import fold

Kind = Literal["constant", "linear", "curved"]

CURVATURE = leaf("free", "curvature of f", REAL)  # an eigenvalue of the Hessian


class NotLinear(Exception):
    """The step has no linear part to look at; the message says what keeps it from having one."""


@dataclass
class Frozen:
    """The next value of each variable, on scalars; `factors` says what each frozen number stands for."""

    moves: dict[Node, Node] = field(default_factory=dict)
    factors: dict[Node, str] = field(default_factory=dict)
    clocks: set[Node] = field(default_factory=set)  # states that no gradient reaches
    curved: frozenset[str] = frozenset()  # states that are not linear in what moves
    inactive: tuple[str, ...] = ()  # clippings that do not act near the minimum

    @property
    def named(self) -> dict[str, str]:
        """What each frozen number stands for, by its name."""
        return {here.name: text for here, text in self.factors.items()}


# ---- the linear step -----------------------------------------------------------------------------------------------


def freeze(program: Program) -> Frozen:
    """The step of `program` (its conditions decided) on scalars; raises `NotLinear`."""
    if len(program.params) != 1:
        raise NotLinear("the step of several parameters at once")
    if len({here.attrs[0] for here in program.oracles}) > 1:
        raise NotLinear("several objectives, each with a curvature of its own")
    states = {s.name: s.next for s in program.states}
    kinds: dict[str, Kind] = {name: "linear" if name in _moving(program) else "constant" for name in states}
    while True:  # a state is as bad as what flows into it
        reader = _Reader(program, kinds)
        before = dict(kinds)
        for name, following in states.items():
            if following is not None:
                kind = reader.read(following)[0]
                kinds[name] = max(kinds[name], kind, key=ORDER.index)
        if kinds == before:
            break
    reader = _Reader(program, kinds)
    param = program.params[0]
    kind, move = reader.read(program.next[param.name])
    if kind == "curved":
        raise NotLinear(reader.blame or "the step is not linear near a minimum")
    frozen = Frozen(factors=reader.factors, inactive=tuple(dict.fromkeys(reader.inactive)))
    frozen.curved = frozenset(name for name, kind in kinds.items() if kind == "curved")
    frozen.moves[leaf("param", param.name, REAL)] = move
    waiting = [move]
    while waiting:
        for here in waiting.pop().walk():
            if here.role != "state" or here in frozen.moves:
                continue
            following = states[here.name]
            frozen.moves[here] = here if following is None else reader.read(following)[1]
            waiting.append(frozen.moves[here])
            if kinds[here.name] == "constant":
                frozen.clocks.add(here)
    return frozen


def same_in_all_steps(case: Settled, frozen: Frozen) -> bool:
    """Whether the linear step is the same where nothing fires; what is frozen may be renewed now and then."""
    if case.between is None:
        return True
    fired = {s.name: s.next for s in case.program.states}
    held = {
        here: following
        for s in case.between.states
        if s.next is (here := leaf("state", s.name, s.type)) and s.name in frozen.curved
        if (following := fired[s.name]) is not None
    }
    between = freeze(case.between.mapped(lambda root: fold(substitute(root, held))))
    normal = facts_of(()).normal
    same = between.moves.keys() == frozen.moves.keys()
    return same and all((normal(frozen.moves[x]) - normal(between.moves[x])).zero for x in frozen.moves)


def _moving(program: Program) -> set[str]:
    """The states that the parameter or an answer of the objective reaches."""
    moving: set[str] = set()
    while True:
        found = {
            s.name
            for s in program.states
            for here in ((s.next or s.start).walk() if s.next is not None else ())
            if here.op == "oracle" or here.role in ("param", "draw", "input") or here.name in moving
        }
        if found <= moving:
            return moving
        moving |= found


ORDER = ("constant", "linear", "curved")


class _Reader:
    """Reads nodes as constants, linear in the moving variables, or curved; `blame` is the first curved sum."""

    def __init__(self, program: Program, kinds: Mapping[str, Kind]) -> None:
        self.program = program
        self.kinds = kinds
        self.names = named(program)
        self.ranges = assumptions(program)
        self.done: dict[Node, tuple[Kind, Node]] = {}
        self.factors: dict[Node, str] = {}
        self.inactive: list[str] = []
        self.blame = ""

    def read(self, root: Node) -> tuple[Kind, Node]:
        for here in root.walk():
            if here not in self.done:
                self.done[here] = self._one(here)
        return self.done[root]

    def _one(self, here: Node) -> tuple[Kind, Node]:
        args = [self.done[a] for a in here.args]
        kinds = [kind for kind, _ in args]
        match here.op:
            case "leaf":
                return self._leaf(here)
            case "oracle":
                return self._oracle(here, args)
            case "const" | "pi" | "inf" | "bool":
                return "constant", here
            case "zeros":
                return "constant", number(0)
            case "ones":
                return "constant", number(1)
            case "size" | "native":
                return "constant", leaf("free", f"size {infix(here)}", REAL)
            case "stop" | "cast" | "neg" if kinds[0] != "curved":
                return kinds[0], args[0][1] if here.op != "neg" else node("neg", args[0][1])
            case "add" | "sub" if "curved" not in kinds:
                return self._sum(here, args)
            case "mul":
                return self._product(here, args)
            case "div":
                return self._quotient(here, args)
            case "matmul" if kinds == ["linear", "curved"] or kinds == ["curved", "linear"]:
                return self._preconditioned(here, args)
            case "select" if here.args[0].op == "bool":
                return args[1] if here.args[0].attrs[0] else args[2]
            case "select":
                raise NotLinear(f"the condition {infix(here.args[0], self.names)}")
            case "min" | "max" if "constant" in kinds and kinds != ["constant", "constant"]:
                return self._clipped(here, args)
        if all(kind == "constant" for kind in kinds) and here.op in ENTRYWISE:
            return "constant", node(here.op, *(value for _, value in args), attrs=here.attrs)
        if here.op in ("add", "sub") and "linear" in kinds and not self.blame:
            self.blame = self._cause(here)
        return "curved", here

    def _leaf(self, here: Node) -> tuple[Kind, Node]:
        match here.role:
            case "param":
                return "linear", leaf("param", here.name, REAL)
            case "state":
                kind = self.kinds.get(here.name, "curved")
                return kind, leaf("state", here.name, REAL) if kind != "curved" else here
            case "hyper" | "time":
                return "constant", here
            case "draw" | "input" | "free" | "identity":
                return "curved", here
        return "constant", leaf("free", infix(here), REAL)

    def _oracle(self, here: Node, args: list[tuple[Kind, Node]]) -> tuple[Kind, Node]:
        split = here.attrs[3]
        points = args[split[0] : split[0] + split[1]]
        match here.attrs[1]:
            case "gradient" if len(points) == 1:
                kind, at = points[0]
            case "hessian_vector":
                kind, at = args[-1] if len(args) == split[0] + 2 * split[1] else args[split[0] + split[1]]
            case _:
                return "curved", here
        if kind == "curved":
            raise NotLinear(f"the gradient is taken at {infix(here.args[split[0]], self.names)}, which is not linear")
        if any(inner in self.factors for inner in at.walk()):
            raise NotLinear("the gradient is taken at a distance that does not shrink with the gradient")
        return kind, node("mul", CURVATURE, at)

    def _sum(self, here: Node, args: list[tuple[Kind, Node]]) -> tuple[Kind, Node]:
        (left, x), (right, y) = args
        if left == right:
            return left, node(here.op, x, y)
        still = x if left == "constant" else y
        if still.value == 0:
            return "linear", node(here.op, x, y)
        return "curved", here  # an affine step has its minimum elsewhere

    def _product(self, here: Node, args: list[tuple[Kind, Node]]) -> tuple[Kind, Node]:
        kinds = sorted((kind for kind, _ in args), key=ORDER.index)
        if "constant" in kinds and "curved" not in kinds:
            return kinds[1], node("mul", *(value for _, value in args))
        if kinds == ["linear", "curved"]:
            curved = here.args[0] if args[0][0] == "curved" else here.args[1]
            linear = next(value for kind, value in args if kind == "linear")
            factor = self._factor(curved)
            if factor is not None:
                return "linear", node("mul", factor, linear)
        return "curved", here

    def _quotient(self, here: Node, args: list[tuple[Kind, Node]]) -> tuple[Kind, Node]:
        (top, x), (bottom, y) = args
        if bottom == "constant" and top != "curved":
            return top, node("div", x, y)
        if top == "linear" and bottom == "curved":
            factor = self._factor(here.args[1])
            if factor is not None:
                return "linear", node("div", x, factor)
        return "curved", here

    def _preconditioned(self, here: Node, args: list[tuple[Kind, Node]]) -> tuple[Kind, Node]:
        """A root of a sum of g gᵀ is a positive matrix; it is frozen as a factor of the curvature."""
        curved = 0 if args[0][0] == "curved" else 1
        if here.args[curved].op == "matrix_power":
            factor = self._frozen(here.args[curved])
            return "linear", node("mul", factor, args[1 - curved][1])
        return "curved", here

    def _clipped(self, here: Node, args: list[tuple[Kind, Node]]) -> tuple[Kind, Node]:
        """Near the minimum max(-c, x) and min(c, x) are x, and max(c, ‖g‖) is c, for positive c: clipping rests."""
        still = 0 if args[0][0] == "constant" else 1
        bound, moving = here.args[still], here.args[1 - still]
        value, limit = number_at(bound, LATE, self.program), self._at_minimum(moving)
        if value is None or limit is None or value == limit:
            return "curved", here
        self.inactive.append(infix(here, self.names))
        return args[still] if (value < limit) == (here.op == "min") else args[1 - still]

    def _at_minimum(self, here: Node) -> float | None:
        """The value where gradients, momenta and the parameter are 0; None where memories of another kind decide."""
        kind, _ = self.done[here]
        if kind == "linear":  # the parameter itself is not 0 at the minimum
            return None if _reads_parameter(here) else 0.0
        if kind == "constant":
            return number_at(here, LATE, self.program)
        parts = [self._at_minimum(a) for a in here.args]
        if any(part is None for part in parts):
            return None
        numbers = [part for part in parts if part is not None]
        match here.op:
            case "norm" | "abs" | "sum" | "mean" | "amax" | "amin" | "sqrt" | "std" if numbers == [0]:
                return 0.0
            case "add" | "sub" | "mul" | "div" | "min" | "max":
                x, y = numbers
                table = {"add": x + y, "sub": x - y, "mul": x * y, "min": min(x, y), "max": max(x, y)}
                return table[here.op] if here.op != "div" else (x / y if y else None)
        return None

    def _factor(self, curved: Node) -> Node | None:
        """The frozen number of a curved factor that is positive and slow: it reads a state that is not a momentum."""
        memory = any(h.role == "state" and self.kinds.get(h.name) == "curved" for h in curved.walk())
        return self._frozen(curved) if memory and self._nonnegative(curved) else None

    def _nonnegative(self, here: Node) -> bool:
        if here.op in ("mul", "div"):
            return all(map(self._nonnegative, here.args))
        return here.role == "state" or interval(here, self.ranges).low >= 0

    def _frozen(self, curved: Node) -> Node:
        lr = next((leaf("hyper", h.name, h.type) for h in self.program.hypers if h.keyword == "lr"), None)
        if lr in set(curved.walk()):
            raise NotLinear(f"{infix(curved, self.names)[:60]} depends on {lr!r} and on the data at once")
        found = leaf("free", f"frozen {len(self.factors) + 1}", REAL)
        known = {text: here for here, text in self.factors.items()}
        text = infix(curved, self.names)
        text = text if len(text) <= 60 else f"{text[:57]}…"
        if text in known:
            return known[text]
        self.factors[found] = text
        return found

    def _cause(self, here: Node) -> str:
        """What is to blame for a curved sum: the sign, the norm or the product in it."""
        for inner in here.walk():
            kind = self.done.get(inner, ("constant", inner))[0]
            if kind == "curved" and inner.op not in ("add", "sub", "neg", "mul", "div"):
                return f"{infix(inner, self.names)[:70]} is not linear near a minimum"
        return f"{infix(here, self.names)[:70]} is not linear near a minimum"


def _reads_parameter(here: Node) -> bool:
    """Whether the value uses the parameter otherwise than through the objective."""
    if here.op == "oracle":
        return False
    if here.op == "add" and any(x.op == "oracle" and y.op == "mul" for x, y in (here.args, here.args[::-1])):
        return False  # ∇f + λ θ is the gradient of the decayed objective
    return here.role == "param" or any(map(_reads_parameter, here.args))


__all__ = ["CURVATURE", "Frozen", "NotLinear", "freeze", "same_in_all_steps"]
