"""`by lemma(name)` and several sentences of one claim as one invariant."""

from __future__ import annotations

from pathlib import Path

import pytest

from dotopt.compiler.prove import cache, check_claim
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.report import ClaimReport
from dotopt.compiler.text.library import Library, load

RULE = '''"""Lemmas: a bound that needs another one."""
rule Lemmas
objective f
param  θ : real[...]
input  k : real
hyper  β in [0, 1) = 0.9
hyper  γ in [0, 1) = 0.9
state  a = 0
state  b = 0
state  s = 0
state  m : like θ = 0

a' = β*a + (1 - β)*min(k², 1)
b' = γ*b + (1 - γ)*a
s' = s + a
m' = β*m + (1 - β)*∇f(θ)
θ' = θ - m'

claim small:
  show a <= 1 for all steps

claim leaning:
  show b <= 1 for all steps
  by   lemma(small)

claim alone:
  show b <= 1 for all steps

claim together:
  show a <= 1 for all steps
  show b <= 1 for all steps

claim wrong:
  show a <= 1/2 for all steps

claim on_a_wrong_one:
  show b <= 1/2 for all steps
  by   lemma(wrong)

claim bounded:
  for all C >= 0
  given |∇f(θ)| <= C
  show  |m| <= C for all steps

claim without_its_premise:
  for all C >= 0
  show |m| <= C for all steps
  by   lemma(bounded)

claim in_this_step_alone:
  for all C >= 0
  given |∇f(θ)| <= C
  show  |m| <= C
  by    lemma(bounded)

claim with_its_premise:
  for all C >= 0
  given |∇f(θ)| <= C
  show  |m'| <= C for all steps
  by    lemma(bounded)

claim round:
  show s >= 0 for all steps
  by   lemma(trip)

claim trip:
  show s >= 0 for all steps
  by   lemma(round)

claim itself:
  show s >= 0 for all steps
  by   lemma(itself)

claim of_none:
  show s >= 0 for all steps
  by   lemma(nothing)

claim of_this_step:
  show b' <= 1
  by   lemma(small, leaning)
'''

STATUS = {
    "small": ("proved", ""),
    "leaning": ("proved", ""),
    "together": ("proved", ""),
    "wrong": ("refuted", ""),
    "on_a_wrong_one": ("open", "is not proved itself"),
    "bounded": ("proved", ""),
    "without_its_premise": ("open", "whose premise"),
    "in_this_step_alone": ("open", "whose premise"),
    "with_its_premise": ("proved", ""),
    "round": ("open", "need each other"),
    "trip": ("open", "need each other"),
    "itself": ("open", "need each other"),
    "of_none": ("open", "no claim of this file"),
    "of_this_step": ("proved", ""),
}


def found(folder: Path, name: str) -> ClaimReport:
    path = folder / "lemmas.opt"
    path.write_text(RULE, encoding="utf-8")
    file = load(path)
    return check_claim(file, next(c for c in file.claims if c.name == name), Library(folder))


@pytest.mark.parametrize("name", STATUS)
def test_lemmas(tmp_path: Path, name: str) -> None:
    report = found(tmp_path, name)
    status, says = STATUS[name]
    assert report.status == status and says in report.reason
    assert status != "proved" or verify(report.certificate or {})


def test_a_report_hangs_on_the_lemmas_that_it_needs(tmp_path: Path) -> None:
    keys = []
    for bound in ("1", "2"):
        path = tmp_path / "lemmas.opt"
        path.write_text(RULE.replace("claim small:\n  show a <= 1", f"claim small:\n  show a <= {bound}"), "utf-8")
        file = load(path)
        claims = {c.name: c for c in file.claims}
        keys.append([cache.key(file, claims[name], Library(tmp_path)) for name in ("leaning", "alone")])
    assert keys[0][0] != keys[1][0] and keys[0][1] == keys[1][1]
