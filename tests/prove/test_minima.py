"""Claims about `argmin` and `prox`: they are about minima, which must exist."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

SQUARE = "F(s) = a*‖s‖²/2 + dot(x, s)\n  S : like x = argmin(F)\n  "
SHARE = "F(s) = ‖s‖²/(2*a) + dot(x, s)\n  S : like x = argmin(F)\n  "
FIT = "F(S) = ½*‖S @ k - v‖² + a/2*‖S‖²\n  S : real[m, d] = argmin(F)\n  "
SOFT = "P(s) = c*‖s‖[1]\n  "
CASES = {
    f"given a > 0\n  {SQUARE}show a*S == -x": "proved",
    f"{SQUARE}show a*S == -x": "open",  # for a < 0 there is a maximum
    f"given a < 0\n  {SQUARE}show a*S == -x": "open",
    f"{SQUARE}show a*S == x": "refuted",
    f"given a < 0\n  {SQUARE}show a*S == x": "open",  # no world has the minimum, so none refutes it
    f"{SQUARE}refute a*S == x": "proved",
    f"{SQUARE}refute a*S == -x": "open",
    f"given a > 0\n  {SHARE}show S == -a*x": "proved",
    f"{SHARE}show S == -a*x": "open",
    f"given a > 0\n  {FIT}show (S @ k - v)*(a + ‖k‖²) == -a*v": "proved",
    f"given a >= 0\n  {FIT}show (S @ k - v)*(a + ‖k‖²) == -a*v": "open",
    "F(s) = -‖s‖²/2 + dot(x, s)\n  S : like x = argmin(F)\n  show S == x": "open",
    "F(s) = -‖s‖²\n  S : like x = argmin(F)\n  show S == S": "open",
    f"given b*c >= 0\n  {SOFT}show prox(P, b, x) == sign(x)*max(|x| - b*c, 0)": "proved",
    f"{SOFT}show prox(P, b, x) == sign(x)*max(|x| - b*c, 0)": "open",  # two minima at x = 0
    "F(s) = a*s²/2 + b*s\n  given a > 0\n  show argmin(F) == -b/a": "proved",
    "F(s) = a*s²/2 + b*s\n  given a != 0\n  show argmin(F) == -b/a": "open",
}


@pytest.mark.parametrize(("claim", "status"), CASES.items())
def test_minima(decided: Decided, claim: str, status: str) -> None:
    head = "theorem Least\nfor all a, b, c, x : real[d], k : real[d], v : real[m]\n\nclaim one:\n  "
    assert decided(f"{head}{claim}\n").status == status
