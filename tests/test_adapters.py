"""Compiled rules in the interfaces of other libraries, where these are installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dotopt import stdlib


@pytest.mark.parametrize("name", ["PCGrad", "MGDA", "SAMGS"])
def test_aggregators_keep_the_structure_that_torchjd_asks_for(name: str) -> None:
    pytest.importorskip("torchjd")
    from dotopt.runtime.adapters.torchjd import aggregator

    for scale in (0.0, 1e-10, 1.0, 1e5, 1e10, 1e15):
        for m, n in ((1, 1), (1, 4), (2, 3), (5, 2), (9, 11)):
            matrix = torch.randn(m, n, generator=torch.Generator().manual_seed(m * n)) * scale
            for J in (matrix, matrix.clone().index_fill_(0, torch.tensor([0]), 0.0)):
                found = aggregator(getattr(stdlib, name)())(J)
                assert found.shape == (n,)
                assert bool(torch.isfinite(found).all()), (scale, m, n)


def test_pcgrad_of_two_tasks_is_torchjds() -> None:
    pytest.importorskip("torchjd")
    from torchjd.aggregation import PCGrad

    from dotopt.runtime.adapters.torchjd import aggregator

    J = torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(aggregator(stdlib.PCGrad())(J), PCGrad()(J), rtol=1e-12, atol=1e-12)


def test_min_norm_point_is_torchjds() -> None:
    pytest.importorskip("torchjd")
    from torchjd.aggregation import MGDA

    J = torch.randn(4, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = stdlib.MGDA(steps=2000)(J)
    theirs = MGDA(epsilon=1e-9, max_iters=20000)(J)
    assert abs(float(ours.norm() - theirs.norm())) < 1e-3 * float(theirs.norm())


def test_attack_is_that_of_torchattacks() -> None:
    torchattacks = pytest.importorskip("torchattacks")
    from dotopt.runtime.adapters.torchattacks import attack

    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 10)).eval()
    images, labels = torch.rand(5, 3, 4, 4), torch.randint(0, 10, (5,))
    ours = attack(net, stdlib.MIFGSM(eps=8 / 255, alpha=2 / 255, steps=10, decay=1.0))(images, labels)
    theirs = torchattacks.MIFGSM(net, eps=8 / 255, alpha=2 / 255, steps=10, decay=1.0)(images, labels)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_plan_is_that_of_pot() -> None:
    ot = pytest.importorskip("ot")
    from dotopt.runtime.adapters.transport import sns

    rng = np.random.default_rng(0)
    M = rng.random((12, 15))
    a, b = rng.random(12), rng.random(15)
    a, b = a / a.sum(), b / b.sum()
    P, log = sns(a, b, M, reg=0.05, log=True)
    assert isinstance(P, np.ndarray)
    assert log["err"][0] < 1e-8
    np.testing.assert_allclose(
        P, ot.sinkhorn(a, b, M, 0.05, method="sinkhorn_log", stopThr=1e-12, numItermax=20000), atol=1e-8
    )


def test_minimiser_is_a_method_of_scipy() -> None:
    optimize = pytest.importorskip("scipy.optimize")

    def f(x: np.ndarray) -> float:
        return float((x**2).sum())

    found = optimize.minimize(f, [1.0, 1.0], method=stdlib.CBO.scipy, options={"particles": 40, "steps": 60, "seed": 1})
    assert found.success
    assert found.fun < 0.5
    with pytest.raises(ValueError, match="does not keep bounds"):
        optimize.minimize(f, [1.0, 1.0], method=stdlib.CBO.scipy, bounds=[(0, 1), (0, 1)])


def test_inputs_are_not_taken_for_functions() -> None:
    with pytest.raises(TypeError, match="takes the functions J, and 2 were given by position"):
        stdlib.MIFGSM(lambda x, y: x.sum(), torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda: stdlib.PCGrad()(torch.tensor([[1.0, torch.nan]])), "NaN"),
        (lambda: stdlib.PCGrad()(torch.ones(3)), "matrix"),
        (lambda: stdlib.MIFGSM()(lambda x, y: x.sum(), torch.full((1, 2), 2.0), torch.tensor([0])), "at most 1"),
        (lambda: stdlib.CBO().minimize(lambda x: x.sum(-1) * torch.nan, torch.ones(2), batched=True), "NaN"),
        (lambda: stdlib.CBO().minimize(lambda x: x.sum(-1), torch.ones(2, 2)), "vector"),
        (lambda: stdlib.SinkhornNewtonSparse()(torch.ones(2, 2), torch.ones(3), torch.ones(2)), "axis `n`"),
    ],
)
def test_bad_input_is_refused_in_words(bad: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bad()  # type: ignore[operator]
