"""Run by test_symmetric.py in a process whose Triton interprets kernels: half a product is the product."""

from __future__ import annotations

import torch

from dotopt import stdlib
from dotopt.compiler.schedule.passes import schedule
from dotopt.runtime import routines
from dotopt.runtime.backends import triton_symmetric as symmetric
from dotopt.runtime.loading.load import program

symmetric.SMALLEST = 0
TILES = {"tile": 32, "depth": 16}
generator = torch.Generator().manual_seed(0)


def half(x, *more):
    return symmetric.symmetric_product(x, *more, **TILES)


def as_the_product(dtype, shape, transposed):
    """Up to one rounding of the result; what lies off the diagonal is computed once."""
    x = torch.randn(shape, generator=generator).to(dtype)
    x = x.mT.contiguous().mT if transposed else x
    unit = torch.finfo(dtype).eps
    wanted = x.float() @ x.float().mT
    torch.testing.assert_close(half(x).float(), wanted, rtol=unit, atol=1e-4)
    added = ((wanted + wanted.mT) / 14 + 1).to(dtype)
    got = half(x, added.mT, 0.5, -2.0)
    torch.testing.assert_close(got.float(), 0.5 * added.float() - 2 * wanted, rtol=unit, atol=1e-4)
    assert torch.equal(got[:, 32:, :32], got[:, :32, 32:].mT)


for kind in (torch.float32, torch.bfloat16, torch.float16):
    for size in ((1, 64, 32), (2, 40, 50), (2, 1, 5), (0, 4, 4)):
        for turned in (False, True):
            as_the_product(kind, size, turned)

cls = stdlib.Muon
lowered = program(cls.origin, tuple(option.default for option in cls.rule.options), 2)
(routine,) = schedule(lowered).routines
(here,) = routine.inputs
counted = []


def counting(x, *more):
    counted.append(more)
    return half(x, *more)


def number(leaf):
    return {"k": 5.0, "ε": 1e-7}[leaf.name] if leaf.role == "hyper" else float(leaf.value)


for shape in ((2, 24, 40), (2, 40, 24)):
    given = torch.randn(shape, generator=generator)
    sizes = dict(zip(here.type.axes, shape[1:], strict=True))
    counted.clear()
    ours, theirs, exact = (
        routines.run(routine, {here: given}, number, sizes, low, kernel)[0]
        for low, kernel in ((torch.bfloat16, counting), (torch.bfloat16, None), (None, None))
    )
    assert len(counted) == 10 and sum(map(bool, counted)) == 5  # A = X Xᵀ and b*A + c*A A, in each of five passes
    error, usual = (torch.linalg.matrix_norm(made - exact) / torch.linalg.matrix_norm(exact) for made in (ours, theirs))
    assert float((error / usual).max()) < 2.5, (error, usual)  # the interpreter cuts bfloat16 off, cards round it
print("well")
