"""The judge: programs run step by step in NumPy float64, exactly as the language says. Nothing here is fast.

numeric     every operation on arrays, which meet by axis name
frame       a graph, for several tensors in lockstep: loops, folds, choices
solve       inner problems: argmin, root, cg
setting     what a program reads besides its equations: hyperparameters, inputs, sizes, draws, answers of the user
simulation  whole programs, step by step
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dotopt.compiler.evaluate.frame import Frame, Value, World
from dotopt.compiler.evaluate.numeric import spelled
from dotopt.compiler.evaluate.simulation import Simulation
from dotopt.compiler.ir import Node
from dotopt.compiler.ops.types import REST

__all__ = ["Simulation", "evaluate"]


def evaluate(root: Node, environment: Mapping[Node, Any]) -> Any:
    """The value of `root` where `environment` gives the leaves: a float64 array (a tuple for a tuple).

    Sizes of axes are read off the arrays. Raises KeyError for a leaf without a value.

    >>> from dotopt.compiler.ir import leaf, node, number
    >>> from dotopt.compiler.ops.types import Type
    >>> x = leaf("free", "x", Type("real", ("n",)))
    >>> evaluate(node("add", node("pow", x, number(2)), number(1)), {x: np.array([1.0, 2.0])})
    array([2., 5.])
    """
    return Frame(_Given(environment)).value(root)


class _Given(World):
    def __init__(self, environment: Mapping[Node, Any]) -> None:
        self.values = {
            here: value if isinstance(value, tuple | list | dict | str) else np.asarray(value)
            for here, value in environment.items()
        }
        self.sizes: dict[str, int] = {}
        for here, value in self.values.items():
            if isinstance(value, np.ndarray):
                self.sizes.update(zip(spelled(here.type, value.ndim) or (), value.shape, strict=False))

    def leaf(self, here: Node, tensor: int, frame: Frame) -> Value:
        if here in self.values:
            return self.values[here]
        if here.role == "axis":
            return np.asarray(float(self.size(here.name, tensor)))
        return super().leaf(here, tensor, frame)

    def size(self, axis: str, tensor: int) -> int:
        return self.sizes[axis] if axis in self.sizes else super().size(axis, tensor)

    def rest(self, tensor: int) -> tuple[int, ...]:
        return tuple(size for name, size in self.sizes.items() if name.startswith(REST))
