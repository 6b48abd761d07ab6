"""What a program reads besides its equations: parameters, states, hyperparameters, inputs, sizes, draws, answers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dotopt.compiler.evaluate.frame import Frame, Value, World
from dotopt.compiler.evaluate.numeric import spelled
from dotopt.compiler.evaluate.random import draw, place
from dotopt.compiler.ir import REDUCTIONS, Hyper, Loop, Node, Program, Random, State, leaf
from dotopt.compiler.ops.types import INT, REST, Type

Array = NDArray[Any]


class Setting(World):
    """The tensors of one optimizer, and all that is known when a step is made."""

    def __init__(
        self,
        program: Program | Callable[[int], Program],
        params: Any = (),
        hypers: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        draws: Mapping[str, Any] | None = None,
        sets: Mapping[str, int | Sequence[Any]] | None = None,
        sizes: Mapping[str, int] | None = None,
        states: Mapping[str, Any] | None = None,
    ) -> None:
        self.single = isinstance(params, np.ndarray)
        named = {"": params} if self.single else params if isinstance(params, Mapping) else dict(enumerate(params))
        self.names: list[Any] = list(named) or [""]
        self.native = [np.array(value, dtype=np.float64) for value in named.values()] or [np.zeros(())]
        self.programs: list[Program] = [
            program if isinstance(program, Program) else program(value.ndim) for value in self.native
        ]
        self.values = [self._view(k, value) for k, value in enumerate(self.native)] if named else []
        self.hypers = dict(hypers or {})
        self.seed, self.draws, self.sets = seed, dict(draws or {}), dict(sets or {})
        self.given_sizes, self.given_states = dict(sizes or {}), dict(states or {})
        self.tensors: Sequence[int] = list(range(len(self.programs)))
        self.clock = [0] * len(self.programs)
        self.inputs: Mapping[str, Any] = {}
        self.oracles: Mapping[str, Callable[..., Any]] = {}
        self.gradients: Any = None
        self.past: dict[tuple[Node, int], list[Value]] = {}
        self._twins: dict[int, list[Node]] = {}
        self._check_hypers()
        self.stored: list[dict[str, Value]] = [{} for _ in self.programs]
        self.members: Sequence[int] = [0] * len(self.programs)  # the group of each tensor
        self.common: dict[tuple[int, str], Value] = {}  # the numbers of each group

    def _view(self, tensor: int, value: Array) -> Array:
        if not self.programs[tensor].params:
            return value
        param = self.programs[tensor].params[0]
        if value.ndim == 0 and param.type.axes:
            value = value.reshape(1)
        if param.merged:
            kept = value.shape[: len(param.type.axes) - 1]
            return value.reshape(*kept, math.prod(value.shape[len(kept) :]))
        return value

    def _given(self, parts: Sequence[Any]) -> Any:
        return (
            parts[0]
            if self.single or (len(parts) == 1 and self.names == [""])
            else dict(zip(self.names, parts, strict=False))
        )

    def _pick(self, whole: Any, tensor: int) -> Any:
        return whole if self.single or self.names == [""] else whole[self.names[tensor]]

    def _numbers_tensors(self, index: str, tensor: int) -> bool:
        """Whether an index of the family of parameters, of which each tensor is one member."""
        return any(name == index for param in self.programs[tensor].params for name, _ in param.indices)

    def _free(self, state: State) -> tuple[Node, ...]:
        """The indices of a state, those of its role included, that do not number the tensors."""
        role = next((role.indices for role in self.programs[0].roles if role.name == state.role), ())
        names = (name for name, _ in (*state.indices, *role))
        return tuple(leaf("index", name, INT) for name in names if not self._numbers_tensors(name, 0))

    def _shaped(self, frame: Frame, state: State, value: Value, tensor: int) -> Value:
        if not isinstance(value, np.ndarray) or (REST in state.type.axes and not self.values):
            return value
        return np.broadcast_to(value, frame.shape(state.type.axes, tensor)) + 0.0

    # ---- leaves -----------------------------------------------------------------------------------------------------

    def leaf(self, here: Node, tensor: int, frame: Frame) -> Value:
        match here.role:
            case "time":
                return np.asarray(float(self.clock[tensor]))
            case "param":
                return self._parameter(here, tensor, frame)
            case "state":
                return self._state(here, tensor, frame)
            case "hyper":
                return self._hyper(here, tensor, frame)
            case "input":
                value = self.inputs[here.name]
                value = value[self._position(here, tensor, frame)] if here.args else value
                return value if isinstance(value, list | tuple | str) else np.asarray(value, dtype=float)
            case "draw":
                return self._draw(here, tensor, frame)
            case "axis":
                return np.asarray(float(self.size(here.name, tensor)))
            case "rank":
                return np.asarray(float(self.native[tensor].ndim))
            case "set":
                return self._set(here.name)
            case "index":
                if self._numbers_tensors(here.name, tensor):
                    return np.asarray(float(tensor + 1))
        raise KeyError(f"{here.role} {here!r} has no value: {here.name} is bound nowhere")

    def _position(self, here: Node, tensor: int, frame: Frame) -> Any:
        """The key of a member of a family that the user gives: positions count from 1, lists from 0."""
        key = frame.chosen(here.args, tensor)
        return key[0] - 1 if len(key) == 1 and isinstance(self.inputs.get(here.name), list | np.ndarray) else key[0]

    def _parameter(self, here: Node, tensor: int, frame: Frame) -> Value:
        if here.args:
            return self.values[int(frame.chosen(here.args, tensor)[0]) - 1]
        return self.values[tensor]

    def _state(self, here: Node, tensor: int, frame: Frame) -> Value:
        state = next(s for s in self.programs[tensor].states if s.name == here.name)
        free = self._free(state)
        if state.kind == "first" and self.clock[tensor] <= 1 and here.name not in self.stored[tensor]:
            root = frame.home(here)
            while root.outer is not None:
                root = root.outer
            if not free:
                return self._shaped(root, state, root.value(state.start, tensor), tensor)
            key = frame.chosen(here.args, tensor)
            return self._shaped(root, state, root.at(free, key, (state.start,)).value(state.start, tensor), tensor)
        value = self.stored[tensor][here.name]
        return value[frame.chosen(here.args, tensor)] if free else value

    def _check_hypers(self) -> None:
        known = {name for h in self.programs[0].hypers for name in (h.name, h.keyword)}
        unknown = set(self.hypers) - known
        if unknown:
            raise KeyError(f"no hyperparameter {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")

    def _hyper(self, here: Node, tensor: int, frame: Frame) -> Value:
        hyper = next((h for h in self.programs[tensor].hypers if h.name == here.name), None)
        if hyper is None:
            raise KeyError(f"the program has no hyperparameter {here.name}")
        value = self._chosen_value(hyper)
        if value is None:
            if hyper.default is None:
                raise KeyError(f"no value was given for {hyper.keyword}")
            return frame.value(hyper.default, tensor)
        if here.args and isinstance(value, Mapping | Sequence):
            key = frame.chosen(here.args, tensor)[0]
            value = value[key] if isinstance(value, Mapping) else value[key - 1]
        return np.asarray(float(value))

    def _chosen_value(self, hyper: Hyper) -> Any:
        if hyper.name in self.hypers:
            return self.hypers[hyper.name]
        value = self.hypers.get(hyper.keyword)
        return value if value is None or hyper.position is None else value[hyper.position]

    def _set(self, name: str) -> tuple[Any, ...]:
        if name not in self.sets:
            families = {s for p in self.programs[0].params for _, s in p.indices}
            if name in families:
                return tuple(range(1, len(self.values) + 1))
            raise KeyError(f"the set {name} was not given: sets={{'{name}': how many}}")
        given = self.sets[name]
        return tuple(range(1, given + 1)) if isinstance(given, int) else tuple(given)

    def elements(self, index: Node) -> tuple[Value, ...]:
        p = self.programs[0]
        declared = [
            d.indices for group in (p.callables, p.params, p.states, p.inputs, p.hypers, p.roles) for d in group
        ]
        for name, of in itertools.chain.from_iterable(declared):
            if name == index.name and of:
                return self._set(of)
        for here in itertools.chain.from_iterable(root.walk() for root in p.roots):
            if here.op == "fold" and index in here.attrs.body.indices:
                return tuple(Frame(self).value(here.args[0], self.tensors[0]))
        return super().elements(index)

    # ---- sizes ------------------------------------------------------------------------------------------------------

    def size(self, axis: str, tensor: int) -> int:
        if axis.startswith("native "):
            return int(self.native[tensor].shape[int(axis.split()[1])]) if self.native[tensor].ndim else 1
        program = self.programs[tensor]
        if self.values:
            found = spelled(program.params[0].type, self.values[tensor].ndim) if program.params else None
            if found and axis in found:
                return int(self.values[tensor].shape[found.index(axis)])
        if axis in self.given_sizes:
            return self.given_sizes[axis]
        for given in program.inputs:
            if axis in given.type.axes and given.name in self.inputs:
                array = self.inputs[given.name]
                array = np.asarray(
                    next(iter(array.values())) if isinstance(array, Mapping) else array[0] if given.indices else array
                )
                names = spelled(given.type, array.ndim)
                if names and axis in names:
                    return int(array.shape[names.index(axis)])
        for here in self._given_by_layers(tensor):
            if axis in here.type.axes and here.name in self.inputs:
                return int(np.shape(self.inputs[here.name])[here.type.axes.index(axis)])
        for hyper in program.hypers:
            if hyper.name == axis:
                return int(Frame(self).value(leaf("hyper", hyper.name, hyper.type), tensor))
        return super().size(axis, tensor)

    def _given_by_layers(self, tensor: int) -> list[Node]:
        """What the rule reads of the linear layer of a parameter."""
        declared = {given.name for given in self.programs[tensor].inputs}
        nodes = (here for root in self.programs[tensor].roots for here in root.walk())
        return [here for here in nodes if here.role == "input" and here.name not in declared]

    def rest(self, tensor: int) -> tuple[int, ...]:
        program = self.programs[tensor]
        if program.params and self.values:
            return _rest(program.params[0].type, self.values[tensor].shape)
        for given in program.inputs:
            if REST in given.type.axes and given.name in self.inputs:
                return _rest(given.type, np.shape(self.inputs[given.name]))
        return ()

    # ---- draws, questions, windows ----------------------------------------------------------------------------------

    def _draw(self, here: Node, tensor: int, frame: Frame) -> Value:
        random = next(r for r in self.programs[tensor].randoms if r.name == here.name)
        path = frame.home(here).path
        step = self.clock[tensor]
        if here.name in self.draws:
            value = self.draws[here.name]
            value = value(step, *path) if callable(value) else value
            if here.type.axes and isinstance(value, Mapping):
                value = value[self.names[tensor]]
            return value if isinstance(value, tuple | list | str) or here.type.kind == "sample" else np.asarray(value)
        where = (str(self.names[tensor]) if here.type.axes else "") + (str(list(path)) if path else "")
        if random.law == "batch":
            return ("sample", step, random.position, *path)
        return self._sampled(random, frame, tensor, step, where)

    def _sampled(self, random: Random, frame: Frame, tensor: int, step: int, where: str) -> Value:
        args = [frame.value(arg, tensor) for arg in random.args]
        shape = frame.shape(random.type.axes, tensor)
        args = [
            a if isinstance(a, tuple) or np.ndim(a) == 0 or random.law == "categorical" else np.asarray(a) for a in args
        ]
        return draw(random.law, args, shape, seed=self.seed, step=step, position=random.position, where=place(where))

    def ask(self, here: Node, tensor: int, frame: Frame) -> Value:
        if here.op == "attention":
            return self._attention(here, tensor, frame)
        if here.op not in ("oracle", "apply"):
            raise NotImplementedError(f"{here.op} is not evaluated: {here!r}")
        name, what, argument, (count, _), _ = here.attrs
        together = here.op == "oracle" and bool(self.values)
        tensors = self.tensors if together else [tensor]
        if self.gradients is not None and what == "gradient" and here.args[count].role == "param":
            return _as_view(self._pick(self.gradients, tensor), self.values[tensor])
        asked = {k: self.twin(here, k) for k in tensors}
        symbol = {"gradient": "∇", "hessian_vector": "∇²", 1: "∇", 2: "∇²"}.get(what, "")
        key = f"{symbol}{f'_{argument} ' if argument and not argument.startswith('per ') else ''}{name}"
        if key not in self.oracles:
            raise KeyError(f"the rule asks for {key}: step(…, oracles={{'{key}': …}})")
        indices = frame.chosen(here.args[:count], tensor)
        whole = [self._point(asked, count + i, frame) for i in range(len(here.args) - count)]
        if what == "value" and here.type.axes:  # one value per particle
            return np.array([float(self.oracles[key](*indices, row, *whole[1:])) for row in whole[0]])
        answer = self.oracles[key](*indices, *whole)
        if what in ("value", 0) or not together:
            return answer if isinstance(answer, tuple) else np.asarray(answer)
        for k in tensors:
            frame.memory[asked[k], k] = _as_view(self._pick(answer, k), self.values[k])
        return frame.memory[here, tensor]

    def _point(self, asked: Mapping[int, Node], position: int, frame: Frame) -> Any:
        """An argument of an oracle, as the user sees it: an array, or a mapping from names of tensors."""
        values = {k: frame.value(here.args[position], k) for k, here in asked.items()}
        first = next(iter(values.values()))
        if not isinstance(first, np.ndarray) or self.single or self.names == [""] or len(asked) < len(self.tensors):
            return self._native(first, next(iter(values)))
        return {self.names[k]: self._native(value, k) for k, value in values.items()}

    def _native(self, value: Any, tensor: int) -> Any:
        same = isinstance(value, np.ndarray) and bool(self.values) and value.shape == self.values[tensor].shape
        return value.reshape(self.native[tensor].shape) if same else value

    def window(self, here: Node, tensor: int, frame: Frame) -> Value:
        length = int(frame.value(here.args[1], tensor))
        past = self.past.get((here, tensor), [])
        recent = [*past[max(0, len(past) - length + 1) :], frame.value(here.args[0], tensor)]
        stacked = np.stack([np.asarray(value) + 0.0 for value in recent])
        match here.attrs.kind:
            case "sum":
                return stacked.sum(axis=0)
            case "mean":
                return stacked.mean(axis=0)
            case "max":
                return stacked.max(axis=0)
            case "min":
                return stacked.min(axis=0)
        raise NotImplementedError(f"{here.attrs.kind} over the last steps")

    def _attention(self, here: Node, tensor: int, frame: Frame) -> Value:
        query, key, *between, value = (frame.value(arg, tensor) for arg in here.args)
        bias, window = between or (0.0, 0)
        seen = [(k, v, b[0] if b else 0.0) for k, v, *b in self.past.get((here, tensor), [])]
        seen += [] if here.attrs.strict else [(key, value, bias)]
        first = max(0, len(seen) - int(window) + here.attrs.strict) if window else 0
        seen = seen[first:]
        if not seen:
            return np.zeros_like(value)
        scores = np.array([k @ query / np.sqrt(query.shape[-1]) + b for k, _, b in seen])
        weights = np.exp(scores - scores.max())
        return np.einsum("s,s...->...", weights / weights.sum(), np.stack([v for _, v, _ in seen]))

    def twin(self, here: Node, tensor: int) -> Node:
        """The node with the same place among the reductions, loops and questions of another tensor's program.

        A tensor of another rank may have a program with other ones: `here` itself is what it would have.
        """
        if len(self.programs) == 1 or here in self._shared_nodes(tensor):
            return here
        mine = [other for other in self._shared_nodes(tensor) if other.op == here.op]
        for k in range(len(self.programs)):
            theirs = [other for other in self._shared_nodes(k) if other.op == here.op]
            if here in theirs and len(theirs) == len(mine):
                return mine[theirs.index(here)]
        return here

    def _shared_nodes(self, tensor: int) -> list[Node]:
        program = self.programs[tensor]
        if id(program) not in self._twins:
            found: dict[Node, None] = {}
            for root in program.roots:
                for here in root.walk():
                    body = any(isinstance(attr, Loop) for attr in here.attrs)
                    model = here.op in REDUCTIONS and bool(here.attrs.model)
                    if body or model or here.op == "oracle":
                        found[here] = None
            self._twins[id(program)] = list(found)
        return self._twins[id(program)]


def _rest(type: Type, shape: tuple[int, ...]) -> tuple[int, ...]:
    names = spelled(type, len(shape)) or []
    return tuple(size for name, size in zip(names, shape, strict=True) if name.startswith(REST))


def _as_view(value: Any, like: Array) -> Array:
    array = np.asarray(value, dtype=float)
    return array.reshape(like.shape) if array.size == like.size else array
