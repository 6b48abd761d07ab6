"""Run by test_chunk_kernels.py in a process whose Triton interprets kernels: the kernels against the torch form."""

import itertools

import torch

from dotopt.runtime.sequence import launch
from dotopt.runtime.sequence.chunks import Chunks, Term

torch.manual_seed(0)
count = 0
for decay, reads, adds, after, (dk, dv) in itertools.product(
    ("none", "number", "tokens"), (True, False), (True, False), (True, False), ((16, 16), (20, 12))
):
    if not (reads or adds):
        continue
    tokens = 48
    q, k = torch.randn(2, tokens, dk), torch.nn.functional.normalize(torch.randn(2, tokens, dk), dim=-1)
    u = torch.randn(2, tokens, dv) if adds else None
    p = -0.7 * k if reads else None
    mix = {"none": 1, "number": 0.9, "tokens": torch.rand(2, tokens)}[decay]
    given = ([torch.randn(2, dv, dk)], [[mix]], [Term([p], u, [k])], 16)
    expected = Chunks(*given)
    kept, launch.usable = launch.usable, lambda *_: True
    found = Chunks(*given)
    got, last = found.read(0, q, after), found.last[0]
    launch.usable = kept
    torch.testing.assert_close(got, expected.read(0, q, after), rtol=2e-4, atol=2e-4)
    torch.testing.assert_close(last, expected.last[0], rtol=2e-4, atol=2e-4)
    count += 1

leaves = [torch.randn(1, 32, 16).requires_grad_() for _ in range(3)] + [torch.rand(1, 32).requires_grad_()]


def loss():
    q, k, v, a = leaves
    memory = Chunks([torch.zeros(1, 16, 16)], [[a]], [Term([-0.1 * k], v, [0.1 * k])], 16)
    return memory.read(0, q).square().sum() + memory.last[0].sum()


expected = torch.autograd.grad(loss(), leaves)
kept, launch.usable = launch.usable, lambda *_: True
found = torch.autograd.grad(loss(), leaves)
for a, b in zip(found, expected, strict=True):
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
print(count, "kernels agree")
