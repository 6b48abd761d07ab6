"""Run by test_triton_backend.py in a process whose Triton interprets kernels; prints one line of JSON a rule.

TRITON_INTERPRET=1 python interpreted_rules.py

Rules that kernels once got wrong, against the judge: a name, the view of the parameter, what stands below the head.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

import interpreted_references

import dotopt
from dotopt.compiler.evaluate import Simulation
from dotopt.runtime.backends import triton_table as tables
from dotopt.runtime.loading.load import program

warnings.simplefilter("ignore")
torch.set_num_threads(1)
tables.PIECE, tables.BLOCK, tables.WIDTHS = 64, 32, (32, 16, 8)

HEAD = "rule A\nobjective f\nparam x : real[{}]\nhyper η as lr >= 0 = 0.1\nhyper k = {}\ng = ∇f(x)\n"
SHAPES = ((5, 1), (1, 5), (4, 3), (67,), (1,), ())

LOOP = "x' = x - η*v\niterate v from {} repeat 2:\n  v' = clip({}, -1, 1)\n"
POWERS = "x' = x - η*g*({})\n"
STATE = "state {0} : like x = 0.5\n{0}' = 0.9*{0} + g*max(g)\n"
NAMES = (
    "BLOCK", "PIECE", "range", "float", "min", "tl", "triton", "data", "i", "inside", "s0", "s0_all", "piece_full",
    "power", "power_5", "scale", "join", "x_at", "lambda", "host_0",
)  # fmt: skip
SINGLE = ("whole powers", "other powers", "std of a large mean", "std over rows", "std over columns")  # in float32 too
RULES = {
    "norm over rows of tall matrices": ("rows, cols...", "x' = x - η*(g + norm(g, over=rows))\n"),
    "sum over rows, with leading axes": ("..., rows, cols", "x' = x - η*(g + sum(g*g, over=rows))\n"),
    "whole powers": ("...", POWERS.format(" + ".join(f"clip({p}, -3, 3)" for p in (
        "x^3", "x^5", "x^6", "x^-1", "x^-2", "(x - 0.25)^2", "(x - 0.25)^3", "(x - 0.25)^-4", "x^70", "x^-65")))),
    "other powers": ("...", POWERS.format(" + ".join(f"clip({p}, -3, 3)" for p in (
        "|x|^1.5", "|x|^-0.25", "|x|^0.5", "(-0.5)^t", "0.5^t", "x^k", "k^t", "x^(k + t)", "(g*0)^k")))),
    "std of a large mean": ("...", "x' = x - η*g*std(g + 100)\n"),
    "std over rows": ("rows, cols...", "x' = x - η*g*min(std(g + 100, over=rows), 1)\n"),
    "std over columns": ("rows, cols...", "x' = x - η*g*min(std(g + 100, over=cols), 1)\n"),
    "std of one entry": ("...", "x' = x - η*(g if std(g + 3) > 0.3 else 2*g)\n"),
    "a written number in max": ("...", "x' = max(0.9, x) - η*g\n"),
    "written numbers in clip": ("...", "x' = clip(x, -0.1, 0.9) - η*g\n"),
    "written numbers in a choice": ("...", "x' = x - η*(0.7 if g > 0.3 else 0.1)\n"),
    "functions of sums": ("...", "x' = x - η*(gelu(g - x) + sign(g - x) + relu(x - g) + tan(0.1*(g - x)))\n"),
    "a condition as a number": ("...", "x' = x - η*0.3*(g > 0.3)\n"),
    "entries or a number": ("...", "x' = x - η*(g if g > 0 or t > 1 else 0)\n"),
    "a number or entries": ("...", "x' = x - η*(g if t > 1 or g > 0 else 0)\n"),
    "entries and a number of the tensor": ("...", "x' = x - η*(g if g > 0 and not max(g) > 0.3 else 0)\n"),
    "numbers of the tensor": ("...", "x' = x - η*(g if max(g) > 0.3 or t > 1 and min(g) < 0 else 0)\n"),
    "a loop that reads the parameter": ("...", LOOP.format("g", "v*x")),
    "a loop that reads the gradient": ("...", LOOP.format("x", "v*g + max(x)")),
    "a loop that reads a state": ("...", "state m : like x = 0.5\nm' = 0.9*m + g\n" + LOOP.format("g", "v*m + m'")),
    "a loop that reads a state alone": ("...", "state m : like x = 0.5\nm' = 0.9*m + v\n" + LOOP.format("g", "v + m")),
    "a loop that reads a number of the group": ("...", "state s = 0.5\ns' = 0.9*s + η\n" + LOOP.format("x", "v*s'")),
    "a loop with a sum over the model": ("...", LOOP.format("x", "v*g + sum(x, over=model)")),
    "a loop with a number of the tensor": ("...", "state s = 0.5\ns' = 0.9*s + max(g)\n" + LOOP.format("x", "v*s")),
    "a loop in the first step alone": (
        "...", "state m : like x = first v\nm' = 0.9*m + g\nx' = x - η*m'\niterate v from x repeat 2:\n"
        "  v' = tanh(v) + norm(v)*g\n"),
    "names of the target": ("...", "".join(map(STATE.format, NAMES)) + f"x' = x - η*({' + '.join(NAMES)})*max(g)\n"),
}  # fmt: skip


def off(view: str, body: str, dtype: torch.dtype, k: float = 3.0) -> float:
    """How far the parameters are off after two steps, relative to one and to their size."""
    path = Path(tempfile.mkdtemp()) / "a.opt"
    path.write_text(HEAD.format(view, k) + body, encoding="utf-8")
    cls = dotopt.load(path).A
    shapes = [shape for shape in SHAPES if cls.rule.pattern.misfit(len(shape)) is None]
    generator = np.random.default_rng(0)
    starts = [torch.tensor(generator.normal(size=shape)).to(dtype) for shape in shapes]
    params = [torch.nn.Parameter(start.clone()) for start in starts]
    optimizer = cls(params, backend="triton")
    judge = Simulation(
        lambda rank: program(cls.origin, (), rank),
        dict(enumerate(start.double().numpy() for start in starts)),
        {hyper.name: hyper.of(optimizer.param_groups[0]) for hyper in cls.rule.hypers},
    )
    for _ in range(2):
        gradients = [torch.tensor(generator.normal(size=shape) * 0.3).to(dtype) for shape in shapes]
        for p, gradient in zip(params, gradients, strict=True):
            p.grad = gradient.clone()
        optimizer.step()
        judge.step(dict(enumerate(gradient.double().numpy() for gradient in gradients)))
    largest = 0.0
    for place, p in enumerate(params):
        got, wanted = p.detach().double().numpy(), judge.params[place].reshape(p.shape)
        assert np.array_equal(np.isfinite(got), np.isfinite(wanted)), "other entries are finite"
        fine = np.isfinite(wanted)
        largest = max(largest, np.max(np.abs(got - wanted)[fine] / np.maximum(1, np.abs(wanted[fine])), initial=0.0))
    return largest


def checked(label: str) -> None:
    """In double precision, some in single too; with a hyperparameter that is an odd and an even number."""
    view, body = RULES[label]
    for k in (3.0, -2.0) if label == "other powers" else (3.0,):
        for dtype, allowed in ((torch.float64, 1e-11), (torch.float32, 2e-5))[: 1 + (label in SINGLE)]:
            found = off(view, body, dtype, k)
            assert found <= allowed, f"{dtype}, k = {k}: off by {found:.3g}"


# A sum over the model in every pass, or a number kept for each tensor, has no kernel inside a loop; Triton insists, so
# it says so before anything has moved.
NO_KERNEL = {"a loop with a sum over the model", "a loop with a number of the tensor"}


REFERENCES = ("ada_bound ams", "kate")  # two of the comparisons of `make test-references`


if __name__ == "__main__":
    for key in REFERENCES if len(sys.argv) == 1 else ():
        try:
            interpreted_references.checked(key)
            print(json.dumps([key, ""]), flush=True)
        except Exception:
            print(json.dumps([key, traceback.format_exc()[-1000:]]), flush=True)
    for label in RULES if len(sys.argv) == 1 else sys.argv[1:]:
        try:
            checked(label)
            print(json.dumps([label, ""]), flush=True)
        except Exception as error:
            said = label in NO_KERNEL and "cannot step these tensors" in str(error)
            print(json.dumps([label, "" if said else traceback.format_exc()[-1000:]]), flush=True)
        else:
            assert label not in NO_KERNEL, f"{label} has a kernel by now"
