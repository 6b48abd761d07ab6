"""What writing rules from the manual, and comparing them with other libraries, has turned up."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import Parameter

import dotopt
from dotopt.compiler.text.errors import OptError
from dotopt.runtime.backends import choice as backends

BACKENDS = ["torch"] + [name for name in ("cpu",) if backends.module(name) is not None]

HEAD = "objective f\nparam  θ : real[...]\nhyper  η as lr >= 0 = 0.1\n"


def rule(folder: Path, name: str, body: str) -> Any:
    """The class of a rule with this body."""
    file = folder / f"{name.lower()}.opt"
    file.write_text(f"rule {name}\n{HEAD}{body}", encoding="utf-8")
    return getattr(dotopt.load(file), name)


def constant_steps(made: Any, backend: str, steps: int) -> tuple[Any, list[Parameter]]:
    """The optimizer and the parameters, of 2 and 3 entries at 0, after gradients t, t, … at step t."""
    params = [Parameter(torch.zeros(n, dtype=torch.float64)) for n in (2, 3)]
    optimizer = made(params, backend=backend)
    for t in range(1, steps + 1):
        for p in params:
            p.grad = torch.full_like(p, float(t))
        optimizer.step()
    return optimizer, params


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shared_number_takes_the_sum_of_this_step(backend: str, tmp_path: Path) -> None:
    body = "state γ : real = 1\n\ng  = ∇f(θ)\nγ' = sum(g², over=model)\nθ' = θ - η*γ*g\n"
    _, (p, q) = constant_steps(rule(tmp_path, "CommonSum", body), backend, 3)
    expected = -0.1 * (1 * 1 + 5 * 1 * 2 + 5 * 4 * 3)
    torch.testing.assert_close(p[0].item(), expected)
    torch.testing.assert_close(q[0].item(), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_size_over_the_model_counts_all_tensors(backend: str, tmp_path: Path) -> None:
    made = rule(tmp_path, "ModelSize", "\ng  = ∇f(θ)\nθ' = θ - η*size(θ, over=model)*g\n")
    _, (p, q) = constant_steps(made, backend, 1)
    assert p[0].item() == q[0].item() == pytest.approx(-0.5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_line_of_delays(backend: str, tmp_path: Path) -> None:
    body = (
        "state a : like θ = 0\nstate b : like θ = 0\nstate c : like θ = 0\n\na' = ∇f(θ)\nb' = a\nc' = b\nθ' = θ - η*c\n"
    )
    optimizer, (p, _) = constant_steps(rule(tmp_path, "Delays", body), backend, 5)
    assert [optimizer.state[p][key][0].item() for key in "abc"] == [5, 4, 3]
    assert p[0].item() == pytest.approx(-0.1 * (1 + 2))


CROSSED = """state a : like θ = 1
state b : like θ = 2
state c : like θ = 3

g  = ∇f(θ)
a' = 0.5*b + g
b' = 0.3*c + 2*g
c' = tanh(a)
θ' = θ - η*(a' + b' + c')
"""
CHOSEN = CROSSED.replace("a' = 0.5*b + g", "a' = g").replace("0.3*c", "0.3*b").replace("tanh(a)", "a if t > 1 else c")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("body", [CROSSED, CHOSEN])
def test_states_that_follow_from_each_other(body: str, backend: str, tmp_path: Path) -> None:
    optimizer, (p, _) = constant_steps(rule(tmp_path, "Crossed", body), backend, 3)
    a, b, c, x = 1.0, 2.0, 3.0, 0.0
    for t in (1, 2, 3):
        if body is CROSSED:
            a, b, c = 0.5 * b + t, 0.3 * c + 2 * t, math.tanh(a)
        else:
            a, b, c = t, 0.3 * b + 2 * t, a if t > 1 else c
        x -= 0.1 * (a + b + c)
    assert [optimizer.state[p][key][0].item() for key in "abc"] == pytest.approx([a, b, c])
    assert p[0].item() == pytest.approx(x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_parameter_may_rest(backend: str, tmp_path: Path) -> None:
    equations = "v' = v + max(∇f(θ)) if t > n else v\nθ' = θ - η*v' if t > n else θ\n"
    made = rule(tmp_path, "Rest", f"hyper  n : int >= 0 = 3\nstate v : like θ = 0\n\n{equations}")
    _, (p, _) = constant_steps(made, backend, 5)
    assert p[0].item() == pytest.approx(-0.1 * (4 + 9))


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("hyper n : int > 0 = 2\ng = ∇f(θ)\nθ' = θ - η*g[t - n]\n", "E601", "∇f(θ)[t - n]"),
        ("g = ∇f(θ)\nθ' = θ - η*g[0]\n", "E601", "∇f(θ)[0]"),
        ("hyper b as betas[1] in [0, 1) = 0.9\nθ' = θ - η*b*∇f(θ)\n", "E601", "betas[0]"),
        ("state m : like θ = 0\nm' = ∇f(θ)\nθ' = θ - η*m''\n", "E203", "m''"),
    ],
)
def test_said_rather_than_crashed(body: str, code: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(OptError) as error:
        rule(tmp_path, "Wrong", body)
    assert code in str(error.value)
    assert said in str(error.value)


def test_a_whole_number_has_a_whole_default(tmp_path: Path) -> None:
    file = tmp_path / "half.opt"
    file.write_text(f"rule Half\n{HEAD}hyper k : int = 2.5\nθ' = θ - η*k*∇f(θ)\n", encoding="utf-8")
    report = dotopt.check(file)
    assert [found.code for found in report.errors] == ["E303"]


@pytest.mark.parametrize("relation", ["<= 0", ">= 0", "== 0"])
def test_a_flow_that_the_claim_does_not_give_proves_nothing(relation: str, tmp_path: Path) -> None:
    file = tmp_path / "flow.opt"
    claim = f"claim energy:\n  flow\n  show ddt(f(θ)) {relation}\n"
    file.write_text(f"rule Flow\n{HEAD}θ' = θ - η*∇f(θ)\n\n{claim}", encoding="utf-8")
    (answer,) = dotopt.check(file).claims
    assert answer.status == "open"
    assert "ddt(θ) = …" in answer.reason
