"""More rules written from the manual alone, against pytorch-optimizer; and what writing them turned up.

One `.opt` file each in `tests/strangers`; 40 steps in float64 on a smooth objective, generic hyperparameters, every
backend that can run here. The first such set is in `test_strangers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_optimizer
import torch
from torch import Tensor
from torch.nn import Parameter

import dotopt
from dotopt.compiler.text.errors import OptError
from dotopt.runtime.backends import choice as backends

FOLDER = Path(__file__).parent / "strangers"
SHAPES = ((4, 3), (5,), (2, 3, 2, 2), (3, 5), ())
MATRICES = ((4, 3), (3, 5), (2, 3, 2, 2))
ARRAYS = ((4, 3), (5,), (2, 3, 2, 2), (3, 5))
BETAS = (0.85, 0.97)
BACKENDS = ["torch"] + [name for name in ("cpu",) if backends.module(name) is not None]
ADAM = {"lr": 0.02, "betas": BETAS, "weight_decay": 0.05}

# file: (class here, name there, arguments of both, arguments of theirs alone, shapes)
Rule = tuple[str, str, dict[str, Any], dict[str, Any], Sequence[tuple[int, ...]]]
RULES: dict[str, Rule] = {
    "a2_grad": ("A2Grad", "A2Grad", {"beta": 5.0, "lips": 20.0}, {}, SHAPES),
    "ada_shift": ("AdaShift", "AdaShift", {"lr": 0.02, "betas": BETAS}, {"keep_num": 4}, SHAPES),
    "ada_smooth": ("AdaSmooth", "AdaSmooth", {"lr": 0.02, "betas": (0.5, 0.97)}, {}, SHAPES),
    "adai": ("Adai", "Adai", {"lr": 0.02, "betas": (0.1, 0.97), "weight_decay": 0.05}, {}, SHAPES),
    "aida": ("Aida", "Aida", ADAM | {"k": 2}, {"weight_decouple": True}, ARRAYS),
    "amos": ("Amos", "Amos", {"lr": 0.05, "beta": 0.9, "momentum": 0.5, "extra_l2": 0.01}, {}, SHAPES),
    "apollo": (
        "Apollo",
        "ApolloDQN",
        {"lr": 2e-3, "init_lr": 1e-4, "beta": 0.8, "warmup_steps": 12, "weight_decay": 0.05},
        {},
        SHAPES,
    ),
    "ava_grad": ("AvaGrad", "AvaGrad", ADAM, {}, SHAPES),
    "came": (
        "CAME",
        "CAME",
        {"lr": 0.01, "betas": (0.85, 0.97, 0.98), "weight_decay": 0.05, "clip_threshold": 0.8},
        {},
        SHAPES,
    ),
    "diff_grad": ("DiffGrad", "DiffGrad", ADAM, {}, SHAPES),
    "ftrl": ("FTRL", "FTRL", {"lr": 0.1, "lr_power": -0.4, "beta": 0.5, "lambda_1": 0.3, "lambda_2": 0.1}, {}, SHAPES),
    "la_prop": ("LaProp", "LaProp", ADAM | {"lr": 2e-3, "centered": True, "eps": 1e-3}, {"foreach": False}, SHAPES),
    "madgrad": ("MADGRAD", "MADGRAD", {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.05}, {}, SHAPES),
    "msvag": ("MSVAG", "MSVAG", {"lr": 0.05, "beta": 0.8}, {}, SHAPES),
    "nero": ("Nero", "Nero", {"lr": 0.02, "beta": 0.9}, {}, MATRICES),
    "pnm": ("PNM", "PNM", {"lr": 0.02, "betas": (0.85, 0.9), "weight_decay": 0.05}, {}, SHAPES),
    "qhm": ("QHM", "QHM", {"lr": 0.02, "momentum": 0.8, "nu": 0.6, "weight_decay": 0.05}, {}, SHAPES),
    "sm3": ("SM3", "SM3", {"lr": 0.05, "momentum": 0.7, "beta": 0.6}, {}, ((4, 3), (5,), (3, 5))),
    "stable_adamw": ("StableAdamW", "StableAdamW", ADAM, {}, SHAPES),
    "swats": ("SWATS", "SWATS", {"lr": 0.02, "betas": BETAS}, {}, SHAPES),
    "polyak": ("Polyak", "AliG", {"max_lr": 0.02, "momentum": 0.5}, {}, SHAPES),
}
CLOSURES = frozenset(("polyak",))
LOOSER = {"polyak": (1e-6, 1e-7)}  # the square of the norm is float32 there


def objective(params: Sequence[Tensor], t: int) -> Tensor:
    """A smooth function of the parameters that changes with the step."""
    total = torch.zeros((), dtype=torch.float64)
    for i, p in enumerate(params):
        w = 0.3 * torch.arange(1, p.numel() + 1, dtype=p.dtype).reshape(p.shape)
        total = total + (torch.sin(p * w + 0.3 * t + i) + 0.2 * (p - 0.5) ** 2 * w).sum()
    return total


def trajectory(
    make: Callable[[list[Parameter]], torch.optim.Optimizer], shapes: Sequence[tuple[int, ...]], closure: bool
) -> list[Tensor]:
    """The parameters after each of 40 steps, as one vector."""
    seeded = torch.Generator().manual_seed(7)
    params = [Parameter(0.7 * torch.randn(s, generator=seeded, dtype=torch.float64) + 0.1) for s in shapes]
    optimizer = make(params)
    found = []
    for t in range(40):

        def loss(t: int = t) -> Tensor:
            with torch.enable_grad():
                optimizer.zero_grad()
                value = objective(params, t)
                value.backward()
            return value

        if closure:
            optimizer.step(loss)  # type: ignore[arg-type]
        else:
            loss()
            optimizer.step()
        found.append(torch.cat([p.detach().flatten() for p in params]))
    return found


@pytest.mark.parametrize("name", RULES)
def test_same_trajectory(name: str) -> None:
    own, theirs, both, alone, shapes = RULES[name]
    rule = getattr(dotopt.load(FOLDER / f"{name}.opt"), own)
    other = getattr(pytorch_optimizer, theirs)
    expected = trajectory(lambda params: other(params, **both, **alone), shapes, name in CLOSURES)
    rtol, atol = LOOSER.get(name, (1e-9, 1e-11))
    for chosen in BACKENDS:
        backend = "auto" if name in CLOSURES else chosen  # no kernel asks for more than a gradient

        def make(params: list[Parameter], backend: str = backend) -> torch.optim.Optimizer:
            made: torch.optim.Optimizer = rule(params, **both, backend=backend)
            return made

        found = trajectory(make, shapes, name in CLOSURES)
        for x, y in zip(found, expected, strict=True):
            torch.testing.assert_close(x, y, rtol=rtol, atol=atol)


# ---- what writing them turned up ----

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
