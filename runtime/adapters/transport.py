"""Sinkhorn-Newton-Sparse with the signature of `ot.sinkhorn`: the same names, the same keys in the log.

from dotopt.runtime.adapters.transport import sns
P, log = sns(a, b, M, reg=0.005, log=True)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def sns(
    a: Any,
    b: Any,
    M: Any,
    reg: float,
    numItermax: int = 20,
    stopThr: float = 1e-9,
    log: bool = False,
    lam: float = 0.02,
) -> Any:
    """The entropic transport plan [n, m] of the cost M between the marginals a and b, with the strength `reg`.

    NumPy arrays in, NumPy arrays out; tensors likewise. `numItermax` are the sweeps before Newton, `stopThr` the
    error of both marginals. With `log` also a dictionary: `err`. Raises ValueError for marginals that do not sum to the
    same, for negative ones, and for costs that are no numbers.
    """
    from dotopt.stdlib import SinkhornNewtonSparse

    tensors = [torch.as_tensor(x) for x in (a, b, M)]
    r, c, C = (x if x.is_floating_point() else x.double() for x in tensors)
    if float(r.min()) < 0 or float(c.min()) < 0:
        raise ValueError("a marginal is negative somewhere")
    if abs(float(r.sum() - c.sum())) > 1e-6 * float(r.sum()):
        raise ValueError(f"the marginals have different sums: {float(r.sum()):.6g} and {float(c.sum()):.6g}")
    if reg <= 0:
        raise ValueError(f"reg={reg!r} must be positive")
    rows, columns = r > 0, c > 0
    P = torch.zeros_like(C)
    plan: Tensor = SinkhornNewtonSparse(eta=1 / reg, N=numItermax, tol=stopThr, lam=lam)(
        C[rows][:, columns], r[rows], c[columns]
    )
    P[rows.nonzero()[:, 0][:, None], columns.nonzero()[:, 0]] = plan
    error = float((P.sum(1) - r).abs().sum() + (P.sum(0) - c).abs().sum())
    if error > max(10 * stopThr, 1e-6):
        import warnings

        warnings.warn(
            f"the marginals are off by {error:.3g}: more sweeps, or a larger reg", RuntimeWarning, stacklevel=2
        )
    shown = P.numpy() if isinstance(M, np.ndarray) else P
    return (shown, {"err": [error]}) if log else shown
