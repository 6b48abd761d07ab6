"""Evaluation of a graph for several tensors in lockstep: memory, bound variables, loops, folds, what is asked of users.

A frame knows the values of nodes; a value belongs to a node and a tensor (0, 1, …), since a rule is written for one
tensor and run for many. A reduction over the model needs its argument for all tensors, and so does a question to the
user. Inner frames bind loop variables and indices; what does not depend on them is looked up outside.

Order is by need: a value is computed when something asks for it, and of a choice by a number only the branch that is
taken is computed. No recursion on the graph, so its depth is not limited.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dotopt.compiler.evaluate.numeric import NUMERIC, reduced
from dotopt.compiler.ir import REDUCTIONS, TIME, Fold, Loop, Node
from dotopt.compiler.ops.types import REST

Value = Any
Key = tuple[Node, int]


class World:
    """What stands outside the graph: leaves, sizes of axes, answers of the user's functions. Subclasses fill it in."""

    tensors: Sequence[int] = (0,)

    def leaf(self, here: Node, tensor: int, frame: Frame) -> Value:
        """The value of a leaf that no frame binds."""
        raise KeyError(f"no value was given for {here!r}")

    def size(self, axis: str, tensor: int) -> int:
        """The size of a named axis."""
        raise KeyError(f"the size of the axis {axis} is not known")

    def rest(self, tensor: int) -> tuple[int, ...]:
        """The sizes of the axes that the rule does not name."""
        return ()

    def elements(self, index: Node) -> tuple[Value, ...]:
        """What an index runs over."""
        raise KeyError(f"the set of the index {index!r} is not known")

    def ask(self, here: Node, tensor: int, frame: Frame) -> Value:
        """The answer to an oracle or a function of the user."""
        raise KeyError(f"no answer was given for {here!r}")

    def window(self, here: Node, tensor: int, frame: Frame) -> Value:
        """A reduction over the last steps."""
        raise KeyError(f"{here!r} needs the earlier steps")

    def twin(self, here: Node, tensor: int) -> Node:
        """The node that plays the part of `here` in the program of another tensor."""
        return here

    def computed(self, here: Node, tensor: int, value: Value) -> Value:
        """The value that is kept for a node: for those who watch values, or disturb them."""
        return value


