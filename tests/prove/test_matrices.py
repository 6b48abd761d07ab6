"""Sentences about matrices: what is decided, and that nothing breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

HEAD = """theorem Matrices
for all A : real[n, n], B : real[n, n], M : real[n, m], x : real[n], y : real[n], c > 0, a

claim c:
"""
TRUE = [
    "show trace(outer(x, y)) == dot(x, y)",
]
FALSE = [
    "show trace(outer(x, y)) == ‖x‖*‖y‖",
    "show spectral_norm(A) <= spectral_radius(A)",
    "show inverse(c*A) == c*inverse(A)",
]


@pytest.mark.parametrize(("claim", "status"), [*((c, "proved") for c in TRUE), *((c, "refuted") for c in FALSE)])
def test_matrices(decided: Decided, claim: str, status: str) -> None:
    report = decided(f"{HEAD}  {claim}\n")
    assert report.status == status, report
    assert status == "refuted" or verify(report.certificate or {})


@pytest.mark.parametrize(
    "claim",
    [
        "show sum(A) == sum(Aᵀ)",
        "show max(A + B) <= max(A) + max(B)",
        "show spectral_radius(A) <= spectral_norm(A)",
        "show inverse(inverse(A)) == A",
        "show matrix_power(I + M @ Mᵀ, -1) == inverse(I + M @ Mᵀ)",
    ],
)
def test_functions_of_matrices_keep_to_their_own_laws(decided: Decided, claim: str) -> None:
    report = decided(f"{HEAD}  {claim}\n")
    assert report.status in ("proved", "open")
    assert "internal" not in (report.reason or "")
