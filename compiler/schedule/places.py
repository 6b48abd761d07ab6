"""Where a value lives and when it is known: the two facts that decide how a rule is cut into passes.

    HOST     one number for all tensors of a group: hyperparameters, the step count, sums over the model
    TENSOR   one number for each tensor: its shape, sums over it
    ROW      one number for each row of a tensor: what is left when the trailing axes are summed away
    ELEMENT  one number for each entry
    LIBRARY  made by a routine that sees whole matrices: products, factorisations, and what lies between them

The stage of a value is the number of passes over memory that must be over before it can be computed. A reduction of
entries is known one stage after its operand, and so is the result of a library routine; everything else is known
as soon as its operands are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence

from dotopt.compiler.ir import ENTRYWISE, Node, Program


class Place(enum.IntEnum):
    """Where a value lives, from the fewest copies to the most."""

    HOST = 0
    TENSOR = 1
    ROW = 2
    ELEMENT = 3
    LIBRARY = 4


class Unsupported(Exception):
    """Why a program cannot be cut into passes; `reason` is in the words of the rule."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


REDUCE = frozenset(("sum", "amax", "amin"))

MATRIX = frozenset(
    [
        "matmul",
        "transpose",
        "outer",
        "loop",
        "item",
        "solve",
        "inverse",
        "qr",
        "eigenvectors",
        "top_eigenvector",
        "svdvals",
        "polar",
        "matrix_power",
        "spectral_norm",
        "trace",
        "diagonal",
        "tril",
        "eye",
        "unit",
        "columns",
        "argsort",
    ]
)

NUMBERS = frozenset(("const", "bool", "inf", "pi"))


def order(roots: Iterable[Node]) -> Iterator[Node]:
    """The nodes under `roots`, each once, operands first; the bodies of loops are left closed."""
    seen: set[Node] = set()
    stack = [(root, False) for root in roots][::-1]
    while stack:
        here, done = stack.pop()
        if done:
            yield here
        elif here not in seen:
            seen.add(here)
            stack.append((here, True))
            stack.extend((arg, False) for arg in reversed(here.args))


