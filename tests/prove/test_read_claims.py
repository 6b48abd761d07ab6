"""Sentences that are read as they are meant: products with a Hessian of any shape, functions of themselves."""

from collections.abc import Callable

import pytest

from dotopt.compiler.ir import leaf, node, number
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.procedures.missing import missing
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

HESSIAN = """rule H
objective J
param θ : real[...]
h = ∇²J(θ) @ ∇J(θ)
θ' = θ - ∇J(θ) - h

claim a:
  show {}
"""


@pytest.mark.parametrize(
    "sentence", ["norm(∇²J(θ) @ ∇J(θ)) >= 0", "norm(h) == norm(∇²J(θ) @ ∇J(θ))", "θ' == θ - ∇J(θ) - ∇²J(θ) @ ∇J(θ)"]
)
def test_a_product_with_a_hessian_at_a_parameter_of_any_shape(decided: Decided, sentence: str) -> None:
    assert decided(HESSIAN.format(sentence)).status == "proved"


@pytest.mark.parametrize("many", [9, 30])
def test_a_local_function_of_itself_many_times(decided: Decided, many: int) -> None:
    sentence = f"{'F(' * many}x{')' * many} == x/2^{many}"
    assert decided(f"theorem T\nfor all x : real\n\nF(u) = u/2\n\nclaim a:\n  show {sentence}\n").status == "proved"


def test_a_local_function_of_named_values_of_itself() -> None:
    from dotopt.compiler.lower import lower
    from dotopt.compiler.parse import parse
    from dotopt.compiler.text.source import Source

    values = "".join(f"y{n + 1} = F(y{n})\n" for n in range(30))
    text = f"rule R\nparam θ : real[...]\nF(u) = u/2\ny0 = θ\n{values}θ' = y30\n"
    assert lower(parse(Source("r.opt", text))).states == ()


def test_a_reason_shows_the_values_that_z3_finds() -> None:
    x, y = leaf("free", "x"), leaf("free", "y")
    facts = Facts((node("eq", x, number(3)), node("eq", y, number(-2))))
    assert "for which it fails, x = 3, y = -2, and no numbers" in missing(node("le", x, y), facts)


COIN = """rule Coin
param x : real[...]
hyper γ as lr > 0 = 0.05
hyper p in (0, 1] = 0.2
b ~ bernoulli(p)

role client[i in clients]:
  objective f
  state h : like x = 0
  y = x - γ*(∇f(x) - h)
  send z = (y - γ/p*h) if b else 0
  h' = (h + p/γ*(x' - y)) if b else h

x' = mean(z[i] for i in clients) if b else x

claim controls:
  show mean(h[i] for i in clients) == 0 for all steps
"""


def test_a_coin_counts_once_in_products(decided: Decided) -> None:
    assert decided(COIN).status == "proved"
