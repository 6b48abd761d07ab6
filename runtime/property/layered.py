"""Examples of rules that read what linear layers see: a layer for each weight, and rows that the gradients shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dotopt.compiler.ir import Program
from dotopt.runtime.optimizer.layers import Layers
from dotopt.runtime.property.example import Array, answered, is_layer_output


def layered(step: Program) -> bool:
    """Whether the rule reads what the layer of its parameter saw."""
    leaves = (here for root in step.roots for here in root.walk())
    return any(is_layer_output(here) or here.name.startswith("input_of(") for here in leaves)


def reads_of_model(step: Program) -> bool:
    """Whether it reads what the model computes of its rows: outputs, or the gradient of the weight."""
    leaves = [here for root in step.roots for here in root.walk()]
    read = {arg for here in leaves if here.op != "oracle" for arg in here.args} | set(step.roots)
    gradients = any(o.attrs.what == "gradient" and o.args[o.attrs.split[0]].role == "param" for o in step.oracles)
    return layered(step) and (gradients or any(map(is_layer_output, read)))


def rows(shift: Array) -> tuple[Array, Array]:
    """What goes into the layer, `[s, p]`, and what comes back to its outputs, `[s, n]`, of `s = 2*n + 1` samples.

    >>> inputs, back = rows(np.zeros((2, 3)))
    >>> inputs.shape, back.shape
    ((5, 3), (5, 2))
    """
    count = 2 * len(shift) + 1
    inputs = np.vstack([shift, shift[::-1] / 2, np.ones((1, shift.shape[1]))])
    back = ((3 * np.arange(count)[:, None] + 5 * np.arange(len(shift)) + 1) % 7 - 3) / 4
    return inputs, back


def layer_of(weight: nn.Parameter) -> nn.Linear:
    """The linear layer of a weight."""
    layer = nn.Linear(1, 1, bias=False)  # whose own weight, of any size, is not used
    layer.weight = weight
    return layer


class Hooked:
    """The layers of the parameters of an optimizer; `backward` brings them the rows of a step."""

    def __init__(self, optimizer: Any, params: list[Tensor]) -> None:
        self.layers = [layer_of(p) for p in params if isinstance(p, nn.Parameter)]
        optimizer.layers = Layers(self.layers)

    def backward(self, shifts: tuple[Array | None, ...]) -> None:
        """Forward and backward through every layer that takes part."""
        for layer, shift in zip(self.layers, shifts, strict=True):
            layer.weight.grad = None
            if shift is not None and shift.size:
                inputs, back = (torch.tensor(part, dtype=layer.weight.dtype) for part in rows(shift))
                layer(inputs).backward(back)


def seen(step: Program, weight: Array, shift: Array, sign: float, key: int) -> dict[str, Any]:
    """What the reference is given for a step of one weight: gradients, oracles, inputs."""
    inputs, back = rows(shift)
    name = step.params[0].name
    with np.errstate(all="ignore"):  # a weight may have become infinite
        gradient, outputs = sign * back.T @ inputs, inputs @ weight.T
    return {
        "gradients": {key: gradient},
        "oracles": {f"∇{answered(step)[1]}": lambda *_: {key: sign * back}},
        "inputs": {f"input_of({name})": inputs, f"output_of({name})": outputs},
    }