class Places:
    """The place and the stage of every node under the roots of a program.

    Without `rows` what is one number for each row is left to the library, as is what is one for each column. Raises
    `Unsupported` for what does not run over many tensors at once: values of the objective, draws, lists.
    """

    def __init__(self, program: Program, roots: Sequence[Node], rows: bool = True) -> None:
        if len(program.params) != 1 or program.params[0].indices:
            raise Unsupported("it moves more than one family of parameters")
        self.axes = program.params[0].type.axes
        self.rows = rows
        self._shared = frozenset(state.name for state in program.states if state.shared)
        self._facts: dict[Node, tuple[Place, int]] = {}
        self._absorbed: set[Node] = set()
        self.add(roots)
        while self._absorb(roots):
            self._facts.clear()
            self.add(roots)

    def __call__(self, node: Node) -> Place:
        return self._facts[node][0]

    def stage(self, node: Node) -> int:
        """How many passes must be over before `node` can be computed."""
        return self._facts[node][1]

    @property
    def mixed(self) -> bool:
        """Whether passes cannot take care of the rows: some are along other axes, or the library needs them."""
        rows = {here.type.axes for here, (place, _) in self._facts.items() if place is Place.ROW}
        library = (here for here, (place, _) in self._facts.items() if place is Place.LIBRARY)
        return len(rows) > 1 or any(self(arg) is Place.ROW for here in library for arg in here.args)

    def add(self, roots: Iterable[Node]) -> None:
        """Work out the nodes under `roots` that are not in the table yet."""
        for here in order(roots):
            if here not in self._facts:
                self._facts[here] = self._compute(here)

    def _compute(self, node: Node) -> tuple[Place, int]:
        known = [self._facts[arg] for arg in node.args]
        place = max((place for place, _ in known), default=Place.HOST)
        stage = max((stage for _, stage in known), default=0)
        if node in self._absorbed or node.op in MATRIX:
            return Place.LIBRARY, self._library_stage(known)
        match node.op:
            case op if op in NUMBERS or op == "fires":
                return Place.HOST, stage
            case "leaf":
                return self.leaf(node), 0
            case "oracle":
                if (node.attrs.what, node.attrs.argument, node.attrs.split) != ("gradient", None, (0, 1)):
                    raise Unsupported(f"{node!r} is more than a gradient")
                if [arg.role for arg in node.args] != ["param"]:  # elsewhere: asked for between two passes
                    return Place.LIBRARY, self._library_stage(known)
                return Place.ELEMENT, 0
            case "size" if node.attrs.model:
                return Place.HOST, 0
            case "size" | "native":
                return Place.TENSOR, 0
            case op if op in REDUCE:
                return self._reduction(node, place, stage, known)
            case op if op in ENTRYWISE:
                given = [arg.type.axes for arg, (where, _) in zip(node.args, known, strict=True) if where is place]
                if place is Place.LIBRARY and {node.type.axes, *given} != {self.axes}:
                    return place, self._library_stage(known)
                return min(place, Place.ELEMENT), stage
            case _:
                raise Unsupported(f"{node.op} has no form that runs over many tensors at once")

    def leaf(self, node: Node) -> Place:
        """The place of what a leaf stands for."""
        match node.role:
            case "hyper" | "time" | "option" | "rank" | "const" | "set":
                return Place.HOST
            case "axis":
                return Place.TENSOR
            case "state" if node.name in self._shared:
                return Place.HOST
            case "param" | "state" | "free":
                axes = node.type.axes
                if axes == self.axes:
                    return Place.ELEMENT
                if axes == self.axes[: len(axes)] and (self.rows or not axes):
                    return Place.ROW if axes else Place.TENSOR
                return Place.LIBRARY
            case role:
                raise Unsupported(f"{node.name} is a {role}, which only the torch backend handles")

    def _reduction(self, node: Node, place: Place, stage: int, known: list[tuple[Place, int]]) -> tuple[Place, int]:
        axes, model = node.attrs.axes, node.attrs.model
        after = stage + 1 if place is Place.ELEMENT else stage
        kept = tuple(axis for axis in node.args[0].type.axes if axis not in axes)
        whole = kept != self.axes[: len(kept)] or not (self.rows or not kept)
        if place is Place.LIBRARY or (whole and not model):
            return Place.LIBRARY, self._library_stage(known)
        if model:
            return Place.HOST, max(after, 1)
        return (Place.ROW if kept else Place.TENSOR), after

    @staticmethod
    def _library_stage(known: list[tuple[Place, int]]) -> int:
        return max((stage + (place is Place.ELEMENT) for place, stage in known if stage or place), default=1) or 1

    def _inside(self, node: Node) -> bool:
        return node in self._absorbed or self(node) is Place.LIBRARY

    def _absorb(self, roots: Sequence[Node]) -> bool:
        """Hand to the library what only it reads and what would cost a pass of its own; whether anything was."""
        users: dict[Node, list[Node]] = {}
        nodes = list(order(roots))
        for here in nodes:
            for arg in here.args:
                users.setdefault(arg, []).append(here)
        kept = {*roots, *(arg for here in nodes if here.op == "oracle" for arg in here.args)}
        before = len(self._absorbed)
        for here in reversed(nodes):
            if not here.args or here.op == "oracle" or here in kept or self(here) in (Place.HOST, Place.LIBRARY):
                continue
            costs_a_pass = self.stage(here) > 0
            brings_nothing = all(
                self(arg) is not Place.ELEMENT or any(self._inside(user) for user in users[arg] if user is not here)
                for arg in here.args
            )
            if (costs_a_pass or brings_nothing) and all(map(self._inside, users.get(here, ()))):
                self._absorbed.add(here)
        return len(self._absorbed) > before
