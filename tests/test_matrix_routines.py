"""Matrix work between kernels: stacks give what single matrices give, and low precision what torch's Muon does."""

from __future__ import annotations

import pytest
import torch
from torch.optim import _muon

from dotopt import stdlib
from dotopt.compiler.schedule.passes import Routine, schedule
from dotopt.runtime import routines
from dotopt.runtime.loading.load import program

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def muon() -> tuple[Routine, dict[str, float]]:
    """The routine of Muon, and the numbers that it reads."""
    cls = stdlib.Muon
    lowered = program(cls.origin, tuple(option.default for option in cls.rule.options), 2)
    (routine,) = schedule(lowered).routines
    return routine, {"k": 5.0, "ε": 1e-7}


def run(given: torch.Tensor, low: torch.dtype | None = None) -> torch.Tensor:
    routine, numbers = muon()
    (here,) = routine.inputs

    def number(leaf):
        return numbers[leaf.name] if leaf.role == "hyper" else float(leaf.value)

    sizes = dict(zip(here.type.axes, given.shape[-2:], strict=True))
    (result,) = routines.run(routine, {here: given}, number, sizes, low)
    return result


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 16)])
def test_a_stack_is_its_matrices(shape) -> None:
    given = torch.randn(3, *shape, dtype=torch.float64)
    expected = torch.stack([run(one) for one in given])
    torch.testing.assert_close(run(given), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (128, 128)])
def test_in_bfloat16_as_in_torch(shape) -> None:
    """Both round each product to 8 bits, at other places; the exact iteration is as far from torch's."""
    given = torch.randn(2, *shape, generator=torch.Generator().manual_seed(5))
    got = run(given, torch.bfloat16)
    assert got.dtype == torch.float32
    for one, exact, result in zip(given, run(given), got, strict=True):
        theirs = _muon._zeropower_via_newtonschulz(one, COEFFICIENTS, 5, 1e-7).float()
        error = torch.linalg.matrix_norm(theirs - exact) / torch.linalg.matrix_norm(exact)
        ours = torch.linalg.matrix_norm(result - exact) / torch.linalg.matrix_norm(exact)
        assert 1e-4 < ours < 2 * error < 0.1


def test_only_loops_that_steer_are_rounded() -> None:
    """A loop with a second matrix is left in full precision."""
    given = torch.randn(20, 30)
    assert not torch.equal(run(given, torch.bfloat16), run(given))
    routine, _ = muon()
    loops = [here for here in routines.region([r for _, r in routine.results], routine.inputs) if here.op == "loop"]
    assert [routines.steers(here.attrs[0]) for here in loops] == [True]
