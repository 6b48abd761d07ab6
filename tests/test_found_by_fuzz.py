"""What random rules found (`bench/fuzz`), each made small: every backend beside the reference interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dotopt
from dotopt.runtime.backends.choice import Unable
from dotopt.runtime.property.compare import difference
from dotopt.runtime.property.example import Example
from dotopt.runtime.property.runs import Machine

HEAD = "rule A\nobjective f\nparam x : real[{}]\nhyper η as lr >= 0 = 0.1\nhyper k = -0.5\ng = ∇f(x)\n"
ANY, MATRIX, VIEW = "...", "rows, cols", "rows, cols..."
FOUND = {
    "a truth times a number, between passes": (VIEW, "x' = x - η*(min(g, over=rows) > -1) + g\n"),
    "truths that a pass made choose between passes": (
        VIEW, "x' = x - η*(min(g, over=rows) if (x > 0 and g > x) or x < k else sum(x, over=rows))\n"),
    "truths are subtracted between passes": (VIEW, "x' = x - η*(min((x > g) - (g > 0), over=rows) - g)\n"),
    "truths in a product": (MATRIX, "x' = x - η*((g > x) @ gᵀ @ x + (x > 0))\n"),
    "truths as numbers": (
        ANY, "x' = x - η*((g > x)^2 + 2^(g > x) + (x > 0)^(g > 0) + max(g, x > 0) + min(x > 0, g > 0) + -((x > 0)²)\n"
        "  + 1/(2 - (x > 0)) + (x > 0)*(g > 0) - |x > k| + √(x > 0)\n"
        "  + mean(x > 0) + norm(x > 0) + max(x > 0) + max(g if x > k else x))\n"),
    "a first value with fewer axes": (VIEW, "state u : like x = first (10 - mean(g, over=rows))\nu' = 0.5*u + g\n"
        "x' = x - η*u' every 2 otherwise x - η*g\n"),
    "a number in the place of a matrix, in one case": (
        "..., rows, cols", "x' = x - η*(g + ((g if t == 1 else k) @ (gᵀ @ g)))\n"),
    "a choice of numbers that is summed between passes": (
        MATRIX, "x' = x - η*(norm((x if t > 2 else k), over=rows) > g)*min(g, over=rows)\n"),
    "matrix work makes a number of each tensor": (
        MATRIX, "state c : real = 0\nc' = 0.5*c + mean(min(g, sum(g, per=cols)))\nx' = x - η*c'\n"),
    "a number times a truth of numbers": (ANY, "x' = x - η*(g*(1 > k) + g + g*g)\n"),
}  # fmt: skip
SHAPES = {ANY: ((3, 4), (5,), ()), MATRIX: ((3, 4), (5, 1), (1, 1)), VIEW: ((3, 4), (5,), (2, 1, 3))}
KERNELS_REFUSE = {"a number in the place of a matrix, in one case", "matrix work makes a number of each tensor"}


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("name", FOUND)
def test_the_backends_agree_with_the_reference(name: str, backend: str, tmp_path: Path) -> None:
    view, text = FOUND[name]
    (tmp_path / "a.opt").write_text(HEAD.format(view) + text, encoding="utf-8")
    cls = dotopt.load(tmp_path / "a.opt").A
    shapes, numbers = SHAPES.get(view, SHAPES[MATRIX]), np.random.default_rng(0)
    starts = tuple(numbers.normal(size=shape) for shape in shapes)
    gradients = tuple(tuple(numbers.normal(size=shape) for shape in shapes) for _ in range(4))
    example = Example("float64", {}, ({},), (0,) * len(shapes), starts, gradients, None)
    if backend == "cpu" and name in KERNELS_REFUSE:
        with pytest.raises(Unable, match="matrix"):
            _difference(cls, example, backend)
    else:
        assert _difference(cls, example, backend) is None


def _difference(cls: Any, example: Example, backend: str) -> Any:
    return difference(cls, example, Machine(cls, example, backend))


def test_names_that_a_class_has_for_itself_are_refused_in_compositions_too(tmp_path: Path) -> None:
    text = HEAD.format(ANY) + "option backend in {a, b} = b\nx' = x - η*g\n"
    (tmp_path / "drawn.opt").write_text(text.replace("rule A", "rule Drawn"), encoding="utf-8")
    (tmp_path / "composed.opt").write_text("rule Composed = SWA(Drawn)\nuse Drawn, SWA\n", encoding="utf-8")
    with pytest.raises(dotopt.OptError, match="E238"):
        dotopt.load(tmp_path / "composed.opt")


def test_sums_over_the_model_of_two_things_do_not_meet(tmp_path: Path) -> None:
    """A tensor that sat out a step is at another step count, so it leaves out another request of `every`."""
    text = "state a : like x = 0\na' = a + g*sum(g, over=model) every 2\nx' = x - η*sum(100*x, over=model) - a'\n"
    (tmp_path / "a.opt").write_text(HEAD.format(ANY) + text, encoding="utf-8")
    x, y = (torch.nn.Parameter(torch.ones(1, dtype=torch.float64)) for _ in range(2))
    optimizer = dotopt.load(tmp_path / "a.opt").A([x, y], lr=0.001, backend="torch")
    x.grad = torch.ones_like(x)
    optimizer.step()
    moved = 0.1 * (x + y).item()
    y.grad = torch.ones_like(y)
    optimizer.step()
    assert y.item() == pytest.approx(1 - moved, abs=1e-12)
