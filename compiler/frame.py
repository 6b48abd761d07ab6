"""Evaluation of a graph for several tensors in lockstep: memory, bound variables, loops, folds, what is asked of users.

A frame knows the values of nodes; a value belongs to a node and a tensor (0, 1, …), since a rule is written for one
tensor and run for many. A reduction over the model needs its argument for all tensors, and so does a question to the
user. Inner frames bind loop variables and indices; what does not depend on them is looked up outside.

Order is by need: a value is computed when something asks for it, and of a choice by a number only the branch that is
taken is computed. No recursion on the graph, so its depth is not limited.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dotopt.compiler.ir import REDUCTIONS, Fold, Loop, Node
from dotopt.compiler.numeric import NUMERIC, reduced
from dotopt.compiler.types import REST

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

    def ask(self, here: Node, tensor: int, frame: Frame) -> Value:
        """The answer to an oracle or a function of the user."""
        raise KeyError(f"no answer was given for {here!r}")

    def window(self, here: Node, tensor: int, frame: Frame) -> Value:
        """A reduction over the last steps."""
        raise KeyError(f"{here!r} needs the earlier steps")

    def twin(self, here: Node, tensor: int) -> Node:
        """The node that plays the part of `here` in the program of another tensor."""
        return here


class Frame:
    """Values of nodes for each tensor; `bound` are the variables of this frame, `inside` what depends on them."""

    def __init__(
        self,
        world: World,
        outer: Frame | None = None,
        bound: Mapping[Key, Value] | None = None,
        inside: frozenset[Node] = frozenset(),
    ) -> None:
        self.world = world
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
            self.memory[key] = self._compute(*key)
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
        if here.op in ("oracle", "leaf", "window", "argmin", "root"):
            return []
        return [(arg, tensor) for arg in here.args]

    def _compute(self, here: Node, tensor: int) -> Value:
        with np.errstate(all="ignore"):
            match here.op:
                case "leaf":
                    return self.world.leaf(here, tensor, self)
                case "oracle" | "apply" | "conjugate" | "attention" | "jvp" | "base" | "base_member":
                    return self.world.ask(here, tensor, self)
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
                    step = float(self.world.leaf(_time(), tensor, self))
                    return np.asarray(step >= start and (step - start) % period == 0)
                case "zeros" | "ones" | "eye" | "indicator":
                    return self._filled(here, tensor)
                case "native":
                    return np.asarray(float(self.world.size(f"native {here.attrs[0]}", tensor)))
                case "argmin" | "root":
                    from dotopt.compiler.solve import solution

                    return solution(self, here, tensor)
            if _over_model(here):
                return reduced(here, [self.known(self.world.twin(here, k).args[0], k) for k in self.world.tensors])
            if here.op not in NUMERIC:
                raise NotImplementedError(f"{here.op} is not evaluated")
            return NUMERIC[here.op](here, [self.known(arg, tensor) for arg in here.args])

    def _select(self, here: Node, tensor: int) -> Value:
        condition = self.known(here.args[0], tensor)
        if np.ndim(condition) > 0 or here.type.kind == "tuple":
            return NUMERIC["select"](here, [self.known(arg, tensor) for arg in here.args])
        taken = here.args[1] if condition else here.args[2]
        value = self.known(taken, tensor)
        if isinstance(value, np.ndarray) and value.ndim and taken.type.axes != here.type.axes and not here.type.any:
            return NUMERIC["select"](here, [condition, value, value]) if here.args[1].type == here.args[2].type else value
        return value

    def _filled(self, here: Node, tensor: int) -> Value:
        if here.op == "eye":
            return np.eye(self.world.size(here.attrs[0], tensor))
        if here.op == "indicator":
            elements = self.known(here.args[0], tensor)
            made = np.zeros(self.shape(here.attrs[0].axes, tensor))
            made[[int(element) - 1 for element in elements]] = 1.0
            return made
        fill = np.zeros if here.op == "zeros" else np.ones
        if here.args and here.args[0].type.axes == here.attrs[0].axes:
            return fill(np.shape(self.known(here.args[0], tensor)))
        return fill(self.shape(here.attrs[0].axes, tensor))

    def shape(self, axes: Sequence[str], tensor: int) -> tuple[int, ...]:
        """The sizes of axes; `…` has as many as the tensor leaves unnamed."""
        sizes: list[int] = []
        for axis in axes:
            if axis.isdigit():
                sizes.append(int(axis))
            elif axis == REST:
                sizes.extend(self.world.rest(tensor) if hasattr(self.world, "rest") else ())
            else:
                sizes.append(self.world.size(axis, tensor))
        return tuple(sizes)

    # ---- loops and folds ----------------------------------------------------------------------------------------------

    def inner(self, variables: Sequence[Node], roots: Sequence[Node], bound: Mapping[Key, Value]) -> Frame:
        """A frame in which `variables` are bound, for evaluating `roots`."""
        return Frame(self.world, self, bound, depending(roots, variables))

    def _loop(self, here: Node, tensor: int) -> Value:
        body: Loop = here.attrs[0]
        together = any(_over_model(inner) or inner.op == "oracle" for root in body.nodes for inner in root.walk())
        tensors = list(self.world.tensors) if together else [tensor]
        twins = {k: self.world.twin(here, k) for k in tensors}
        for k in tensors:
            for arg in twins[k].args:
                self.value(arg, k)
        head = self.known(here.args[0], tensor)
        passes: Sequence[Value] = list(head) if body.index is not None else range(int(head))
        values = {k: [self.known(arg, k) for arg in twins[k].args[1:]] for k in tensors}
        values = {k: [_copied(v, x, self, k) for v, x in zip(body.variables, vs, strict=True)] for k, vs in values.items()}
        running = set(tensors)
        for element in passes:
            frame = self._pass(twins, values, element)
            if body.until is not None:
                running = {k for k in running if not frame.value(twins[k].attrs[0].until, k)}
            if not running:
                break
            nexts = {k: [frame.value(next, k) for next in twins[k].attrs[0].nexts] for k in running}
            values = {k: nexts.get(k, values[k]) for k in tensors}
        for k in tensors:
            self.memory[twins[k], k] = tuple(values[k])
        return tuple(values[tensor])

    def _pass(self, twins: Mapping[int, Node], values: Mapping[int, list[Value]], element: Value) -> Frame:
        bound: dict[Key, Value] = {}
        variables: dict[Node, None] = {}
        roots: dict[Node, None] = {}
        for k, twin in twins.items():
            body: Loop = twin.attrs[0]
            for variable, value in zip(body.variables, values[k], strict=True):
                bound[variable, k] = value
            if body.index is not None:
                bound[body.index, k] = np.asarray(float(element)) if isinstance(element, int | float) else element
                variables[body.index] = None
            variables.update(dict.fromkeys(body.variables))
            roots.update(dict.fromkeys(body.nodes))
        return self.inner(tuple(variables), tuple(roots), bound)

    def _fold(self, here: Node, tensor: int) -> Value:
        body: Fold = here.attrs[0]
        domains = [self.known(arg, tensor) for arg in here.args]
        if len(domains) == 1 and len(body.indices) > 1:
            domains = domains * len(body.indices)
        kept: list[Value] = []
        elements: list[Value] = []
        for chosen in itertools.product(*domains):
            bound = {
                (index, k): np.asarray(float(element)) if isinstance(element, int | float) else element
                for index, element in zip(body.indices, chosen, strict=True)
                for k in self.world.tensors
            }
            frame = self.inner(body.indices, body.nodes, bound)
            if body.condition is None or frame.value(body.condition, tensor):
                kept.append(frame.value(body.body, tensor))
                elements.append(chosen[0] if len(chosen) == 1 else chosen)
        return _folded(body.kind, kept, elements)


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


def _copied(variable: Node, value: Value, frame: Frame, tensor: int) -> Value:
    """A start that is a number, for a variable that has axes: a tensor filled with it."""
    if isinstance(value, np.ndarray) and value.ndim == 0 and variable.type.axes:
        return np.full(frame.shape(variable.type.axes, tensor), value[()])
    return value


def _over_model(here: Node) -> bool:
    return here.op in (*REDUCTIONS, "size") and len(here.attrs) > 1 and bool(here.attrs[1])


def _time() -> Node:
    from dotopt.compiler.ir import TIME

    return TIME


_DEPENDING: dict[tuple[tuple[Node, ...], tuple[Node, ...]], frozenset[Node]] = {}


def depending(roots: Sequence[Node], variables: Sequence[Node]) -> frozenset[Node]:
    """The nodes below `roots` whose value depends on `variables`."""
    key = (tuple(roots), tuple(variables))
    if key not in _DEPENDING:
        found = set(variables)
        for root in roots:
            for here in root.walk():
                if any(child in found for child in here.children):
                    found.add(here)
        _DEPENDING[key] = frozenset(found)
    return _DEPENDING[key]


Ask = Callable[[Node, int, Frame], Value]
