"""A compiled rule over sequences against the judge: in blocks, in pieces, token by token, masked, begun anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

import dotopt
from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.resolve import resolve
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.read import read
from dotopt.runtime.sequence import SequenceModule

SIZES = {"d": 3, "dk": 4, "dv": 2, "n": 5}
TOKENS = 11


def loaded(folder: Path, text: str) -> type[SequenceModule]:
    """The class of the rule that `text` states."""
    name = text.split("rule ", 1)[1].split()[0]
    path = folder / f"{name.lower()}.opt"
    path.write_text(text)
    made: type[SequenceModule] = getattr(dotopt.load(path), name)
    return made


def drawn(cls: type[SequenceModule], lead: tuple[int, ...] = (), seed: int = 0) -> dict[str, torch.Tensor]:
    """Inputs for `TOKENS` tokens: entries in [-1, 1], gates in [0.1, 0.9]."""
    generator = torch.Generator().manual_seed(seed)

    def one(axes: tuple[str, ...]) -> torch.Tensor:
        sizes = [int(axis) if axis.isdigit() else SIZES[axis] for axis in axes]
        value = torch.rand((*lead, TOKENS, *sizes), generator=generator, dtype=torch.float64)
        return 2 * value - 1 if axes else 0.1 + 0.8 * value

    return {x.keyword: one(x.axes) for x in cls.rule.inputs}


def judged(path: Path, module: SequenceModule, inputs: dict[str, torch.Tensor]) -> list[np.ndarray[Any, Any]]:
    """Each output at every token, by the judge; of one sequence."""
    options = {o.name: v for o, v in zip(module.rule.options, module.options, strict=True)}
    program = lower(resolve(parse(read(path))).file, Static(options), Library(path.parent))
    hypers = {h.name: float(module.hyper[h.name]) for h in module.rule.hypers}
    sizes = {**SIZES, **{n: int(v) for n, v in module.hyper.items() if isinstance(v, int)}}
    run = Simulation(program, hypers=hypers, sizes=sizes)
    names = {x.keyword: x.name for x in module.rule.inputs}
    length = next(iter(inputs.values())).shape[0]
    steps = [run.step(inputs={names[k]: v[t].numpy() for k, v in inputs.items()}) for t in range(length)]
    return [np.stack([step[name] for step in steps]) for name in module.rule.outputs]


def outputs(found: Any) -> tuple[torch.Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


def token_by_token(
    module: SequenceModule, inputs: dict[str, torch.Tensor], lead: int, tokens: int = TOKENS
) -> tuple[torch.Tensor, ...]:
    """The outputs of `step`, one token after the other."""
    state, steps = None, []
    for t in range(tokens):
        found, state = module.step(**{k: v.select(lead, t) for k, v in inputs.items()}, state=state)
        steps.append(outputs(found))
    return tuple(torch.stack(x, lead) for x in zip(*steps, strict=True))


def agree(folder: Path, text: str, parallel: bool = True, tolerance: float = 1e-10, **given: Any) -> None:
    """Fails unless every way to read a sequence gives what the judge gives, gradients too.

    `parallel`: whether the rule must have a parallel form.
    """
    cls = loaded(folder, text)
    path = folder / f"{cls.rule.name.lower()}.opt"
    close = {"rtol": tolerance, "atol": tolerance}
    for block in (1, 3, 64):
        module = cls(block=block, **given)
        assert (module.functions.stretch is not None) == parallel, module.functions.reasons
        inputs = drawn(cls)
        expected = judged(path, module, inputs)
        for found, right in zip(outputs(module(**inputs)), expected, strict=True):
            np.testing.assert_allclose(found.numpy(), right, **close)
        for found, right in zip(token_by_token(module, inputs, 0), expected, strict=True):
            np.testing.assert_allclose(found.numpy(), right, **close)
    inputs = {k: v.requires_grad_() for k, v in drawn(cls, (2,), 1).items()}
    module = cls(block=3, **given)
    whole, slow = outputs(module(**inputs)), token_by_token(module, inputs, 1)
    for found, right in zip(gradients(whole, inputs), gradients(slow, inputs), strict=True):
        torch.testing.assert_close(found, right, **close)
    streamed_and_masked(module, {k: v.detach() for k, v in inputs.items()}, close)


def gradients(values: tuple[torch.Tensor, ...], inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """The gradients of a sum that weighs every entry by itself."""
    total = sum((v * torch.linspace(0.5, 1.5, v.numel(), dtype=v.dtype).view(v.shape)).sum() for v in values)
    found = torch.autograd.grad(total, list(inputs.values()), allow_unused=True)  # type: ignore[arg-type]
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs.values(), strict=True)]


def streamed_and_masked(module: SequenceModule, inputs: dict[str, torch.Tensor], close: dict[str, float]) -> None:
    whole, state, pieces = outputs(module(**inputs)), None, []
    for begin, end in ((0, 1), (1, 4), (4, 6), (6, TOKENS)):
        found, state = module(**{k: v[:, begin:end] for k, v in inputs.items()}, state=state, return_state=True)
        pieces.append(outputs(found))
    for right, parts in zip(whole, zip(*pieces, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(parts, 1), right, **close)
    mask = torch.ones(2, TOKENS, dtype=torch.bool)
    mask[0, [0, 1, 5]] = False  # begins late, and misses one
    mask[1, 8:] = False
    steps: dict[str, Any] | None = None
    slow = []
    for t in range(TOKENS):  # the token form with the same mask
        part = {k: v[:, t : t + 1] for k, v in inputs.items()}
        found, steps = module(**part, mask=mask[:, t : t + 1], state=steps, return_state=True)
        slow.append(outputs(found))
    masked, last = module(**inputs, mask=mask, return_state=True)
    for found, parts in zip(outputs(masked), zip(*slow, strict=True), strict=True):
        torch.testing.assert_close(found, torch.cat(parts, 1), **close)
    for memory in module.functions.memories:
        torch.testing.assert_close(last[memory.name], steps[memory.name], **close)  # type: ignore[index]
    anew = outputs(module(**inputs, resets=[4]))
    again = outputs(module(**{k: v[:, 4:] for k, v in inputs.items()}))
    for found, right, second in zip(anew, whole, again, strict=True):
        torch.testing.assert_close(found, torch.cat([right[:, :4], second], 1), **close)
