"""Sharp constants beside those of PEPit, another program, which finds the worst function in floating point.

Just above its constant a rate is proved, just below it is refuted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dotopt.compiler.prove.report import ClaimReport

PEPit = pytest.importorskip("PEPit")
pytest.importorskip("clarabel")
from PEPit.functions import ConvexFunction, SmoothConvexFunction, SmoothStronglyConvexFunction  # noqa: E402
from PEPit.primitive_steps import proximal_step  # noqa: E402

Decided = Callable[..., ClaimReport]
MARGIN = 1 / 500

SMOOTH = "objective f : convex, smooth(1)"
CURVED = "objective f : strongly_convex(1/10), smooth(1)"


def descent(f: Any, x: Any) -> Any:
    return x - f.gradient(x)


def short_descent(f: Any, x: Any) -> Any:
    for _ in range(2):
        x = x - f.gradient(x) / 2
    return x


def heavy_ball(f: Any, x: Any) -> Any:
    y = x - f.gradient(x) / 2
    return y + (y - x) / 4 - f.gradient(y) / 2


def accelerated(f: Any, x: Any) -> Any:
    y = x - f.gradient(x)
    u = y + (y - x) / 4
    return u - f.gradient(u)


def proximal_point(f: Any, x: Any) -> Any:
    for _ in range(2):
        x, _, _ = proximal_step(x, f, 1)
    return x


METHODS = {  # the class, the points of the claim (the last is z), what is bounded, the same for PEPit
    "gradient descent": (SMOOTH, "z = x - ∇f(x)", "f(z) - f(s)", descent),
    "gradient descent, short steps": (SMOOTH, "y = x - ∇f(x)/2\nz = y - ∇f(y)/2", "f(z) - f(s)", short_descent),
    "gradient descent, strongly convex": (CURVED, "z = x - ∇f(x)", "‖z - s‖²", descent),
    "heavy ball": (SMOOTH, "y = x - ∇f(x)/2\nz = y + (y - x)/4 - ∇f(y)/2", "f(z) - f(s)", heavy_ball),
    "accelerated": (SMOOTH, "y = x - ∇f(x)\nu = y + (y - x)/4\nz = u - ∇f(u)", "f(z) - f(s)", accelerated),
    "proximal point": ("objective f : convex", "y = z + ∇f(z)\nx = y + ∇f(y)", "f(z) - f(s)", proximal_point),
}


def constant(kind: str, bounded: str, method: Callable[[Any, Any], Any]) -> float:
    """The worst case over all functions and starts at distance 1 from a minimum."""
    problem = PEPit.PEP()
    match kind:
        case "objective f : convex":
            f = problem.declare_function(ConvexFunction)
        case _ if kind == SMOOTH:
            f = problem.declare_function(SmoothConvexFunction, L=1)
        case _:
            f = problem.declare_function(SmoothStronglyConvexFunction, mu=0.1, L=1)
    best = f.stationary_point()
    x = problem.set_initial_point()
    problem.set_initial_condition((x - best) ** 2 <= 1)
    z = method(f, x)
    problem.set_performance_metric(f(z) - f(best) if bounded.startswith("f") else (z - best) ** 2)
    return float(problem.solve(verbose=0))


@pytest.mark.parametrize("name", METHODS)
def test_constants(decided: Decided, name: str) -> None:
    kind, points, bounded, method = METHODS[name]
    worst = constant(kind, bounded, method)
    names = "z : real[d], s : real[d]" if "x =" in points else "x : real[d], s : real[d]"
    for factor, status in ((1 + MARGIN, "proved"), (1 - MARGIN, "refuted")):
        rate = round(worst * factor * 10**6)
        claim = f"given ∇f(s) == 0\n  show {bounded} <= {rate}/10^6*‖x - s‖²"
        report = decided(f"theorem Sharp\n{kind}\nfor all {names}\n{points}\n\nclaim c:\n  {claim}\n", fuel=20_000_000)
        assert report.status == status, (worst, report.reason)
