"""Sentences about matrices: what is decided, and that nothing breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

HEAD = """theorem Matrices
for all A : real[n, n], B : real[n, n], S : real[n, n], U : real[n, r], M : real[n, m], x : real[n], y : real[n]
for all z : real[r], c > 0, a

claim c:
"""
TRUE = [
    "show trace(outer(x, y)) == dot(x, y)",
    # transposes of entrywise functions, sums of all entries
    "show (A*B)ᵀ == Aᵀ*Bᵀ",
    "show exp(A)ᵀ == exp(Aᵀ)",
    "show sum(A) == sum(Aᵀ)",
    "show sum(A) == dot(ones(n), A @ ones(n))",
    "show ‖A‖[1] == ‖Aᵀ‖[1]",
    "show max(A) == max(Aᵀ)",
    # outer products of vectors with other axes are products of their entries
    "show ‖outer(x, z)‖ == ‖x‖*‖z‖",
    "show sum(outer(x, z)) == sum(x)*sum(z)",
    "show outer(x, z)*outer(y, z) == outer(x*y, z²)",
    "show ‖a*U + c*outer(x, z)‖² == a²*‖U‖² + 2*a*c*dot(x, U @ z) + c²*‖x‖²*‖z‖²",
    "show trace((U + outer(x, z)) @ Uᵀ) == ‖U‖² + dot(x, U @ z)",
    "given |x| <= c and |z| <= 1\n  show |outer(x, z)| <= c",
    # orthogonal columns, on the side where they are
    "given Uᵀ @ U == I\n  show trace(U @ Uᵀ) == size(z)",
    "given Uᵀ @ U == I\n  show ‖x - U @ Uᵀ @ x‖² == ‖x‖² - ‖Uᵀ @ x‖²",
    # symmetric, skew, idempotent, definite
    "given Sᵀ == S\n  show trace(S @ A) == trace(S @ Aᵀ)",
    "given Sᵀ == S\n  show trace(S @ S @ S @ S) >= 0",
    "given Sᵀ == -S\n  show dot(x, S @ x) == 0",
    "given Sᵀ == -S\n  show trace(S @ S) <= 0",
    "given S @ S == S\n  show (I - S) @ (I - S) @ x == x - S @ x",
    "given Sᵀ == S and S @ S == S\n  show dot(x, S @ x) >= 0",
    "given S @ S == I\n  show S @ S @ S == S",
    "given Sᵀ == -S\n  show ‖x + S @ x‖² == ‖x‖² + ‖S @ x‖²",
    "given A @ B == B @ A\n  show (A + B) @ (A - B) == A @ A - B @ B",
    "given A @ x == c*x\n  show A @ A @ x == c²*x",
    "given positive_definite(A) and positive_definite(B)\n  show trace(A @ B) >= 0",
    # inverses
    "show inverse(A @ B) == inverse(B) @ inverse(A)",
    "show inverse(A)ᵀ == inverse(Aᵀ)",
    "show inverse(A) - inverse(B) == inverse(A) @ (B - A) @ inverse(B)",
    "show inverse(I + c*outer(x, x)) == I - c/(1 + c*‖x‖²)*outer(x, x)",
    "show inverse(I + c*(M @ Mᵀ)) @ (I + c*(M @ Mᵀ)) == I",
    "show spectral_norm(-3*Mᵀ) == 3*spectral_norm(M)",
]
FALSE = [
    "show trace(outer(x, y)) == ‖x‖*‖y‖",
    "show spectral_norm(A) <= spectral_radius(A)",
    "show inverse(c*A) == c*inverse(A)",
    "show (A*B)ᵀ == A*Bᵀ",
    "show sum(A @ B) == sum(B @ A)",
    "show ‖outer(x, z)‖ == ‖x‖ + ‖z‖",
    "show ‖a*U + c*outer(x, z)‖² == a²*‖U‖² + a*c*dot(x, U @ z) + c²*‖x‖²*‖z‖²",
    "given Uᵀ @ U == I\n  show trace(U @ Uᵀ) == size(x)",
    "given Uᵀ @ U == I\n  show U @ Uᵀ @ x == x",
    "given Sᵀ == S\n  show trace(S @ S @ S) >= 0",
    "show inverse(A @ B) == inverse(A) @ inverse(B)",
    # matrices of a shape that random ones never have
    "given S @ S == S\n  show S == I + 0*A",
    "given Sᵀ == -S\n  show dot(x, S @ y) == dot(y, S @ x)",
    "given Sᵀ == -S\n  show ‖x + S @ y‖² == ‖x‖² + ‖S @ y‖²",
    "given positive_definite(A) and positive_definite(B)\n  show A @ B == B @ A",
    "given positive_definite(A)\n  show dot(x, A @ y) >= 0",
    "show inverse(I + c*outer(x, x)) == I - c*outer(x, x)",
    "show spectral_norm(a*M) == a*spectral_norm(M)",
]


@pytest.mark.parametrize(("claim", "status"), [*((c, "proved") for c in TRUE), *((c, "refuted") for c in FALSE)])
def test_matrices(decided: Decided, claim: str, status: str) -> None:
    report = decided(f"{HEAD}  {claim}\n")
    assert report.status == status, report
    assert status == "refuted" or verify(report.certificate or {})


@pytest.mark.parametrize(
    "claim",
    [
        "show max(A + B) <= max(A) + max(B)",
        "show spectral_radius(A) <= spectral_norm(A)",
        "show matrix_power(I + M @ Mᵀ, -1) == inverse(I + M @ Mᵀ)",
    ],
)
def test_functions_of_matrices_keep_to_their_own_laws(decided: Decided, claim: str) -> None:
    report = decided(f"{HEAD}  {claim}\n")
    assert report.status in ("proved", "open")
    assert "internal" not in (report.reason or "")


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("show ‖z‖² == sum(z)²", "open"),  # true of one entry; it was refuted by vectors with two
        ("show ‖z‖ == ‖z‖[1]", "open"),
        ("show ‖u‖ == ‖u‖[1]", "refuted"),
        ("show A @ B == B @ A", "open"),
        ("show P @ R == R @ P", "refuted"),
        ("show ‖I + 0*P‖² == 2", "proved"),
    ],
)
def test_axes_with_a_number_for_a_name_have_that_size(decided: Decided, claim: str, status: str) -> None:
    names = "z : real[1], u : real[2], A : real[1, 1], B : real[1, 1], P : real[2, 2], R : real[2, 2]"
    assert decided(f"theorem Sizes\nfor all {names}\n\nclaim c:\n  {claim}\n").status == status
