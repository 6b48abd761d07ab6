"""The base class of rules over sequences: a torch module that is also a state machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dotopt.runtime.given import Asking
from dotopt.runtime.sequence.rule import Functions, SequenceRule
from dotopt.runtime.signature import check_hyper

State = dict[str, Any]


class SequenceModule(Asking):
    """A compiled rule over sequences.

    Inputs have any leading axes (batch, heads), then the tokens, then the axes that the rule names: `[..., T, d]`, and
    `[..., T]` for a number at each token. `forward` reads whole sequences, `step` one token; both take and give the
    state, so that reading in pieces equals reading at once. Computed in float32 for 16-bit inputs.

    Hyperparameters are attributes; one that is given as `nn.Parameter` is learned.
    """

    rule: ClassVar[SequenceRule]
    compiled = "functions"

    def __init__(self, *functions: Any, block: int = 64, **given: Any) -> None:
        """`functions` are those that the file asks for, by position or by name: modules, or other callables.

        `block` is how many tokens a low-rank memory takes together: speed and memory, not the result.

        Raises TypeError for unknown keywords and ValueError for values outside the declared ranges.
        """
        super().__init__()
        rule = self.rule
        self.hold(rule.name, rule.given, functions, given)
        legal = [h.keyword for h in rule.hypers] + [o.keyword for o in rule.options]
        for keyword in given:
            if keyword not in legal:
                raise TypeError(f"{rule.name} has no option `{keyword}`; it takes {', '.join((*legal, 'block'))}")
        self.block = int(block)
        self.hyper: dict[str, Any] = {}
        for hyper in rule.hypers:
            value = given.get(hyper.keyword)
            if value is None:
                value = hyper.default(self.hyper) if callable(hyper.default) else hyper.default
            if value is None:
                raise TypeError(f"{rule.name} needs `{hyper.keyword}`: the file states no default")
            self.hyper[hyper.name] = value
            check_hyper(rule.name, hyper, self.hyper)
            if isinstance(value, nn.Parameter):
                self.register_parameter(hyper.keyword, value)
        choice = []
        for option in rule.options:
            chosen = given.get(option.keyword, option.default)
            if chosen not in option.values:
                legal_values = ", ".join(map(repr, option.values))
                raise ValueError(f"{rule.name}: {option.keyword}={chosen!r} is no value of it; it takes {legal_values}")
            choice.append(chosen)
        self.options = tuple(choice)
        self.functions: Functions = rule.functions[self.options]

    def extra_repr(self) -> str:
        """The equations' source, the hyperparameters and the recurrence of each state."""
        hypers = [f"{h.keyword}={self.hyper[h.name]!r}" for h in self.rule.hypers]
        options = [f"{o.keyword}={v!r}" for o, v in zip(self.rule.options, self.options, strict=True)]
        return ", ".join((*hypers, *options))

    # ---- states ------------------------------------------------------------------------------------------------------

    def initial_state(
        self, batch: Sequence[int] = (), seed: int = 0, like: Tensor | None = None, **sizes: int
    ) -> State:
        """The state before the first token: `t` and one tensor `[*batch, *axes]` for each memory.

        `sizes` gives the sizes of the axes that no integer hyperparameter names; `like` gives dtype and device.
        Memories that the file draws (`~ normal(…)`) are drawn with `seed`.
        """
        like = torch.zeros(()) if like is None else like
        known = {**{n: int(v) for n, v in self.hyper.items() if isinstance(v, int)}, **sizes}
        generator = torch.Generator().manual_seed(seed)
        state: State = {"t": 0}
        for memory in self.functions.memories:
            shape = (*batch, *(int(axis) if axis.isdigit() else known[axis] for axis in memory.axes))
            if memory.start == "eye":
                start = torch.eye(shape[-1]).expand(shape)
            elif callable(memory.start):
                start = memory.start(shape, known, generator, self.hyper)
            else:
                start = torch.full(shape, float(memory.start))
            state[memory.name] = start.to(dtype=like.dtype, device=like.device)
        return state

    # ---- reading -----------------------------------------------------------------------------------------------------

    def forward(
        self, *args: Any, state: State | None = None, mask: Tensor | None = None, resets: Sequence[int] = (),
        return_state: bool = False, seed: int = 0, **named: Any,
    ) -> Any:
        """The outputs for all tokens, `[..., T, *axes]`; with `return_state` also the state after the last.

        mask: `[..., T]`, False where there is no token: the state is kept and the output is 0. resets: positions
        (from 0) where a new document begins: the state starts anew. Raises TypeError and ValueError for inputs that
        do not fit.
        """
        inputs, lead, length, dtype = self._inputs(args, named)
        if mask is not None:
            return self._masked(inputs, lead, length, dtype, state, mask, resets, return_state, seed)
        example = next(iter(inputs.values()))
        fresh = self._start(inputs, lead, seed, example)
        state = fresh if state is None else dict(state)
        pieces: list[dict[str, Tensor]] = []
        for start, end, anew in self._stretches(state["t"], length, resets):
            if anew:
                state = dict(fresh)
            outputs, state = self._read(inputs, state, start, end)
            pieces.append(outputs)
        names = self.rule.outputs
        if not pieces:
            raise ValueError(f"{self.rule.name}: a sequence without tokens")
        whole = tuple(
            _cut(torch.cat([piece[name] for piece in pieces], len(lead)) if len(pieces) > 1 else pieces[0][name], dtype)
            for name in names
        )
        result: Any = whole[0] if len(whole) == 1 else whole
        return (result, state) if return_state else result

    def step(self, *args: Any, state: State | None = None, seed: int = 0, **named: Any) -> Any:
        """The outputs for one token, and the next state; inputs are `[..., *axes]`."""
        bound = self._bound(args, named)
        tensors = {n: torch.as_tensor(v) for n, v in bound.items()}
        axes = {x.name: len(x.axes) for x in self.rule.inputs}
        long = {n: v.unsqueeze(v.dim() - axes[n]) for n, v in tensors.items()}
        inputs, lead, _, dtype = self._inputs((), {x.keyword: long[x.name] for x in self.rule.inputs})
        example = next(iter(inputs.values()))
        state = self._start(inputs, lead, seed, example) if state is None else dict(state)
        outputs, state = self._token(inputs, state, 0)
        found = tuple(_cut(outputs[name], dtype) for name in self.rule.outputs)
        return (found[0] if len(found) == 1 else found), state

    # ---- machinery ---------------------------------------------------------------------------------------------------

    def _bound(self, args: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
        rule = self.rule
        keywords = [x.keyword for x in rule.inputs]
        if len(args) > len(keywords):
            raise TypeError(f"{rule.name} takes {len(keywords)} inputs: {', '.join(keywords)}")
        given = dict(zip(keywords, args, strict=False))
        for keyword, value in named.items():
            if keyword not in keywords or keyword in given:
                raise TypeError(f"{rule.name} has no input `{keyword}`; its inputs are {', '.join(keywords)}")
            given[keyword] = value
        missing = [k for k in keywords if k not in given]
        if missing:
            raise TypeError(f"{rule.name} needs {', '.join(missing)}")
        return {x.name: given[x.keyword] for x in rule.inputs}

    def _inputs(
        self, args: Sequence[Any], named: dict[str, Any]
    ) -> tuple[dict[str, Tensor], tuple[int, ...], int, torch.dtype]:
        """The inputs with common leading axes and tokens, in at least float32; the leading sizes, T, and the dtype."""
        bound = self._bound(args, named)
        tensors = {n: torch.as_tensor(v) for n, v in bound.items()}
        floating = [v for v in tensors.values() if v.is_floating_point()]
        dtype = floating[0].dtype if floating else torch.get_default_dtype()
        for other in floating[1:]:
            dtype = torch.promote_types(dtype, other.dtype) if other.dim() else dtype
        work = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
        leads, sizes = [], dict[str, int]()
        for x in self.rule.inputs:
            value = tensors[x.name]
            tail = len(x.axes)
            if value.dim() < tail + (1 if tail else 0):
                shape = ", ".join(("T", *x.axes))
                found = tuple(value.shape)
                raise ValueError(f"{self.rule.name}: `{x.keyword}` is [..., {shape}], and {found} was given")
            for axis, size in zip(x.axes, value.shape[value.dim() - tail :], strict=True):
                if sizes.setdefault(axis, size) != size:
                    clash = f"{sizes[axis]} elsewhere, {size} in `{x.keyword}`"
                    raise ValueError(f"{self.rule.name}: axis `{axis}` is {clash}")
            leads.append(value.shape[: value.dim() - tail])
        try:
            whole = torch.broadcast_shapes(*leads)
        except RuntimeError:
            shapes = ", ".join(str(tuple(x)) for x in leads)
            raise ValueError(f"{self.rule.name}: leading axes {shapes} do not fit") from None
        if not whole:
            raise ValueError(f"{self.rule.name}: no input has an axis of tokens")
        expanded = {}
        for x in self.rule.inputs:
            value = tensors[x.name].to(work) if tensors[x.name].is_floating_point() else tensors[x.name]
            own = value.shape[value.dim() - len(x.axes) :]
            expanded[x.name] = value.expand(*whole, *own)
        return expanded, tuple(whole[:-1]), whole[-1], dtype

    def _start(self, inputs: dict[str, Tensor], lead: tuple[int, ...], seed: int, like: Tensor) -> State:
        sizes: dict[str, int] = {}
        for x in self.rule.inputs:
            value = inputs[x.name]
            sizes.update(zip(x.axes, value.shape[value.dim() - len(x.axes) :], strict=True))
        return self.initial_state(lead, seed, like, **sizes)

    def _stretches(self, t: int, length: int, resets: Sequence[int]) -> Iterator[tuple[int, int, bool]]:
        """The pieces that can be read at once: start, end, and whether a document begins there."""
        begins = {int(r) for r in resets if 0 <= int(r) < length}
        cuts = begins | {0, length}
        periods = [int(self.hyper[p]) if isinstance(p, str) else p for p in self.functions.periods]
        if self.functions.stretch is None:
            cuts |= set(range(length))
        else:
            clock = t
            for position in range(length):
                clock = 1 if position in begins else clock + 1
                if any(clock % period == 0 for period in periods):
                    cuts.add(position + 1)
        ordered = sorted(cuts)
        for start, end in itertools.pairwise(ordered):
            yield start, end, start in begins

    def _read(self, inputs: dict[str, Tensor], state: State, start: int, end: int) -> tuple[dict[str, Tensor], State]:
        if self.functions.stretch is None:
            outputs, later = self._token(inputs, state, start)
            lead = next(iter(inputs.values())).dim() - len(self.rule.inputs[0].axes) - 1
            return {n: v.unsqueeze(lead) for n, v in outputs.items()}, later
        axes = {x.name: len(x.axes) for x in self.rule.inputs}
        part = [v.narrow(v.dim() - axes[n] - 1, start, end - start) for n, v in inputs.items()]
        t = int(state["t"])
        like = part[0]
        clock = torch.arange(t + 1, t + 1 + end - start, dtype=like.dtype, device=like.device)
        memory = {n: v for n, v in state.items() if n != "t"}
        outputs, later = self.functions.stretch(*part, *self.answers(), memory, clock, t == 0, self.hyper, self.block)
        return outputs, {"t": t + end - start, **later}

    def _token(self, inputs: dict[str, Tensor], state: State, at: int) -> tuple[dict[str, Tensor], State]:
        axes = {x.name: len(x.axes) for x in self.rule.inputs}
        part = [v.select(v.dim() - axes[n] - 1, at) for n, v in inputs.items()]
        t = int(state["t"]) + 1
        memory = {n: v for n, v in state.items() if n != "t"}
        outputs, later = self.functions.token(*part, *self.answers(), memory, t, t == 1, self.hyper)
        return outputs, {"t": t, **later}

    def _masked(
        self, inputs: dict[str, Tensor], lead: tuple[int, ...], length: int, dtype: torch.dtype, state: State | None,
        mask: Tensor, resets: Sequence[int], return_state: bool, seed: int,
    ) -> Any:
        """Token by token, keeping the state where there is none. The clock counts positions."""
        example = next(iter(inputs.values()))
        fresh = self._start(inputs, lead, seed, example)
        state = fresh if state is None else dict(state)
        mask = mask.to(torch.bool).expand(*lead, length)
        collected: dict[str, list[Tensor]] = {name: [] for name in self.rule.outputs}
        begins = {int(r) for r in resets}
        for at in range(length):
            if at in begins:
                state = dict(fresh)
            outputs, later = self._token(inputs, state, at)
            keep = mask[..., at]
            for name in self.rule.outputs:
                collected[name].append(outputs[name] * _beside(keep, outputs[name]).to(outputs[name].dtype))
            for name, value in later.items():
                if name in state and isinstance(value, Tensor) and value.shape == state[name].shape:
                    later[name] = torch.where(_beside(keep, value), value, state[name])
            state = later
        whole = tuple(_cut(torch.stack(collected[name], len(lead)), dtype) for name in self.rule.outputs)
        result: Any = whole[0] if len(whole) == 1 else whole
        return (result, state) if return_state else result


def _beside(mask: Tensor, value: Tensor) -> Tensor:
    return mask.reshape(*mask.shape, *([1] * (value.dim() - mask.dim())))


def _cut(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() and value.dtype != dtype else value