class Frame:
    """Values of nodes for each tensor; `bound` are the variables of this frame, `inside` what depends on them."""

    def __init__(
        self,
        world: World,
        outer: Frame | None = None,
        bound: Mapping[Key, Value] | None = None,
        inside: frozenset[Node] = frozenset(),
        path: tuple[Value, ...] = (),
    ) -> None:
        self.world = world
        self.path = path  # elements of families and numbers of passes, from the outside in: the place of a draw
        self.outer = outer
        self.memory: dict[Key, Value] = dict(bound or {})
        self.inside = inside

    def value(self, root: Node, tensor: int = 0) -> Value:
        """The value of `root` for one tensor."""
        stack: list[Key] = [(root, tensor)]
        while stack:
            key = stack[-1]
            home = self.home(key[0])
            if key in home.memory:
                stack.pop()
                continue
            if home is not self:
                home.value(*key)
                continue
            missing = [need for need in self._needs(*key) if need not in self.home(need[0]).memory]
            if missing:
                stack.extend(missing)
                continue
            self.memory[key] = self.world.computed(*key, self._compute(*key))
            stack.pop()
        return self.known(root, tensor)

    def home(self, here: Node) -> Frame:
        """The frame where this node has its value: the innermost that binds something it depends on."""
        frame = self
        while frame.outer is not None and here not in frame.inside:
            frame = frame.outer
        return frame

    def known(self, here: Node, tensor: int) -> Value:
        """A value that has been computed."""
        return self.home(here).memory[here, tensor]

    def _needs(self, here: Node, tensor: int) -> list[Key]:
        if here.op == "select":
            condition = self.home(here.args[0]).memory.get((here.args[0], tensor))
            if condition is None:
                return [(here.args[0], tensor)]
            if np.ndim(condition) == 0 and here.type.kind != "tuple":
                taken = here.args[1] if condition else here.args[2]
                return [(taken, tensor)]
        if _over_model(here):
            return [(self.world.twin(here, k).args[0], k) for k in self.world.tensors]
        if here.op in ("oracle", "window"):
            return []
        return [(arg, tensor) for arg in here.args]

    def _compute(self, here: Node, tensor: int) -> Value:
        with np.errstate(all="ignore"):
            match here.op:
                case "leaf":
                    return self._leaf(here, tensor)
                case "oracle" | "apply" | "conjugate" | "attention" | "jvp" | "base" | "base_member":
                    return self.world.ask(here, tensor, self)
                case "item" if len(here.args) > 1 and here.args[0].op == "oracle":  # ∇f(θ)[l]: the part of one tensor
                    return self.value(here.args[0], self.chosen(here.args[1:], tensor)[0] - 1)
                case "window":
                    return self.world.window(here, tensor, self)
                case "select":
                    return self._select(here, tensor)
                case "loop":
                    return self._loop(here, tensor)
                case "fold":
                    return self._fold(here, tensor)
                case "fires":
                    period, start = (float(self.known(arg, tensor)) for arg in here.args)
                    step = float(self.value(TIME, tensor))
                    return np.asarray(step >= start and (step - start) % period == 0)
                case "zeros" | "ones" | "eye" | "indicator" | "arange":
                    return self._filled(here, tensor)
                case "native":
                    return np.asarray(float(self.world.size(f"native {here.attrs.axis}", tensor)))
                case "argmin" | "root" | "cg":
                    from dotopt.compiler.evaluate.solve import solution

                    return solution(self, here, tensor)
            if _over_model(here):
                return reduced(here, [self.known(self.world.twin(here, k).args[0], k) for k in self.world.tensors])
            if here.op not in NUMERIC:
                raise NotImplementedError(f"{here.op} is not evaluated")
            return NUMERIC[here.op](here, [self.known(arg, tensor) for arg in here.args])

    def _leaf(self, here: Node, tensor: int) -> Value:
        if here.role == "loop" and here.args:  # a family of loop variables
            frame: Frame | None = self
            while frame is not None:
                for (variable, k), value in frame.memory.items():
                    if (
                        k == tensor
                        and variable.name == here.name
                        and variable.role == "loop"
                        and isinstance(value, dict)
                    ):
                        return value[self.chosen(here.args, tensor)]
                frame = frame.outer
        return self.world.leaf(here, tensor, self)

    def chosen(self, indices: Sequence[Node], tensor: int) -> tuple[Value, ...]:
        """The elements that indices stand for, as keys of families."""
        return tuple(element_key(self.value(index, tensor)) for index in indices)

    def family(self, root: Node, indices: Sequence[Node], tensor: int) -> dict[tuple[Value, ...], Value]:
        """The value of `root` for every choice of its free indices."""
        found = {}
        for chosen in itertools.product(*(self.world.elements(index) for index in indices)):
            found[tuple(map(element_key, chosen))] = self.at(indices, chosen, (root,)).value(root, tensor)
        return found

    def at(self, indices: Sequence[Node], chosen: Sequence[Value], roots: Sequence[Node]) -> Frame:
        """A frame in which `indices` are `chosen`."""
        tensors = self.world.tensors
        bound = {(i, k): as_value(c) for i, c in zip(indices, chosen, strict=True) for k in tensors}
        return Frame(self.world, self, bound, depending(roots, indices), (*self.path, *map(element_key, chosen)))

    def _select(self, here: Node, tensor: int) -> Value:
        condition = self.known(here.args[0], tensor)
        if np.ndim(condition) > 0 or here.type.kind == "tuple":
            return NUMERIC["select"](here, [self.known(arg, tensor) for arg in here.args])
        taken, other = here.args[1:] if condition else here.args[:0:-1]
        value = self.known(taken, tensor)
        if taken.type.axes == here.type.axes or here.type.any or not here.type.axes:
            return value
        if other.type.axes != here.type.axes:
            return np.broadcast_to(value, self.shape(here.type.axes, tensor))
        return NUMERIC["select"](here, [condition, *((value, self.value(other, tensor))[:: 1 if condition else -1])])

    def _filled(self, here: Node, tensor: int) -> Value:
        if here.op == "eye":
            return np.eye(self.world.size(here.attrs.axis, tensor))
        if here.op == "arange":
            return here.attrs.start + np.arange(float(self.world.size(here.attrs.axis, tensor)))
        if here.op == "arange":
            return np.arange(self.world.size(here.attrs.axis, tensor)) + here.attrs.start
        if here.op == "indicator":
            elements = self.known(here.args[0], tensor)
            made = np.zeros(self.shape(here.attrs.type.axes, tensor))
            made[[int(element) - 1 for element in elements]] = 1.0
            return made
        fill = np.zeros if here.op == "zeros" else np.ones
        if here.args and here.args[0].type.axes == here.attrs.type.axes:
            return fill(np.shape(self.known(here.args[0], tensor)))
        return fill(self.shape(here.attrs.type.axes, tensor))

    def shape(self, axes: Sequence[str], tensor: int) -> tuple[int, ...]:
        """The sizes of axes; `…` has as many as the tensor leaves unnamed."""
        sizes: list[int] = []
        for axis in axes:
            if axis.isdigit():
                sizes.append(int(axis))
            elif axis == REST:
                sizes.extend(self.world.rest(tensor))
            else:
                sizes.append(self.world.size(axis, tensor))
        return tuple(sizes)

    # ---- loops and folds ------------------------------------------------------------------------------------------

    def _loop(self, here: Node, tensor: int) -> Value:
        body: Loop = here.attrs.body
        together = any(_over_model(inner) or inner.op == "oracle" for root in body.nodes for inner in root.walk())
        tensors = list(self.world.tensors) if together else [tensor]
        twins = {k: self.world.twin(here, k) for k in tensors}
        head = self.known(here.args[0], tensor)
        passes: Sequence[Value] = list(head) if body.index is not None else range(int(head))
        values = {
            k: [
                self._start(variable, start, k)
                for variable, start in zip(twin.attrs.body.variables, twin.args[1:], strict=True)
            ]
            for k, twin in twins.items()
        }
        running = set(tensors)
        for number, element in enumerate(passes, start=1):
            frame = self._pass(twins, values, element, number)
            if body.until is not None:
                running = {k for k in running if not frame.value(twins[k].attrs.body.until, k)}
            if not running:
                break
            nexts = {k: [_each(frame, v, n, k) for v, n in _moves(twins[k].attrs.body)] for k in running}
            values = {k: nexts.get(k, values[k]) for k in tensors}
        for k in tensors:
            self.memory[twins[k], k] = tuple(values[k])
        return tuple(values[tensor])

    def _start(self, variable: Node, start: Node, tensor: int) -> Value:
        value = _each(self, variable, start, tensor)
        if isinstance(value, np.ndarray) and value.ndim == 0 and variable.type.axes:  # a number, for a whole tensor
            return np.full(self.shape(variable.type.axes, tensor), value[()])
        return value

    def _pass(self, twins: Mapping[int, Node], values: Mapping[int, list[Value]], element: Value, number: int) -> Frame:
        bound: dict[Key, Value] = {}
        roots: dict[Node, None] = {}
        for k, twin in twins.items():
            body: Loop = twin.attrs.body
            bound.update({(variable, k): value for variable, value in zip(body.variables, values[k], strict=True)})
            if body.index is not None:
                bound[body.index, k] = as_value(element)
            roots.update(dict.fromkeys(body.nodes))
        variables = tuple(dict.fromkeys(variable for variable, _ in bound))
        return Frame(self.world, self, bound, depending(tuple(roots), variables), (*self.path, number))

    def _fold(self, here: Node, tensor: int) -> Value:
        body: Fold = here.attrs.body
        domain = self.known(here.args[0], tensor)
        values: list[Value] = []
        elements: list[Value] = []
        for chosen in itertools.product(domain, repeat=len(body.indices)):
            frame = self.at(body.indices, chosen, body.nodes)
            if body.condition is None or frame.value(body.condition, tensor):
                values.append(frame.value(body.body, tensor))
                elements.append(chosen[0])
        return _folded(body.kind, values, elements)


