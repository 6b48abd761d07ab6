"""Run by test_triton_backend.py in a process whose Triton interprets kernels; prints one line of JSON a case.

TRITON_INTERPRET=1 python interpreted.py FOLDER HALF sample|all

Sampled, each rule and choice of options runs in one dtype; otherwise in fp64, fp32, bf16 and fp16. The tensors are of
odd sizes, some have one entry or none, and every second one is a view that is not aligned.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings

import torch

sys.path.insert(0, sys.argv[1])

import kernel_cases as cases

import dotopt.stdlib as stdlib
from dotopt.runtime.backends import triton_table as tables

warnings.simplefilter("ignore")
torch.set_num_threads(1)
tables.PIECE, tables.BLOCK, tables.WIDTHS = 64, 32, (32, 16, 8)  # small tensors: several pieces, full ones and tails

TOLERANCE = {
    torch.float64: (1e-11, 1e-13), torch.float32: (2e-5, 1e-6),
    torch.bfloat16: (2**-6, 2**-6), torch.float16: (2**-9, 2**-9),
}  # fmt: skip
SHAPES = ((5, 7), (13,), (1, 1), (3, 2, 3, 3), (0, 4), (11, 23), (7, 16))[: 7 if sys.argv[3] == "all" else 5]


def compared(name, options, dtype):
    """Whether the rule runs on kernels, and how it differs from the judge, if it does."""
    shapes = cases.ranks(name, SHAPES)
    got, wanted, optimizer = cases.compared(name, options, dtype, "triton", steps=2, shapes=shapes)
    rtol, atol = TOLERANCE[dtype]
    if name == "SGDSaI" and dtype == torch.float32:
        rtol = 1e-4
    for p, value in zip(got, wanted, strict=True):
        torch.testing.assert_close(p.detach().double(), value.reshape(p.shape), rtol=rtol, atol=atol)
    return optimizer._last is not None


def views():
    """Parameters and gradients that begin anywhere: the branch with masks."""
    storage, slopes = torch.randn(700), torch.randn(700)
    p, q = (torch.nn.Parameter(part) for part in (storage[1:501], storage[1:501].clone()))
    for one, name in ((p, "triton"), (q, "torch")):
        optimizer = stdlib.AdamW([one], lr=0.1, backend=name)
        for k in range(3):
            one.grad = slopes[k + 1 : k + 501]
            optimizer.step()
    torch.testing.assert_close(p, q, rtol=2e-5, atol=1e-6)
    return True


def twins(name, shapes=((5, 7), (13,)), **options):
    """A function that steps the rule on kernels and on torch with the same gradients, and compares; and both."""
    generator = torch.Generator().manual_seed(3)
    starts = [torch.randn(shape, generator=generator) for shape in shapes]
    sides = []
    for backend, more in (("triton", options), ("torch", {k: v for k, v in options.items() if k != "capturable"})):
        params = [torch.nn.Parameter(start.clone()) for start in starts]
        groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.02}]
        sides.append((params, getattr(stdlib, name)(groups, **cases.keywords(name, {}) | more, backend=backend)))

    def step(scale=1.0, idle=()):
        slopes = [torch.randn(shape, generator=generator) for shape in shapes]
        for params, optimizer in sides:
            ours = optimizer is sides[0][1]
            for k, (p, slope) in enumerate(zip(params, slopes, strict=True)):
                p.grad = None if k in idle else slope * scale if ours else slope.clone()
            if ours or not float(getattr(sides[0][1], "found_inf", 0.0)):
                optimizer.step()
        for p, q in zip(*(params for params, _ in sides), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)

    return step, sides[0][1], sides[1][1]


def capturable(name):
    """The clock, the numbers and the shared states live on the device; a learning rate that is a tensor too."""
    rate = torch.tensor(0.03)
    step, ours, theirs = twins(name, capturable=True)
    for optimizer in (ours, theirs):
        optimizer.param_groups[0]["lr"] = rate
    for k in range(5):
        rate.fill_(0.03 / (k + 1))
        step()
    kept = ours.state_dict()
    assert all(float(state["step"]) == 5 for state in kept["state"].values())
    ours.load_state_dict(kept)
    step()
    return ours._last is not None


def scaled(name, capturable):
    """The loss scale is divided out in the kernel, and a step with a gradient that is not finite changes nothing."""
    step, ours, _ = twins(name, capturable=capturable)
    step()
    for k in range(5):
        ours.grad_scale, ours.found_inf = torch.tensor(8.0), torch.tensor(float(k in (1, 2)))
        step(scale=8.0)
        assert float(ours.param_groups[0]["params"][0].grad.abs().max()) > 4  # left as it was
    del ours.grad_scale, ours.found_inf
    step()
    assert all(float(state["step"]) == 5 for state in ours.state_dict()["state"].values())
    return ours._last is not None


def asking(adaptive):
    """A gradient elsewhere: the closure is called between two passes."""
    results = []
    for backend in ("triton", "torch"):
        generator = torch.Generator().manual_seed(2)
        params = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((5, 7), (13,), (70,))]
        optimizer = stdlib.SAM(params, lr=0.1, rho=0.3, adaptive=adaptive, backend=backend)
        for _ in range(3):
            optimizer.step(lambda params=params: sum((p.sin() * p).sum() for p in params))
        results.append((params, bool(optimizer._buckets)))
    for p, q in zip(results[0][0], results[1][0], strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
    return results[0][1]


def first_steps_that_are_skipped(name):
    """What step 1 computes is computed in the first step that is taken."""
    step, ours, _ = twins(name, capturable=True)
    for k in range(4):
        ours.found_inf = torch.tensor(float(k < 2))
        step()
    return ours._last is not None


def changing(name):
    """Tensors that move, and gradients that come and go."""
    step, ours, _ = twins(name, shapes=((5, 7), (13,), (4, 8)))
    for k in range(6):
        if k == 2:
            p = ours.param_groups[1]["params"][0]
            p.data = p.data.clone()
        step(idle=(1,) if k == 3 else ())
    return ours._last is not None


def refusing():
    """What does not fit is said before anything moves."""
    p, q = (torch.nn.Parameter(torch.ones(6)) for _ in range(2))
    p.grad, q.grad = torch.ones(6), torch.ones(6)
    optimizer = stdlib.AdamW([p, q], lr=0.1, backend="triton")
    optimizer.step()
    kept = p.detach().clone()
    q.data, q.grad = torch.ones(9), torch.ones(9)
    refused(RuntimeError, "was resized", optimizer.step)
    assert torch.equal(p, kept) and torch.equal(q, torch.ones(9))
    storage = torch.ones(8)
    tied = [torch.nn.Parameter(storage), torch.nn.Parameter(storage[2:])]
    for one in tied:
        one.grad = torch.ones_like(one)
    stdlib.AdamW(tied, lr=0.1, weight_decay=0.0, backend="triton").step()  # one after the other, as torch does
    assert float(storage[0]) > float(storage[3])
    if hasattr(p, "grad_dtype"):
        p, q = (torch.nn.Parameter(torch.ones(6)) for _ in range(2))
        p.grad_dtype = None
        p.grad, q.grad = torch.ones(6, dtype=torch.bfloat16), torch.ones(6)
        refused(TypeError, "convert it", stdlib.AdamW([p, q], lr=0.1, backend="triton").step)
        assert torch.equal(p, torch.ones(6)) and torch.equal(q, torch.ones(6))
    return True


def refused(kind, words, step):
    """That `step` raises this."""
    try:
        step()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"nothing was said of {words}")


def run(label, function, *arguments):
    """One line."""
    try:
        print(json.dumps({"case": label, "kernels": function(*arguments)}), flush=True)
    except Exception:
        print(json.dumps({"case": label, "error": traceback.format_exc()[-1500:]}), flush=True)


every = []
kinds = (torch.float32, torch.bfloat16, torch.float64, torch.float16)
for index, (rule, given) in enumerate(cases.OPTIONS):
    for kind in kinds if sys.argv[3] == "all" else (kinds[index % 3],):
        every.append((f"{rule} {given} {kind}", compared, rule, given, kind))
every.append(("views", views))
for rule in ("AdamW", "NAdam", "AdaBelief", "AMSGD", "SGDSaI", "AdamP"):
    every.append((f"{rule} capturable", capturable, rule))
    every.append((f"{rule} scaled", scaled, rule, False))
    every.append((f"{rule} scaled, capturable", scaled, rule, True))
    every.append((f"{rule} changing", changing, rule))
every.append(("Prodigy capturable", capturable, "Prodigy"))
every.append(("Prodigy scaled", scaled, "Prodigy", True))
every.append(("what does not fit", refusing))
every += [("SAM", asking, adaptive) for adaptive in (False, True)]
every.append(("SGDSaI first", first_steps_that_are_skipped, "SGDSaI"))
half = int(sys.argv[2])
for case in every[half::2]:
    run(*case)
