"""Equivalences: optimizers, compositions, wrapped rules and modules; each true one beside a false one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dotopt.compiler.parse import parse
from dotopt.compiler.prove import ClaimReport, check_claim
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source

MOMENTUM = """rule Momentum
objective f
param θ : real[...]
hyper η as lr > 0 = 0.1
hyper β in [0, 1) = 0.9
state m : like θ = 0
m' = β*m + ∇f(θ)
θ' = θ - η*m'
"""
PLAIN = """rule Plain
objective f
param θ : real[...]
hyper η as lr > 0 = 0.1
hyper c as clip_value > 0 = 1
g  = min(max(∇f(θ), -c), c)
θ' = θ - η*g
"""
HALF = """transform Half
base B
param θ : real[...]
hyper α in [0, 1] = 0.5
θ' = θ + α*(B(θ) - θ)
"""
TWICE = """transform Twice
base B
param θ : real[...]
hyper α in [0, 1] = 0.5
θ' = B(θ) + α*(B(2*θ) - θ)
"""
MEMORY = """rule Memory
input  k : real[a]
input  v : real[b]
input  q : real[a]
state  S : real[b, a] = 0
output o : real[b]
S' = S + outer(v, k)
o = S' @ q
"""


def decide(rule: str, goal: str) -> ClaimReport:
    file = parse(Source("e.opt", f"{rule}\nclaim one:\n  show {goal}\n"))
    return check_claim(file, file.claims[0], Library(Path(".")))


@pytest.mark.parametrize(
    ("rule", "goal", "status"),
    [
        (MOMENTUM, "equivalent to SGD with momentum = β, dampening = 0, weight_decay = 0, nesterov = false", "proved"),
        (MOMENTUM, "equivalent to SGD with μ = β, τ = 0, λ = 0, nesterov = false", "proved"),
        (MOMENTUM, "equivalent to SGD with momentum = β, dampening = ½, weight_decay = 0, nesterov = false", "refuted"),
        (MOMENTUM, "equivalent to SGD with μ = β, λ = 0, nesterov = false", "proved"),
        (MOMENTUM, "equivalent to SGD with μ = β, λ = 0, nesterov = true", "refuted"),
        (PLAIN, "equivalent to ClipValue(SGD) with μ = 0, λ = 0", "proved"),
        (PLAIN, "equivalent to ClipNorm(SGD) with μ = 0, λ = 0", "refuted"),
        (PLAIN, "equivalent to SGD with μ = 0, λ = 0", "refuted"),
        (HALF, "reduces to B when α == 1", "proved"),
        (HALF, "reduces to B with η = 2*η when α == 1", "open"),  # the knobs of B are not known
        (HALF, "reduces to B when α == 1/2", "refuted"),
        (MEMORY, "equivalent to LinearAttention with η = 1, α = 1", "proved"),
        (MEMORY, "equivalent to LinearAttention with η = 2, α = 1", "refuted"),
        (MEMORY, "equivalent to DeltaMemory with β = 1", "refuted"),
        (MEMORY.replace("o = S' @ q", "o = S @ q"), "equivalent to LinearAttention with η = 1, α = 1", "refuted"),
    ],
)
def test_equivalences(rule: str, goal: str, status: str) -> None:
    report = decide(rule, goal)
    assert report.status == status, report


@pytest.mark.parametrize(
    ("rule", "goal", "what"),
    [
        (MOMENTUM, "equivalent to SGD with banana = β", "`banana`"),
        (MOMENTUM, "equivalent to Nowhere", "`Nowhere`"),
        (MOMENTUM, "equivalent to LinearAttention", "1 and 0 parameters"),
        (MEMORY, "equivalent to DeltaMemory", "reads `β`"),
        (TWICE, "reduces to B when α == 0", "asked elsewhere"),
        (MOMENTUM, "equivalent to Scaffold", "roles"),
    ],
)
def test_what_cannot_be_compared_is_said(rule: str, goal: str, what: str) -> None:
    report = decide(rule, goal)
    assert report.status == "open" and what in report.reason, report


POLYAK = """rule Polyak
objective f
param θ : real[...]
hyper η as lr > 0 = 0.1
hyper β as momentum in [0, 1) = 0.9
state p : like θ = first θ
p' = θ
θ' = θ - η*∇f(θ) + β*(θ - p)
"""
ANCHOR = """rule Anchor
objective f
param θ : real[...]
hyper η as lr > 0 = 0.1
state a : like θ = first θ
θ' = a - η*∇f(θ)
"""
DESCENT = "rule Descent\nobjective f\nparam θ : real[...]\nhyper η as lr > 0 = 0.1\nθ' = θ - η*∇f(θ)\n"


@pytest.mark.parametrize(
    ("rule", "goal", "status"),
    [
        (MOMENTUM, "equivalent to Polyak with β = β matching p = θ + η*m", "proved"),
        (MOMENTUM, "equivalent to Polyak with β = β matching p = θ", "open"),  # they are the same rule, by another map
        (DESCENT, "equivalent to Polyak matching p = θ", "refuted"),  # it holds at the start, and no step keeps it
        (DESCENT, "equivalent to Anchor matching a = θ", "refuted"),  # a stays where it is
        (DESCENT, "equivalent to Polyak matching p = θ - ∇f(θ)", "open"),  # what is asked anew is no state
    ],
)
def test_a_matching_moves_on_with_the_parameter(tmp_path: Path, rule: str, goal: str, status: str) -> None:
    (tmp_path / "polyak.opt").write_text(POLYAK, encoding="utf-8")
    (tmp_path / "anchor.opt").write_text(ANCHOR, encoding="utf-8")
    file = parse(Source(str(tmp_path / "e.opt"), f"{rule}\nclaim one:\n  show {goal}\n"))
    assert check_claim(file, file.claims[0], Library(tmp_path)).status == status


LOOKAHEAD = """rule Lookahead2
objective f
param x : real[...]
hyper η as lr >= 0 = 0.1
hyper μ as momentum in [0, 1) = 0.9
state m : like x = 0
m' = μ*m + ∇f(x - η*μ*m)
x' = x - η*m'
"""
DIFFERENCES = """rule Differences
objective f
param y : real[...]
hyper η as lr >= 0 = 0.1
hyper μ as momentum in [0, 1) = 0.9
state m : like y = 0
state p : like y = START
g  = ∇f(y)
p' = g
m' = μ*m + g + μ*(g - p)
y' = y - η*m'
"""
SCALED = """rule Scaled
objective f
param θ : real[...]
hyper η as lr >= 0 = 1e-3
hyper β1 as betas[0] in [0, 1) = 0.9
hyper β2 as betas[1] in [0, 1) = 0.999
hyper ε as eps >= 0 = 1e-8
state b : like θ = 0
state v as exp_avg_sq : like θ = 0
b' = β1*b + ∇f(θ)
v' = β2*v + (1 - β2)*∇f(θ)²
θ' = θ - η*(1 - β1)*b'/(1 - β1^t)/(√(v'/(1 - β2^t)) + ε)
"""
NESTEROV = "SGD with nesterov = true, τ = 0, λ = 0"


@pytest.mark.parametrize(
    ("rule", "goal", "status"),
    [
        (MOMENTUM, "equivalent to Polyak with β = β", "proved"),
        (MOMENTUM, "equivalent to Polyak with β = β²", "refuted"),
        (MOMENTUM, "equivalent to QHM with η = η/(1 - β), β = β, ν = 1, λ = 0", "proved"),
        (MOMENTUM, "equivalent to QHM with β = β, ν = 1, λ = 0", "refuted"),
        (LOOKAHEAD, f"equivalent to {NESTEROV} matching θ = x - η*μ*m", "proved"),
        (LOOKAHEAD, f"equivalent to {NESTEROV} matching θ = x - η*m", "refuted"),
        (LOOKAHEAD, f"equivalent to {NESTEROV} matching θ = 2*x", "refuted"),  # they do not start as one
        (LOOKAHEAD, f"equivalent to {NESTEROV}", "refuted"),
        (DIFFERENCES.replace("START", "0"), f"equivalent to {NESTEROV}", "proved"),
        (DIFFERENCES.replace("START", "first g"), f"equivalent to {NESTEROV}", "refuted"),
        (DIFFERENCES.replace("START", "0"), "equivalent to SGD with nesterov = false, τ = 0, λ = 0", "refuted"),
        (SCALED, "equivalent to Adam with λ = 0, amsgrad = false", "proved"),  # v is no combination, m is a multiple
        (SCALED.replace("(1 - β1)*b'", "b'"), "equivalent to Adam with λ = 0, amsgrad = false", "refuted"),
    ],
)
def test_relations_between_states_are_found(tmp_path: Path, rule: str, goal: str, status: str) -> None:
    (tmp_path / "polyak.opt").write_text(POLYAK, encoding="utf-8")
    file = parse(Source(str(tmp_path / "e.opt"), f"{rule}\nclaim one:\n  show {goal}\n"))
    report = check_claim(file, file.claims[0], Library(tmp_path))
    assert report.status == status, report
    if status == "proved":
        assert report.certificate is not None and verify(report.certificate)
        assert any("same in every step" in text for text in report.assumptions)


@pytest.mark.parametrize(
    ("goal", "status"),
    [
        ("refute equivalent to SGD with μ = 0, λ = 0", "proved"),
        ("refute θ' == θ - 2*η*∇f(θ)", "proved"),  # it holds for one choice, and so is no theorem
        ("refute θ' == θ - η*u", "refuted"),
    ],
)
def test_one_choice_of_options_is_enough_for_a_counterexample(goal: str, status: str) -> None:
    rule = "rule Fast\nobjective f\nparam θ : real[...]\nhyper η as lr > 0 = 0.1\noption fast = false\n"
    rule += "u  = 2*∇f(θ) if fast else ∇f(θ)\nθ' = θ - η*u\n"
    file = parse(Source("e.opt", f"{rule}\nclaim one:\n  {goal}\n"))
    assert check_claim(file, file.claims[0], Library(Path("."))).status == status


@pytest.mark.parametrize("condition", ["β == 2", "β > 2", "o and not o", "η < 0"])
def test_a_condition_that_never_holds_says_nothing(decided: Callable[..., ClaimReport], condition: str) -> None:
    text = f"""rule Never
use SGD
objective f
param  x : real[...]
hyper  η as lr       >= 0     = 1e-2
hyper  β as momentum in [0, 1) = 0.9
option o = false
x' = x - η*sign(∇f(x)) + 0*β*(1 if o else 2)

claim written:
  show equivalent to SGD when {condition}
"""
    assert decided(text).status == "vacuous"


FORGETS = """rule Forgets
input  k : real[dk]
input  v : real[dv]
input  q : real[dk]
input  α in [0, 1]
input  β in [0, 2]
state  M : real[dv, dk] = 0
output o : real[dv]
M' = α*M @ (I - {c}*β*outer(k, k)) + β*outer(v, k)
o  = M' @ q
"""


def test_conditions_on_inputs_hold_in_every_step() -> None:
    """With α = 1 now and 0 at the next token it is another rule."""
    assert decide(FORGETS.format(c=1), "reduces to DeltaMemory when α == 1").status == "proved"
    assert decide(FORGETS.format(c=1), "reduces to DeltaMemory").status == "refuted"
    report = decide(FORGETS.format(c=2), "reduces to DeltaMemory when α == 1")
    assert report.status == "refuted" and report.counterexample is not None
    later = [value for name, value in report.counterexample.items() if name.startswith("α")]
    assert all(value == "1" for value in later)
