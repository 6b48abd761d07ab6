"""Names of the other rule of an equivalence are its own: knobs inside defaults, draws with laws of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from dotopt.compiler.prove import check_claim
from dotopt.compiler.text.library import Library, load

HERE = """rule Here
use There
objective f
param  x : real[...]
hyper  η as lr    >= 0 = 1e-2
hyper  a as other >= 0 = 3
{draw}
x' = x - η*∇f(x){more} + 0*a

claim written:
  show equivalent to There {when}
"""
THERE = """rule There
objective f
param  x : real[...]
{knobs}
{draw}
x' = {move}
"""
KNOBS = "hyper  a as lr >= 0 = 1e-2\nhyper  c >= 0 = 2*a\nhyper  b >= 0 = c/2 + 1"


@pytest.mark.parametrize(
    "when, status",
    [
        ("", "refuted"),
        ("when a == 0", "refuted"),
        ("when a == 0 and η == 0", "proved"),
        ("with b = 1", "proved"),
        ("with c = 0", "proved"),
    ],
)
def test_a_default_uses_the_knobs_of_its_rule(tmp_path: Path, when: str, status: str) -> None:
    there = THERE.format(knobs=KNOBS, draw="", move="x - a*b*∇f(x)")
    assert _decided(tmp_path, HERE.format(draw="", more="", when=when), there) == status


@pytest.mark.parametrize(
    "law, status",
    [
        ("like x ~ normal(0, 1)", "proved"),
        ("like x ~ normal(0, 2)", "refuted"),
        ("like x ~ uniform(-1, 1)", "refuted"),
        ("real ~ normal(0, 1)", "refuted"),
    ],
)
def test_draws_of_other_laws_are_other_draws(tmp_path: Path, law: str, status: str) -> None:
    there = THERE.format(knobs="hyper  h as lr >= 0 = 1e-2", draw=f"ξ : {law}", move="x - h*∇f(x) + ξ")
    here = HERE.format(draw="ξ : like x ~ normal(0, 1)", more=" + ξ", when="")
    assert _decided(tmp_path, here, there) == status


def _decided(folder: Path, here: str, there: str) -> str:
    (folder / "here.opt").write_text(here, encoding="utf-8")
    (folder / "there.opt").write_text(there, encoding="utf-8")
    file = load(folder / "here.opt")
    return check_claim(file, file.claims[0], Library(folder)).status
