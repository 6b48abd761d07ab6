"""What everybody knows of norms and of vectors under matrices, and what only looks like it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

HEAD = """theorem Norms
for all x : real[d], u : real[d], y : real[n], A : real[n, d], B : real[n, d], C : real[d, m], Q : real[n, d]
for all S : real[d, d], T : real[d, d]

claim c:
"""
TRUE = [
    "given ‖x‖ > 0\n  show ‖unit(x)‖ == 1",
    "given ‖x‖ > 0\n  show ‖x - u‖*‖unit(x)‖ == ‖x - u‖",
    "given dot(x, u) != 0\n  show ‖(x - 2*u + 3*x)/dot(x, u)‖ == ‖4*x - 2*u‖/|dot(x, u)|",
    "show |dot(x, u)| <= ‖x‖*‖u‖",
    "show ‖x + u‖ <= ‖x‖ + ‖u‖",
    "show |‖x‖ - ‖u‖| <= ‖x - u‖",
    "show ‖x‖ <= ‖x‖[1]",
    "show ‖x‖[∞] <= ‖x‖",
    "show ‖x‖[1]² <= size(x)*‖x‖²",
    "show ‖x‖² <= size(x)*‖x‖[∞]²",
    "show dot(x, Aᵀ @ A @ x) >= 0",
    "show dot(x, Aᵀ @ A @ x) == ‖A @ x‖²",
    "show dot(A @ x, y) == dot(x, Aᵀ @ y)",
    "show sum(A)² <= size(A)*sum(A²)",
    "show ‖A‖ <= sum(|A|)",
    "show sum(|A|) <= √size(A)*‖A‖",
    "given size(A) > 1\n  show std(A)² <= sum(A²)/(size(A) - 1)",
    "show mean(outer(y, x), over=d) == y*mean(x)",
    "given Qᵀ @ Q == I\n  show ‖Q @ x‖ == ‖x‖",
    "given Qᵀ @ Q == I\n  show ‖Qᵀ @ y‖ <= ‖y‖",
    "given Qᵀ @ Q == I\n  show ‖Q @ x - y‖² >= ‖y‖² - ‖Qᵀ @ y‖²",
    "given Sᵀ @ S == I\n  show trace(S) <= size(x)",
    "given Sᵀ == S and S @ S == S\n  show ‖S @ x‖ <= ‖x‖",
    "show |trace(Aᵀ @ B)| <= ‖A‖*‖B‖",
    "show |trace(S @ T)| <= ‖S‖*‖T‖",
    "show trace(S)² <= size(x)*‖S‖²",
    "show ‖A + B‖ <= ‖A‖ + ‖B‖",
    "show ‖A @ C‖ <= ‖A‖*‖C‖",
    "show ‖A @ x‖ <= spectral_norm(A)*‖x‖ <= ‖A‖*‖x‖",
    "show |dot(y, A @ x)| <= spectral_norm(A)*‖x‖*‖y‖",
    "show ‖A‖² <= size(x)*spectral_norm(A)²",
    "given positive_definite(S)\n  show dot(x, S @ u)² <= dot(x, S @ x)*dot(u, S @ u)",
    "given positive_definite(S) and ‖x‖ > 0\n  show dot(x, S @ x) > 0",
    "given positive_definite(S)\n  show trace(S) > 0",
    "given Qᵀ @ Q == I\n  show dot(Q @ x, Q @ u) == dot(x, u)",
]
FALSE = [
    "given ‖x‖ > 0\n  show sum(unit(x)) == 1",
    "given ‖x‖ > 0\n  show unit(x)² == 1",
    "given dot(x, u) != 0\n  show ‖x/dot(x, u)‖ == ‖x‖/dot(x, u)",
    "show ‖x‖[1] <= ‖x‖",
    "show ‖x‖[1]² <= ½*size(x)*‖x‖²",
    "show |dot(x, u)| <= ‖x‖[∞]*‖u‖[∞]",
    "show ‖A @ x‖ == ‖x‖",
    "show sum(A)² <= sum(A²)",
    "show sum(|A|) <= ‖A‖",
    "show mean(outer(y, x), over=d) == y*sum(x)",
    "given Qᵀ @ Q == I\n  show ‖Qᵀ @ y‖ == ‖y‖",
    "show dot(x, S @ S @ x) >= 0",
    "show dot(x, Sᵀ @ S @ x) > 0",
    "show |trace(S @ T)| <= 0.99*‖S‖*‖T‖",
    "show trace(S)² <= ‖S‖²",
    "show ‖A‖ <= spectral_norm(A)",
    "show ‖A @ x‖ <= 0.98*spectral_norm(A)*‖x‖",
    "given Sᵀ == S and S @ S == S\n  show ‖S‖ >= 1",
    "given Qᵀ @ Q == I\n  show ‖Qᵀ @ y‖ >= ‖y‖",
    "given Sᵀ == S\n  show dot(x, S @ u)² <= dot(x, S @ x)*dot(u, S @ u)",
    "given positive_definite(S)\n  show dot(x, S @ x) > 0",
    "show dot(S @ x, u) == dot(x, S @ u)",
]


@pytest.mark.parametrize(("claim", "status"), [*((c, "proved") for c in TRUE), *((c, "refuted") for c in FALSE)])
def test_norms(decided: Decided, claim: str, status: str) -> None:
    report = decided(f"{HEAD}  {claim}\n")
    assert report.status == status, report
    assert status == "refuted" or verify(report.certificate or {})


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("show ‖o‖ <= ‖W‖*‖x‖", "proved"),
        ("given W @ Wᵀ == I\n  show ‖o‖ <= ‖x‖", "proved"),
        ("show dot(o, W @ x) == ‖W @ x‖²", "proved"),
        ("show ‖o‖ <= ‖x‖", "refuted"),
    ],
)
def test_norms_in_a_rule(decided: Decided, claim: str, status: str) -> None:
    rule = "rule Reads\ninput x : real[d]\ninput W : real[k, d]\nstate s : real[k] = 0\noutput o : real[k]"
    text = f"{rule}\no = W @ x + 0*s\ns' = s + o\n\nclaim c:\n  {claim}\n"
    assert decided(text).status == status


UNDEFINED = ["show 0*(1/a) == 0", "show 0*√a <= 1", "given b == 0\n  show b*log(a) == 0"]


@pytest.mark.parametrize("claim", UNDEFINED)
def test_zero_times_what_may_have_no_value_is_asked_about(decided: Decided, claim: str) -> None:
    report = decided(f"theorem Zero\nfor all a, b\n\nclaim c:\n  {claim}\n")
    assert report.status == "open" and "value" in report.reason
    assert decided(f"theorem Zero\nfor all a, b\n\nclaim c:\n  given a > 0\n  {claim}\n").status == "proved"