def _moves(body: Loop) -> Sequence[tuple[Node, Node]]:
    return tuple(zip(body.variables, body.nexts, strict=True))


def _each(frame: Frame, variable: Node, root: Node, tensor: int) -> Value:
    """The value of `root`, for every choice of the indices of `variable` if it is a family."""
    return frame.family(root, variable.args, tensor) if variable.args else frame.value(root, tensor)


def as_value(element: Value) -> Value:
    """An element of a set, as the value of an index."""
    return np.asarray(float(element)) if isinstance(element, int | float) else element


def element_key(value: Value) -> Value:
    """The value of an index, as a key."""
    plain = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain


def _folded(kind: str, values: list[Value], elements: list[Value]) -> Value:
    match kind:
        case "list":
            return values
        case "argmax":
            best = max(range(len(values)), key=lambda i: float(values[i]))
            return np.asarray(float(elements[best]))
        case "sum":
            return sum((value + 0.0 for value in values[1:]), values[0] + 0.0) if values else np.asarray(0.0)
        case "mean":
            return sum(values[1:], values[0] + 0.0) / len(values) if values else np.asarray(np.nan)
        case "max":
            return np.maximum.reduce(values) if values else np.asarray(-np.inf)
        case "min":
            return np.minimum.reduce(values) if values else np.asarray(np.inf)
    raise NotImplementedError(f"{kind} over an index")


def _over_model(here: Node) -> bool:
    return here.op in (*REDUCTIONS, "size") and len(here.attrs) > 1 and bool(here.attrs.model)


_DEPENDING: dict[tuple[tuple[Node, ...], tuple[Node, ...]], frozenset[Node]] = {}


def depending(roots: Sequence[Node], variables: Sequence[Node]) -> frozenset[Node]:
    """The nodes below `roots` whose value depends on `variables`, of families of loop variables any member."""
    key = (tuple(roots), tuple(variables))
    if key not in _DEPENDING:
        families = {variable.name for variable in variables if variable.role == "loop" and variable.args}
        found = set(variables)
        for root in roots:
            for here in root.walk():
                if any(child in found for child in here.children) or (here.role == "loop" and here.name in families):
                    found.add(here)
        _DEPENDING[key] = frozenset(found)
    return _DEPENDING[key]
