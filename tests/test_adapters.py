"""Compiled rules in the interfaces of other libraries, where these are installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dotopt import stdlib


@pytest.mark.parametrize("name", ["PCGrad", "MGDA", "SAMGS", "CAGrad", "IMTLG", "UPGrad"])
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


def test_equal_projections_are_torchjds() -> None:
    pytest.importorskip("torchjd")
    from torchjd.aggregation import IMTLG

    J = torch.randn(5, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(stdlib.IMTLG()(J), IMTLG()(J), rtol=1e-9, atol=1e-9)


def test_projections_onto_the_dual_cone_are_torchjds() -> None:
    """With a projector of SciPy's in the place of one that needs another solver; regularised in the same way."""
    pytest.importorskip("torchjd")
    optimize = pytest.importorskip("scipy.optimize")
    from torchjd.aggregation import UPGrad

    def projector(U: torch.Tensor, G: torch.Tensor) -> torch.Tensor:
        root = np.linalg.cholesky((G / G.trace() + 1e-4 * torch.eye(len(G), dtype=G.dtype)).numpy()).T
        rows = [optimize.nnls(root, -root @ u)[0] + u for u in U.numpy()]
        return torch.tensor(np.array(rows))

    for tasks, n in ((2, 5), (6, 9), (9, 4)):
        J = torch.randn(tasks, n, generator=torch.Generator().manual_seed(tasks), dtype=torch.float64)
        theirs = UPGrad(projector=projector)(J)  # type: ignore[arg-type]
        torch.testing.assert_close(stdlib.UPGrad()(J), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["PCGrad", "MGDA", "CAGrad", "IMTLG", "UPGrad"])
def test_weights_from_the_gramian(name: str) -> None:
    pytest.importorskip("torchjd")
    from torchjd.aggregation import GramianWeightedAggregator

    from dotopt.runtime.adapters.torchjd import weighting

    J = torch.randn(4, 9, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    J[3] = J[2]  # the Gramian is singular
    rule = getattr(stdlib, name)
    found = GramianWeightedAggregator(weighting(rule()))(J)  # type: ignore[arg-type]
    torch.testing.assert_close(found, rule()(J), rtol=1e-9, atol=1e-9)


def test_rules_that_read_entries_have_no_weights() -> None:
    pytest.importorskip("torchjd")
    from dotopt.runtime.adapters.torchjd import weighting

    with pytest.raises(TypeError, match="single entries"):
        weighting(stdlib.SAMGS())


@pytest.mark.parametrize("name", ["ntk", "nngp"])
def test_kernels_of_wide_networks_in_scikit_learn(name: str) -> None:
    svm = pytest.importorskip("sklearn.svm")
    from dotopt.runtime.adapters.sklearn import gram

    X = np.random.default_rng(0).normal(size=(30, 3))
    kernel = gram(getattr(stdlib, name), depth=2)
    assert svm.SVR(kernel=kernel).fit(X, X[:, 0]).score(X, X[:, 0]) > 0.9
    assert np.linalg.eigvalsh(kernel(X)).min() > -1e-10
    for bad in (X[:, :2], X[0], np.full((2, 3), np.nan)):
        with pytest.raises(ValueError):
            kernel(X, bad)


@pytest.mark.parametrize("name", ["FGSM", "PGD"])
def test_sign_attacks_are_those_of_torchattacks(name: str) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    from dotopt.runtime.adapters.torchattacks import attack

    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).eval()
    images, labels = torch.rand(5, 3, 2, 2), torch.tensor([0, 1, 2, 3, 0])
    options = {"random_start": False} if name == "PGD" else {}
    ours = attack(net, getattr(stdlib, name)(**options))(images, labels)
    theirs = getattr(torchattacks, name)(net, **options)(images, labels)
    assert torch.equal(ours, theirs)


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
