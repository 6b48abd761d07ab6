"""Families of known and unknown size: true sentences of size one are proved, counterexamples have every member."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

HEAD = "theorem Members\nfor all n : int > 0, x[i in 1..n]{type}\n\nclaim it:\n  {claim}\n"

CASES = [
    ("given n == 1\n  show x[i] == sum(x[j] for j)", "proved"),
    ("given n == 1\n  show x[i] == mean(x[j] for j)", "proved"),
    ("given n == 2\n  show sum(x[j] for j) == x[1] + x[2]", "proved"),
    ("given n == 2\n  show x[i]^2 <= sum(x[j]^2 for j)", "proved"),
    ("given n == 2\n  show x[i] == sum(x[j] for j)", "refuted"),
    ("show x[i] <= sum(x[j] for j)", "refuted"),
    ("show x[i] == mean(x[j] for j)", "refuted"),
]


@pytest.mark.parametrize(("claim", "status"), CASES)
def test_sentences_about_members(claim: str, status: str, decided: Decided) -> None:
    report = decided(HEAD.format(type="", claim=claim))
    assert report.status == status, report.reason


def test_a_family_of_one_vector(decided: Decided) -> None:
    claim = "given n == 1\n  show x[i] == sum(x[j] for j)"
    assert decided(HEAD.format(type=" : real[d]", claim=claim)).status == "proved"


def test_the_numbers_printed_are_those_used(decided: Decided) -> None:
    found: dict[str, Any] = decided(HEAD.format(type="", claim="show x[i] <= sum(x[j] for j)")).counterexample or {}
    size, place = int(found["n"]), int(found["i"])
    members = [Fraction(found[f"x[{k}]"]) for k in range(1, size + 1)]
    assert 1 <= place <= size and sum(key.startswith("x[") for key in found) == size
    assert (members[place - 1], sum(members)) == (Fraction(found["left"]), Fraction(found["right"]))
    assert members[place - 1] > sum(members)
