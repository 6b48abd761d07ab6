"""Kernels of the library for scikit-learn: Gram matrices as `kernel="precomputed"` or a callable wants them.

from dotopt.runtime.adapters.sklearn import gram
SVR(kernel=gram(ntk, depth=3)).fit(X, y)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def gram(kernel: Callable[..., Any], **given: Any) -> Callable[[Any, Any], np.ndarray]:
    """A function of two arrays [n, d] and [m, d] that returns the matrix [n, m] of a compiled kernel, in float64.

    `given` are arguments of the kernel. The function raises ValueError for arrays that are no matrices or whose
    columns differ, and for entries that are no numbers.

    >>> from dotopt.stdlib import ntk
    >>> gram(ntk, depth=1)([[1.0, 1.0]], [[1.0, 0.0]]).tolist()
    [[1.0000000000000002]]
    """

    def matrix(X: Any, Y: Any = None) -> np.ndarray:
        left = torch.as_tensor(np.asarray(X, dtype=np.float64))
        right = left if Y is None else torch.as_tensor(np.asarray(Y, dtype=np.float64))
        if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[1]:
            raise ValueError(
                f"a kernel takes arrays [n, d] and [m, d], not {tuple(left.shape)} and {tuple(right.shape)}"
            )
        for x in (left, right):
            if not bool(torch.isfinite(x).all()):
                raise ValueError("the inputs of a kernel hold NaN or infinite numbers")
        found: np.ndarray = kernel(left[:, None], right[None], **given).numpy()
        return found

    return matrix
