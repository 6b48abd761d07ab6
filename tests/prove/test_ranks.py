"""Claims about rules that ask for the rank: every rank that differs counts, and none that the parameter cannot have."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

ANY = "real[...]", "w - η*∇f(w) if rank(w) != 5 else w"
MATRIX = "real[rows, cols]", "w - η*∇f(w) if rank(w) >= 2 else w"
MERGED = "real[rows, cols...]", "w - η*∇f(w) if rank(w) >= 2 else w"
CASES = [
    (ANY, "show rank(w) <= 3", "refuted"),
    (ANY, "show rank(w) >= 1", "proved"),
    (ANY, "show w' == w - η*∇f(w)", "refuted"),  # of five axes
    (ANY, "given rank(w) != 5\n  show w' == w - η*∇f(w)", "proved"),
    (ANY, "given rank(w) == 5\n  show w' == w", "proved"),
    (ANY, "show rank(w) + 1 <= 4", "open"),
    (MATRIX, "show rank(w) == 2", "proved"),
    (MATRIX, "show w' == w - η*∇f(w)", "proved"),
    (MATRIX, "show w' == w", "refuted"),
    (MERGED, "show w' == w - η*∇f(w)", "refuted"),  # vectors stand still
    (MERGED, "given rank(w) == 1\n  show w' == w", "proved"),
    (MERGED, "given rank(w) == 1\n  show size(w, per=rows) == 1", "proved"),
    (MERGED, "given rank(w) == 2\n  show size(w, per=rows) == 1", "refuted"),
]


@pytest.mark.parametrize(("rule", "claim", "status"), CASES)
def test_ranks(decided: Decided, rule: tuple[str, str], claim: str, status: str) -> None:
    type, step = rule
    head = f"rule Ranked\nobjective f\nparam w : {type}\nhyper η as lr >= 0 = 0.1\nw' = {step}\n"
    assert decided(f"{head}\nclaim one:\n  {claim}\n").status == status


def test_a_row_of_a_vector_is_one_number(decided: Decided) -> None:
    """True, if not proved; as a matrix it would be false."""
    rule = "rule Ranked\nobjective f\nparam w : real[rows, cols...]\nhyper η as lr >= 0 = 0.1\nw' = w - η*∇f(w)\n"
    for rank, status in (1, "open"), (2, "refuted"):
        report = decided(f"{rule}\nclaim one:\n  given rank(w) == {rank}\n  show norm(w, per=rows) == |w|\n")
        assert report.status == status
