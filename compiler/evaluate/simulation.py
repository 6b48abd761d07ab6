"""Whole programs, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dotopt.compiler.evaluate.frame import Frame, Value
from dotopt.compiler.evaluate.setting import Setting
from dotopt.compiler.ir import Fold, Loop, Node, State, leaf


class Simulation(Setting):
    """Some tensors under one rule.

    `program` is a Program, or a function from the number of axes of a tensor to its Program. `params` is an array, a
    sequence, or a mapping from names to arrays; `hypers` are given by symbol or by Python keyword (`betas=(…)`);
    `sets` gives the sizes of index sets; `sizes` those of axes that nothing else tells; `draws` replaces draws by
    data, or by functions of the step (and of the place, in roles and loops); `states` replaces starting values.
    Points and answers of `oracles` are arrays if `params` is one array, else mappings from names.

    >>> from dotopt.compiler.lower import lower
    >>> from dotopt.compiler.parse import parse
    >>> from dotopt.compiler.text.source import Source
    >>> text = "rule Descent\\nobjective f\\nparam x : real[...]\\nhyper η as lr = 0.1\\nx' = x - η*∇f(x)\\n"
    >>> run = Simulation(lower(parse(Source("descent.opt", text))), np.array([1.0, 2.0]), {"lr": 0.5})
    >>> run.step(np.array([1.0, 1.0]))
    {}
    >>> run.params
    array([0.5, 1.5])
    """

    # ---- what a user of the simulation sees -------------------------------------------------------------------------

    @property
    def params(self) -> Any:
        """The parameters now, in the form and shapes in which they were given."""
        return self._given([value.reshape(n.shape) for value, n in zip(self.values, self.native, strict=False)])

    @property
    def states(self) -> Any:
        """The states now, by tensor and name; families are mappings from elements."""
        return self._given(self.stored)

    def step(
        self,
        gradients: Any = None,
        *,
        oracles: Mapping[str, Callable[..., Any]] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """One step; the outputs by name.

        `gradients` answer ∇f at the parameter (a tensor whose gradient is None stands still). `oracles` are functions
        `f`, `∇f`, `∇²f`, `∇_x f`, `F`, … of indices, points, samples (and the direction last).
        """
        self.gradients, self.oracles = gradients, oracles or {}
        if inputs is not None:
            self.inputs = inputs
        everyone = range(len(self.programs))
        self.tensors = [k for k in everyone if gradients is None or self._pick(gradients, k) is not None]
        for k in self.tensors:
            self.clock[k] += 1
        frame = Frame(self)
        self._fill(frame)
        moved = {
            k: {p.name: frame.value(self.programs[k].next[p.name], k) for p in self._moving(k)} for k in self.tensors
        }
        states = {k: {s.name: self._next(frame, s, k) for s in self.programs[k].states} for k in self.tensors}
        self._agree(states)
        outputs = {name: self._output(frame, name) for name in self.programs[0].outputs}
        for k in self.tensors:
            for root in self.programs[k].roots:
                for here in root.walk():
                    if here.op in ("window", "attention") and (here, k) not in frame.memory:
                        frame.value(here, k)
        for k in self.tensors:
            for value in moved[k].values():
                self.values[k] = np.broadcast_to(value, self.values[k].shape).astype(float)
            self.stored[k] = states[k]
            for (here, tensor), recent in self._recent(frame).items():
                if tensor == k:
                    self.past.setdefault((here, k), []).append(recent)
        self.tensors = list(everyone)
        return outputs

    def evaluation(self) -> Any:
        """What `eval` shows instead of the parameters."""
        frame = Frame(self)
        shown = []
        for k, program in enumerate(self.programs):
            (root,) = program.evaluation.values()
            shown.append(np.broadcast_to(frame.value(root, k), self.values[k].shape).reshape(self.native[k].shape))
        return self._given(shown)

    def _agree(self, states: Mapping[int, dict[str, Value]]) -> None:
        """A number that a group holds is, for all of its tensors, what one makes that has taken the most steps."""
        for group in dict.fromkeys(self.members[k] for k in states):
            mine = [k for k in range(len(self.programs)) if self.members[k] == group]
            oldest = max((k for k in mine if k in states), key=lambda k: self.clock[k])
            for state in self.programs[oldest].states:
                if state.shared and self.programs[oldest].of_group(state.name):
                    value = self.common[group, state.name] = states[oldest][state.name]
                    for k in mine:
                        kept = states[k] if k in states else self.stored[k]
                        if state.name in kept:
                            kept[state.name] = value

    # ---- a step -----------------------------------------------------------------------------------------------------

    def _moving(self, tensor: int) -> list[Any]:
        return [p for p in self.programs[tensor].params if p.name in self.programs[tensor].next]

    def _fill(self, frame: Frame) -> None:
        """Starts of states, computed when the first step knows the inputs."""
        for k in self.tensors:
            if self.stored[k]:
                continue
            for state in self.programs[k].states:
                common = self.common.get((self.members[k], state.name))
                if common is not None and not state.starts_late:
                    self.stored[k][state.name] = common
                elif state.name in self.given_states:
                    self.stored[k][state.name] = _given_state(state, self.given_states[state.name])
                elif state.kind != "first":
                    self.stored[k][state.name] = self._start(frame, state, k)

    def _start(self, frame: Frame, state: State, tensor: int) -> Value:
        def filled(value: Value) -> Value:
            if not isinstance(value, np.ndarray):
                return value
            return np.broadcast_to(value, frame.shape(state.type.axes, tensor)) + 0.0

        free = self._free(state)
        if not free:
            return filled(frame.value(state.start, tensor))
        return {key: filled(value) for key, value in frame.family(state.start, free, tensor).items()}

    def _next(self, frame: Frame, state: State, tensor: int) -> Value:
        """The next value; held where nothing moves it, and by parties that take no part."""
        free = self._free(state)
        here = leaf("state", state.name, state.type, *free)
        if not free:
            value = frame.value(state.next if state.next is not None else here, tensor)
            return self._shaped(frame, state, value, tensor)
        party = next((role for role in self.programs[tensor].roles if role.name == state.role), None)
        made = {}
        for key, held in frame.family(here, free, tensor).items():
            roots = (state.next or here, *((party.condition,) if party and party.condition is not None else ()))
            inner = frame.at(free, key, roots)
            present = party is None or party.condition is None or bool(inner.value(party.condition, tensor))
            made[key] = self._shaped(frame, state, inner.value(roots[0], tensor), tensor) if present else held
        return made

    def _output(self, frame: Frame, name: str) -> Any:
        found = []
        for k in self.tensors:
            root = self.programs[k].outputs[name]
            free = tuple(index for index in unbound(root) if not self._numbers_tensors(index.name, k))
            found.append(frame.family(root, free, k) if free else frame.value(root, k))
        return self._given(found)

    def _recent(self, frame: Frame) -> dict[tuple[Node, int], Value]:
        found = {}
        for here, k in list(frame.memory):
            if here.op == "window":
                found[here, k] = frame.value(here.args[0], k)
            elif here.op == "attention":
                found[here, k] = tuple(frame.value(arg, k) for arg in _kept(here))
        return found


def _kept(here: Node) -> tuple[Node, ...]:
    """What attention keeps of a token: key, value, and what is added to its scores."""
    return (here.args[1], here.args[-1], *here.args[2:-2])


def unbound(root: Node) -> tuple[Node, ...]:
    """The indices that are free in `root`: those of a family."""
    bound = {
        index
        for here in root.walk()
        for attr in here.attrs
        for index in (attr.indices if isinstance(attr, Fold) else (attr.index,) if isinstance(attr, Loop) else ())
    }
    return tuple(dict.fromkeys(here for here in root.walk() if here.role == "index" and here not in bound))


def _given_state(state: State, value: Any) -> Value:
    """A starting value of the user; a mapping from elements is a family."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, tuple) else (key,): np.asarray(v, dtype=float) for key, v in value.items()}
    return value if state.type.kind == "list" else np.asarray(value, dtype=float)
