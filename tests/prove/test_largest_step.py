"""The largest stable learning rates, against the literature, and against training with the compiled rules."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import sympy
import torch

import dotopt
import dotopt.stdlib as stdlib
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.derivations.largest_step import LargestStep, largest_steps
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source


@cache  # some are asked for by several tests, and take seconds
def steps(name: str, **options: bool | str) -> tuple[LargestStep, ...]:
    """The bounds of a rule of the library, for a matrix."""
    file = Library().file(name)
    assert file is not None
    chosen = {o.name: o.default for o in lower(file).options} | options
    return tuple(largest_steps(lower(file, Static(options=chosen, rank=1))))


def of_text(text: str) -> list[LargestStep]:
    """The bounds of a rule given as text."""
    return list(largest_steps(lower(parse(Source("rule.opt", text)))))


# bounds on lr * curvature without decay: Polyak 1964, Nesterov's method, arXiv:1810.06801; Adan's after
# arXiv:2208.06677, in its own convention b = 1 - β
b1, b2 = (1 - sympy.Symbol("β1")), (1 - sympy.Symbol("β2"))
KNOWN = {
    ("SGD", 0, ""): "2",
    ("SGD", 1, ""): "2*(1 + μ)",
    ("SGD", 1, "nesterov"): "2*(1 + μ)/(1 + 2*μ)",
    ("QHM", 0, ""): "2*(1 + β)/(1 + β - 2*β*ν)",
    ("Adam", 0, ""): "2*(1 + β1)/(1 - β1)",
    ("AdamW", 0, ""): "2*(1 + β1)/(1 - β1)",
    ("NAdam", 0, ""): "2*(1 + β1)/((1 - β1)*(1 + 2*β1))",
    ("RMSprop", 0, ""): "2*(1 + μ)",
    ("Adan", 0, "no_prox"): "2*(4 - 2*b1 - 2*b2 + b1*b2)/(4*b2 - 4*b2**2 + 2*b1 - 3*b1*b2 + 2*b1*b2**2)",
}


@pytest.mark.parametrize(("name", "case", "option"), KNOWN)
def test_closed_forms_of_the_literature(name: str, case: int, option: str) -> None:
    found = steps(name, **({option: True} if option else {}))[case]
    letters = {str(x): x for x in found.bound.free_symbols} | {"μ": sympy.Symbol("μ"), "b1": b1, "b2": b2}
    wanted = sympy.sympify(KNOWN[name, case, option], letters)
    plain = (found.bound * sympy.Symbol("σ")).subs({sympy.Symbol("λ"): 0, sympy.Symbol("τ"): 0})
    assert sympy.simplify(plain - wanted) == 0
    assert found.status in (("proved", "proved at the defaults") if name == "Adan" else ("proved",))
    assert found.certificate is not None and verify(dict(found.certificate))


def test_decoupled_decay_lowers_the_bound_and_coupled_decay_adds_to_the_curvature() -> None:
    assert steps("AdamW")[0].text == "2*(1 + β1)/((1 - β1)*σ + (1 + β1)*λ)"
    assert steps("Adam")[0].curvature == "(curvature of f + λ)/(√ŵ + ε)"


def test_a_certificate_for_a_larger_bound_is_not_accepted() -> None:
    """The questions are about this bound: where what is denied is no longer denied, z3 finds a model."""
    certificate = dict(steps("SGD")[1].certificate or {})
    spoiled = [{**part, "formulas": part["formulas"][:-1]} for part in certificate["parts"]]
    assert not verify({**certificate, "parts": spoiled})


# ---- by training -----------------------------------------------------------------------------------------------------

CURVATURE = 1.7
SIMULATED = {
    "SGD": {"momentum": 0.63, "dampening": 0.2, "weight_decay": 0.11},
    "SGD nesterov": {"momentum": 0.63, "nesterov": True},
    "SGD plain": {},
    "QHM": {"momentum": 0.7, "nu": 0.55, "weight_decay": 0.2},
    "QHM decoupled": {"momentum": 0.7, "nu": 0.55, "weight_decay": 0.2, "weight_decouple": True},
    "Adam": {"betas": (0.6, 0.9), "weight_decay": 0.1},
    "AdamW": {"betas": (0.6, 0.9), "weight_decay": 0.1},
    "NAdam": {"betas": (0.6, 0.9), "momentum_decay": 3.0},
    "Adamax": {"betas": (0.6, 0.9)},
    "RMSprop": {"alpha": 0.9, "momentum": 0.4},
    "Adan": {"betas": (0.9, 0.7, 0.9), "weight_decay": 0.1, "no_prox": True},
}
ROOT = 0.4  # of the second moments, held there


@pytest.mark.parametrize("case", SIMULATED)
def test_the_compiled_rule_shrinks_below_the_bound_and_grows_above_it(case: str) -> None:
    name, options = case.split(" ")[0], dict(SIMULATED[case])
    nesterov = {k: v for k, v in options.items() if isinstance(v, bool)}
    by_keyword = {o.keyword: o.name for o in getattr(stdlib, name).rule.options}
    found = steps(name, **{by_keyword[k]: v for k, v in nesterov.items()})
    here = found[-1] if name == "SGD" and options.get("momentum") else found[0]
    bound = sympy.lambdify(sympy.Symbol("σ"), here.bound.subs(_values(name, options)))
    decay = options.get("weight_decay", 0.0) if "λ" in here.curvature else 0.0
    frozen = ROOT if here.frozen else 1.0
    limit = bound((CURVATURE + decay) / frozen)
    assert _growth(name, options, 0.97 * limit) < 0.95 < 1.05 < _growth(name, options, 1.03 * limit)


def _values(name: str, options: dict[str, object]) -> dict[str, float]:
    """The knobs by symbol."""
    values = {}
    for h in getattr(stdlib, name).rule.hypers:
        given = options.get(h.keyword, h.default)
        values[h.name] = given[h.position] if isinstance(given, tuple) else given
    return {k: float(v) for k, v in values.items() if isinstance(v, int | float)}


def _growth(name: str, options: dict[str, object], lr: float) -> float:
    """How the largest |x| of ten steps changes from step 150 to step 250 on a quadratic, second moments held."""
    x = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))  # the first step only makes the states
    extra = {} if name in ("SGD", "QHM") else {"eps": 1e-30}
    optimizer = getattr(stdlib, name)([x], lr=lr, **options, **extra, backend="torch")
    decay = options.get("alpha") or options.get("betas", (0, 0.999))[-1]
    sizes = []
    for k in range(260):
        for key, value in optimizer.state[x].items():
            if key in ("exp_avg_sq", "square_avg"):
                value.fill_(ROOT**2 / decay)
            elif key == "exp_inf":
                value.fill_(ROOT / decay)
        if k == 1:
            x.data.fill_(1e-30)
        x.grad = CURVATURE * x.detach()
        optimizer.step()
        sizes.append(float(x.detach().abs()))
    return max(sizes[-10:]) / max(sizes[150:160])


# ---- rules of strangers ----------------------------------------------------------------------------------------------

HEAD = "rule A\nobjective f\nparam x : real[...]\nhyper η as lr > 0 = 0.1\nhyper β in [0, 1) = 0.5\n"


def test_a_delayed_step_leaves_the_disc_as_a_pair() -> None:
    """The old momentum moves the parameter: the roots leave as a complex pair, where the product of both is 1."""
    (found,) = of_text(HEAD + "state m : like x = 0\nm' = β*m + ∇f(x)\nx' = x - η*m\n")
    assert found.text == "(1 - β)/σ" and found.status == "proved"


def test_no_closed_form_is_a_number() -> None:
    """Three memories: the determinant of Hurwitz decides, of which the rate is no rational function."""
    text = "state m : like x = 0\nstate n : like x = 0\nm' = β*m + ∇f(x)\nn' = β*n + m\nx' = x - η*n\n"
    (found,) = of_text(HEAD + text)
    assert found.status == "numeric" and not found.text
    z, k = sympy.symbols("z k")
    roots = sympy.Poly(((z - 1) * (z - sympy.Rational(1, 2)) ** 2 + k).subs(k, found.number), z).nroots()
    assert max(abs(complex(r)) for r in roots) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("x' = x - η*sign(∇f(x))\n", "sign"),
        ("x' = x - η*∇f(x)/norm(∇f(x))\n", "norm"),
        ("x' = x - η*∇f(x + ∇f(x)/norm(∇f(x)))\n", "gradient is taken at"),
        ("x' = x - η*∇f(x)*x\n", "not linear"),
    ],
)
def test_what_has_no_linear_step_says_why(step: str, reason: str) -> None:
    (found,) = of_text(HEAD + step)
    assert found.status == "none" and (reason in found.reason or "‖" in found.reason)


def test_a_rule_that_never_converges_has_no_bound() -> None:
    (found,) = of_text(HEAD + "x' = x + η*∇f(x)\n")
    assert found.status == "none" and found.bound is None


def test_derive_needs_no_claim(tmp_path: Path) -> None:
    path = tmp_path / "a.opt"
    path.write_text(HEAD + "x' = x - η*∇f(x)\n", encoding="utf-8")
    assert dotopt.load(path).A is not None


SLOW = """rule Slow
objective f
param  θ : real[...]
hyper  η as lr >= 0 = 0.1
hyper  α in [0, 1]  = 0.5
hyper  k : int > 0  = 5
state  s : like θ = first θ
θ̂  = θ - η*∇f(θ)
s' = s + α*(θ̂ - s) every k
θ' = s' every k otherwise θ̂
"""


def test_a_step_that_changes_now_and_then_has_no_largest_rate_of_its_own() -> None:
    """With five fast steps and half of the way, the rate may be (1 + 3^(1/5))/σ, and not 4/σ as if k were 1."""
    found = of_text(SLOW)
    assert [x.status for x in found] == ["none"] * len(found)
    assert all("every so often" in x.reason for x in found)


def test_what_is_frozen_may_be_renewed_now_and_then() -> None:
    assert next(x.text for x in steps("Shampoo")) == "2/σ"
