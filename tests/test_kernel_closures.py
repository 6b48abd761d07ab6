"""Rules that ask for a gradient elsewhere, on kernels: the closure is asked between two passes."""

from __future__ import annotations

import pytest
import torch

import dotopt.stdlib as stdlib
from dotopt.runtime.backends import cpu

pytestmark = pytest.mark.skipif(not cpu.available(), reason="no C compiler")


def stepped(backend, adaptive, dtype, **more):
    generator = torch.Generator().manual_seed(2)
    shapes = ((5, 7), (13,), (1,), (3, 2, 2))
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]
    slopes = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.03}]
    optimizer = stdlib.SAM(groups, lr=0.1, rho=0.3, adaptive=adaptive, backend=backend, **more)
    points = []

    def loss():
        points.append([p.detach().clone() for p in params])
        return sum(((p * slope).sin() * p).sum() for p, slope in zip(params, slopes, strict=True))

    losses = [float(optimizer.step(loss).detach()) for _ in range(4)]
    return [p.detach() for p in params], losses, points, optimizer


@pytest.mark.parametrize("more", [{}, {"maximize": True}])
@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_is_two_passes_around_the_closure(adaptive, more) -> None:
    got, losses, points, optimizer = stepped("cpu", adaptive, torch.float64, **more)
    wanted, expected, theirs, _ = stepped("torch", adaptive, torch.float64, **more)
    assert optimizer._buckets, "it ran on kernels"
    assert losses == pytest.approx(expected)
    assert len(points) == 8  # two evaluations a step
    for some, others in zip([*points, got], [*theirs, wanted], strict=True):
        for one, other in zip(some, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_a_closure_that_fails_leaves_the_parameters_where_they_were() -> None:
    p = torch.nn.Parameter(torch.ones(5))
    calls = []

    def loss():
        calls.append(p.detach().clone())
        if len(calls) == 2:
            raise ZeroDivisionError
        return (p**2).sum()

    with pytest.raises(ZeroDivisionError):
        stdlib.SAM([p], lr=0.1, backend="cpu").step(loss)
    assert torch.equal(p.detach(), torch.ones(5)) and not torch.equal(calls[1], calls[0])
