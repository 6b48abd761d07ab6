"""Claims inside `iterate` are decided as claims about one pass, and none is skipped."""

from pathlib import Path

import pytest

from dotopt.compiler.prove import check_file

LOOP = """rule Looped
objective f
param x : real[...]
hyper η as lr >= 0 = 0.1
hyper n as passes : int > 0 = 3

g = ∇f(x)
{iterate}:
  p' = (p + {added})/2

  claim inside:
    {claim}
x' = x - η*p
"""


def status(text: str, folder: Path) -> tuple[str, str]:
    path = folder / "looped.opt"
    path.write_text(text, encoding="utf-8")
    (claim,) = check_file(path).claims
    return claim.status, claim.reason


@pytest.mark.parametrize(
    ("iterate", "added", "claim", "expected"),
    [
        ("iterate p from g repeat n", "1", "given p >= 1\n    show p' >= 1", "proved"),
        ("iterate p from g repeat n", "1", "show p' >= p", "refuted"),
        ("iterate p from g repeat n", "1", "show p' == p", "refuted"),
        ("iterate p from 0*g for j in 1..n", "j", "show 2*p' - p == j", "proved"),
        ("iterate p from 0*g for j in 1..n", "j", "show 2*p' - p >= 1", "proved"),
        ("iterate p from 0*g for j in 1..n", "j", "show 2*p' - p >= 2", "refuted"),
        ("iterate p from g until ‖p‖ <= 1 at most n", "g", "show ‖p‖ > 1", "proved"),
        ("iterate p from g repeat n", "g", "show p == g", "refuted"),  # only the first pass starts there
    ],
)
def test_a_claim_about_one_pass(iterate: str, added: str, claim: str, expected: str, tmp_path: Path) -> None:
    assert status(LOOP.format(iterate=iterate, added=added, claim=claim), tmp_path)[0] == expected


def test_a_claim_in_a_loop_inside_a_loop(tmp_path: Path) -> None:
    text = (
        "formula deep(a : real, n : int > 0 = 2) = p\n\niterate p from a repeat n:\n"
        "  iterate q from p repeat n:\n    q' = q + p\n\n    claim inner:\n      show q' - q == {right}\n  p' = q\n"
    )
    assert status(text.format(right="p"), tmp_path)[0] == "proved"
    assert status(text.format(right="a"), tmp_path)[0] == "refuted"


def test_sentences_about_all_steps_are_refused_in_a_loop(tmp_path: Path) -> None:
    text = LOOP.format(iterate="iterate p from g repeat n", added="1", claim="show p' >= 1 for all steps")
    found, reason = status(text, tmp_path)
    assert found == "open" and "one pass" in reason


def test_a_claim_inside_when_is_not_passed_over(tmp_path: Path) -> None:
    text = (
        "rule Viewed\nobjective f\nparam x : real[...]\n\nwhen x is real[..., r, c]:\n  s = 2\n\n"
        "  claim two:\n    show s == 3\notherwise:\n  s = 1\nx' = x - s*∇f(x)\n"
    )
    found, reason = status(text, tmp_path)
    assert found == "open" and "inside `when`" in reason
