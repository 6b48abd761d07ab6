"""The base class of rules over sequences: a torch module that is also a state machine."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dotopt.runtime.given import Asking
from dotopt.runtime.optimizer.signature import check_hyper
from dotopt.runtime.sequence.rule import Functions, SequenceRule
from dotopt.runtime.sequence.weights import Weights

State = dict[str, Any]

CACHED = 1 << 19  # entries of an input that a processor reads at once, so that it stays in the cache


class SequenceModule(Asking):
    """A compiled rule over sequences.

    Inputs have any leading axes (batch, heads), then the tokens, then the axes that the rule names: `[..., T, d]`, and
    `[..., T]` for a number at each token. `forward` reads whole sequences, `step` one token; both take and give the
    state, so that reading in pieces equals reading at once. Computed in float32 for 16-bit inputs.

    A module that is passed for a function of the file is asked in the dtype of its parameters, other callables in that
    of the computation. Hyperparameters are attributes; one that is given as `nn.Parameter` is learned.
    """

    rule: ClassVar[SequenceRule]
    compiled = "functions"

    def __init__(
        self, *functions: Any, block: int = 64, heads: int | None = None, sizes: Mapping[str, int] | None = None,
        seed: int = 0, **given: Any,
    ) -> None:  # fmt: skip
        """`functions` are those that the file asks for, by position or by name: modules, or other callables.

        `block` is how many tokens a low-rank memory takes together: speed and memory, not the result. Weights (inputs
        that the file gives a start) are parameters `[*axes]`, with `heads` `[heads, *axes]`: the last axis before the
        tokens is that of the heads. They are drawn with `seed`: at once if `sizes` (such as `{"d": 16}`) tells the
        sizes of their axes, otherwise when the first inputs come. A weight may be given by its keyword, too.

        Raises TypeError for unknown keywords and ValueError for values outside the declared ranges.
        """
        super().__init__()
        rule = self.rule
        self.hold(rule.name, rule.given, functions, given)
        weights = {x.keyword: given.pop(x.keyword, None) for x in rule.inputs if x.start is not None}
        legal = [h.keyword for h in rule.hypers] + [o.keyword for o in rule.options] + list(weights)
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
        whole = {name: int(value) for name, value in self.hyper.items() if isinstance(value, int)}
        self.weights = Weights(rule.name, rule.inputs, heads, seed, whole)
        self.weights.hold(self, weights, sizes or {})

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
        Memories that the file draws (`~ normal(…)`) are drawn with `seed`, once for all sequences: what one of them
        reads does not hang on its place in a batch.
        """
        like = torch.zeros(()) if like is None else like
        known = {**{n: int(v) for n, v in self.hyper.items() if isinstance(v, int)}, **sizes}
        drawn = any(callable(memory.start) for memory in self.functions.memories)
        generator = torch.Generator().manual_seed(seed) if drawn else None
        state: State = {"t": 0}
        for memory in self.functions.memories:
            for axis in memory.axes:
                if not axis.isdigit() and axis not in known:
                    hint = f"no input tells the size of the axis `{axis}` of `{memory.name}`"
                    raise ValueError(f"{self.rule.name}: {hint}; give `state=initial_state(…, {axis}=…)`")
            own = tuple(int(axis) if axis.isdigit() else known[axis] for axis in memory.axes)
            shape = (*batch, *own)
            if memory.start == "eye":
                start = torch.eye(shape[-1]).expand(shape)
            elif callable(memory.start):
                start = memory.start(own, known, generator, self.hyper).expand(shape)
            else:
                start = torch.full(shape, float(memory.start), dtype=like.dtype)  # 0.1 as exact as the inputs are
            state[memory.name] = start.to(dtype=like.dtype, device=like.device)
        return state

    # ---- reading -----------------------------------------------------------------------------------------------------

    def forward(
        self, *args: Any, state: State | None = None, mask: Tensor | None = None, lengths: Tensor | None = None,
        resets: Sequence[int] = (), cu_seqlens: Tensor | None = None, return_state: bool = False, seed: int = 0,
        **named: Any,
    ) -> Any:  # fmt: skip
        """The outputs for all tokens, `[..., T, *axes]`; with `return_state` also the state after the last.

        mask: `[..., T]`, False where there is no token: the state is kept and the output is 0; the clock of `every`
        and of `t` counts positions. lengths: `[...]`, the same for sequences that end early. resets: positions (from
        0) where a new document begins: the state starts anew; cu_seqlens: the same as a tensor, with the end. Raises
        TypeError and ValueError for inputs that do not fit.
        """
        inputs, lead, length, dtype = self._inputs(args, named)
        keep = self._kept(mask, lengths, lead, length, next(iter(inputs.values())).device)
        example = next(iter(inputs.values()))
        fresh = self._start(inputs, lead, seed, example, state or {})
        state = fresh if state is None else dict(state)
        resets = (*resets, *(() if cu_seqlens is None else cu_seqlens.tolist()))
        cuts = self._stretches(inputs, state["t"], length, resets, keep)
        with _exact(example.device.type):
            pieces: list[dict[str, Tensor]] = []
            for anew, part, there in self._split(inputs, keep, cuts):
                if anew:
                    state = dict(fresh)
                outputs, state = self._read(part, state, there)
                pieces.append(outputs)
            if not pieces:  # no tokens: one that is thrown away tells the shapes
                one = {n: v.new_zeros(()).expand(_one(v, len(lead))) for n, v in inputs.items()}
                outputs, _ = self._token(one, state, None)
                pieces.append({n: v.unsqueeze(len(lead)).narrow(len(lead), 0, 0) for n, v in outputs.items()})
        whole = tuple(
            _cut(torch.cat([piece[name] for piece in pieces], len(lead)) if len(pieces) > 1 else pieces[0][name], dtype)
            for name in self.rule.outputs
        )
        if keep is not None:
            whole = tuple(torch.where(_beside(keep, x), x, torch.zeros_like(x)) for x in whole)
        result: Any = whole[0] if len(whole) == 1 else whole
        return (result, state) if return_state else result

    def step(self, *args: Any, state: State | None = None, seed: int = 0, **named: Any) -> Any:
        """The outputs for one token, and the next state; inputs are `[..., *axes]`."""
        bound = self._bound(args, named, tokens=False)
        tensors = {n: torch.as_tensor(v) for n, v in bound.items()}
        axes = {x.name: len(x.axes) for x in self.rule.inputs}
        long = {n: v.unsqueeze(v.dim() - axes[n]) for n, v in tensors.items()}
        inputs, lead, _, dtype = self._inputs((), {x.keyword: long[x.name] for x in self.rule.inputs})
        example = next(iter(inputs.values()))
        state = self._start(inputs, lead, seed, example) if state is None else dict(state)
        with _exact(example.device.type):
            outputs, state = self._token(inputs, state, None)
        found = tuple(_cut(outputs[name], dtype) for name in self.rule.outputs)
        return (found[0] if len(found) == 1 else found), state

    def answers(self) -> list[Any]:
        """The functions that were passed; a module is asked in the dtype of its own parameters."""
        return [_typed(function) for function in super().answers()]

    # ---- machinery ---------------------------------------------------------------------------------------------------

    def _bound(self, args: Sequence[Any], named: dict[str, Any], tokens: bool = True) -> dict[str, Any]:
        rule = self.rule
        keywords = [x.keyword for x in rule.inputs]
        if len(args) > len(keywords):
            raise TypeError(f"{rule.name} takes {len(keywords)} inputs: {', '.join(keywords)}")
        given = dict(zip(keywords, args, strict=False))
        given = {k: v for k, v in given.items() if v is not None}
        for keyword, value in named.items():
            if keyword not in keywords or keyword in given:
                raise TypeError(f"{rule.name} has no input `{keyword}`; its inputs are {', '.join(keywords)}")
            given[keyword] = value
        given = self.weights.filled(self, given, tokens)
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
        leads: list[torch.Size] = []
        sizes: dict[str, int] = {}
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
            same = all(lead == leads[0] for lead in leads)
            whole = leads[0] if same else torch.broadcast_shapes(*leads)
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

    def _start(
        self, inputs: dict[str, Tensor], lead: tuple[int, ...], seed: int, like: Tensor, given: State | None = None
    ) -> State:
        """The state of a new sequence; sizes that no input tells are those of the state that was `given`."""
        sizes: dict[str, int] = {}
        for memory in self.functions.memories:
            if given and isinstance(held := given.get(memory.name), Tensor):
                own = held.shape[held.dim() - len(memory.axes) :]
                sizes.update(zip(memory.axes, own, strict=True))
        for x in self.rule.inputs:
            value = inputs[x.name]
            sizes.update(zip(x.axes, value.shape[value.dim() - len(x.axes) :], strict=True))
        return self.initial_state(lead, seed, like, **sizes)

    def _kept(
        self, mask: Tensor | None, lengths: Tensor | None, lead: tuple[int, ...], length: int, device: torch.device
    ) -> Tensor | None:
        """Where there are tokens, `[*lead, T]`; None if everywhere."""
        found = None if mask is None else torch.as_tensor(mask, device=device).to(torch.bool)
        if lengths is not None:
            until = torch.arange(length, device=device) < torch.as_tensor(lengths, device=device)[..., None]
            found = until if found is None else found & until
        if found is None:
            return None
        try:
            return found.expand(*lead, length)
        except RuntimeError:
            whole = (*lead, length)
            raise ValueError(f"{self.rule.name}: a mask {tuple(found.shape)} does not fit {whole}") from None

    def _stretches(
        self, inputs: dict[str, Tensor], t: int, length: int, resets: Sequence[int], keep: Tensor | None
    ) -> list[tuple[int, int, bool]]:
        """The pieces that are read at once: start, end, and whether a document begins there."""
        begins = {int(r) for r in resets if 0 <= int(r) < length}
        cuts = begins | {0, length}
        if not self._at_once(keep):
            cuts |= set(range(length))
        for period in self.functions.periods:
            every = int(self.hyper[period]) if isinstance(period, str) else period
            for start, end in itertools.pairwise(sorted(begins | {0, length})):
                clock = 0 if start in begins else t
                cuts |= set(range(start + every - clock % every, end, every))
        device = next(iter(inputs.values())).device
        largest = max(value.numel() for value in inputs.values())
        if self.functions.local and device.type == "cpu" and largest > CACHED:
            many = max(4, CACHED * length // largest // self.block) * self.block
            for start, end in itertools.pairwise(sorted(cuts)):
                cuts |= set(range(start, end, many))
        return [(start, end, start in begins) for start, end in itertools.pairwise(sorted(cuts))]

    def _split(
        self, inputs: dict[str, Tensor], keep: Tensor | None, cuts: Sequence[tuple[int, int, bool]]
    ) -> Iterator[tuple[bool, dict[str, Tensor], Tensor | None]]:
        """The inputs of each piece. Cut in one operation, so that the backward pass does not cost T for each."""
        if len(cuts) == 1:
            yield cuts[0][2], inputs, keep
            return
        sizes = [end - start for start, end, _ in cuts]
        axes = {x.name: len(x.axes) for x in self.rule.inputs}
        split = {n: v.split(sizes, v.dim() - axes[n] - 1) for n, v in inputs.items()}
        there = [None] * len(cuts) if keep is None else keep.split(sizes, -1)
        for i, (_, _, anew) in enumerate(cuts):
            yield anew, {n: v[i] for n, v in split.items()}, there[i]

    def _at_once(self, keep: Tensor | None) -> bool:
        return self.functions.stretch is not None and (keep is None or self.functions.masked)

    def _read(
        self, part: dict[str, Tensor], state: State, keep: Tensor | None
    ) -> tuple[dict[str, Tensor], State]:
        """The outputs for the tokens of a piece, and the state after it."""
        stretch = self.functions.stretch
        like, axes = next(iter(part.values())), len(self.rule.inputs[0].axes)
        tokens = like.dim() - axes - 1
        length, t = like.shape[tokens], int(state["t"])
        if stretch is None or not self._at_once(keep) or length == 1:
            outputs, later = self._token(part, state, None if keep is None else keep[..., 0])
            return {n: v.unsqueeze(tokens) for n, v in outputs.items()}, later
        clock = torch.arange(t + 1, t + 1 + length, dtype=like.dtype, device=like.device)
        first: bool | Tensor = t == 0
        if keep is not None or "begun" in state:  # each row begins with the first token that it has
            lead = like.shape[:tokens]
            here = torch.ones(lead, dtype=torch.bool, device=like.device) if keep is None else keep.any(-1)
            begun = state.get("begun", torch.full_like(here, t > 0))
            first = here & ~begun
        outputs, later = stretch(*part.values(), *self.answers(), state, clock, first, self.hyper, self.block, keep)
        if isinstance(first, Tensor):
            later["begun"] = begun | here
        return outputs, {"t": t + length, **later}

    def _token(
        self, inputs: dict[str, Tensor], state: State, keep: Tensor | None
    ) -> tuple[dict[str, Tensor], State]:
        """The same for one token, whose axis is still there; keep: without that axis."""
        axes = {x.name: len(x.axes) for x in self.rule.inputs}
        part = [v.squeeze(v.dim() - axes[n] - 1) for n, v in inputs.items()]
        t = int(state["t"]) + 1
        if keep is None and "begun" not in state:
            outputs, later = self.functions.token(*part, *self.answers(), state, t, t == 1, self.hyper)
            return outputs, {"t": t, **later}
        lead = part[0].shape[: part[0].dim() - len(self.rule.inputs[0].axes)]
        here = torch.ones(lead, dtype=torch.bool, device=part[0].device) if keep is None else keep
        begun = state.get("begun", torch.full_like(here, t > 1))  # rows that had a token
        outputs, later = self.functions.token(*part, *self.answers(), state, t, ~begun, self.hyper, here)
        for name, value in later.items():
            if name in state and isinstance(value, Tensor) and value.shape == state[name].shape:
                later[name] = torch.where(_beside(here, value), value, state[name])
        return outputs, {"t": t, **later, "begun": begun | here}


def _exact(device: str) -> contextlib.AbstractContextManager[object]:
    """Where autocast would compute memories in 16 bits, it is switched off."""
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else contextlib.nullcontext()


def _typed(function: Any) -> Any:
    if isinstance(function, nn.ModuleList):
        return [_typed(member) for member in function]
    if not isinstance(function, nn.Module):
        return function
    dtype = next((p.dtype for p in function.parameters() if p.is_floating_point()), None)
    if dtype is None:
        return function
    return lambda *points: function(*(_cut(x, dtype) for x in points)).to(points[0].dtype)


def _one(value: Tensor, at: int) -> tuple[int, ...]:
    """The shape with one token instead of none."""
    return (*value.shape[:at], 1, *value.shape[at + 1 :])


def _beside(mask: Tensor, value: Tensor) -> Tensor:
    return mask.reshape(*mask.shape, *([1] * (value.dim() - mask.dim())))


def _cut(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() and value.dtype != dtype else value
