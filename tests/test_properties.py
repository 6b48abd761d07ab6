"""What `dotopt explain` says of a rule unasked, against the steps that the compiled rule makes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

import dotopt.stdlib
from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import TIME, leaf, substitute
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.prove.procedures.equivariance import invariances
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source
from dotopt.runtime import cli
from dotopt.runtime.loading.catalogue import entries
from dotopt.runtime.report.explain import explain
from dotopt.runtime.report.properties import properties

HEAD = "rule A\nobjective f\nparam x : real[...]\nhyper η as lr > 0 = 0.1\nstate m : like x = 0\n"


def of(step: str) -> list[str]:
    """The first words of the groups of a rule."""
    return [name.split(" ")[0] for name in invariances(lower(parse(Source("a.opt", HEAD + step))))]


@pytest.mark.parametrize(
    ("step", "groups"),
    [
        ("m' = 0.9*m + ∇f(x)\nx' = x - η*m'\n", ["permutations", "sign", "rotations"]),
        ("m' = m\nx' = x - η*∇f(x)/norm(∇f(x))\n", ["permutations", "sign", "rotations"]),
        ("m' = m\nx' = x - η*∇f(x)/norm(∇f(x))*dot(x, ∇f(x))\n", ["permutations", "sign", "rotations"]),
        ("m' = m\nx' = x - η*sign(∇f(x))\n", ["permutations", "sign"]),
        ("m' = m\nx' = x - η*∇f(x)/‖∇f(x)‖[1]\n", ["permutations", "sign"]),
        ("m' = m + ∇f(x)²\nx' = x - η*∇f(x)/(√m' + 1)\n", ["permutations", "sign"]),
        ("m' = m\nx' = x - η*∇f(x)²\n", ["permutations"]),
        ("m' = m\nx' = x - η*(∇f(x) + 1)\n", ["permutations"]),
        ("m' = m\nx' = x - η*mean(∇f(x))\n", ["permutations"]),
        ("m' = m + 1\nx' = x - η*m'*∇f(x)\n", ["permutations", "sign"]),
        ("m' = m\nx' = x - η*clip(∇f(x), -t, t)\n", ["permutations", "sign"]),
        ("m' = m\nx' = x - η*clip(∇f(x), -1, 2)\n", ["permutations"]),
        ("m' = max(∇f(x), -t)\nx' = x - η*min(m, t)\n", ["permutations"]),  # a clip of two steps is none
        ("m' = m\nx' = x - η*∇f(x)/(exp(x) + exp(-x))\n", ["permutations", "sign"]),
        ("m' = exp(∇f(x))\nx' = x - η*x*(m + exp(-∇f(x)))\n", ["permutations"]),
        ("m' = ∇f(x) if dot(m, x) < 0 else 0\nx' = x - η*m'\n", ["permutations", "sign", "rotations"]),
    ],
)
def test_groups_by_types(step: str, groups: list[str]) -> None:
    assert of(step) == groups


@pytest.mark.parametrize("name", ["SGD", "QHM", "Adam", "Lion", "NAdam", "Signum", "RMSprop", "Adamax"])
def test_what_types_say_of_the_library_is_so(name: str) -> None:
    """One step from a state in which every memory is the image of the other one's."""
    file = Library().file(name)
    program = lower(file, Static(options={o.name: o.default for o in lower(file).options}))
    groups = list(invariances(program))
    rng = np.random.default_rng(3)
    x, g = rng.normal(size=5), rng.normal(size=5)
    maps = {
        "permutations of the entries": np.eye(5)[rng.permutation(5)],
        "sign flips of the entries": np.diag(rng.choice([-1.0, 1.0], size=5)),
        "rotations": np.linalg.qr(rng.normal(size=(5, 5)))[0],
    }
    for group, A in maps.items():
        here = first_step(program, A @ x, A @ g)
        assert np.allclose(here, A @ first_step(program, x, g)) or group not in groups


MATRIX = (
    "rule A\nobjective f\nparam W : real[rows, cols]\nhyper η as lr > 0 = 0.1\nstate L : real[rows, rows] = 0.1*I\n"
)


@pytest.mark.parametrize(
    ("step", "groups"),
    [
        ("L' = L + ∇f(W) @ ∇f(W)ᵀ\nW' = W - η*matrix_power(L', -1/2) @ ∇f(W)\n", ["orthogonal"]),
        ("L' = L + ∇f(W) @ ∇f(W)ᵀ\nW' = W - η*∇f(W)/trace(L')\n", ["orthogonal"]),
        ("L' = L + ∇f(W) @ ∇f(W)ᵀ\nW' = W - η*∇f(W)/√(sum(mean(∇f(W)², over=cols)))/trace(L)\n", ["orthogonal"]),
        ("L' = L + ∇f(W) @ ∇f(W)ᵀ\nW' = W - η*∇f(W)/norm(∇f(W), per=rows)/trace(L)\n", ["permutations"]),
        ("L' = L + ∇f(W) @ ∇f(W)ᵀ\nW' = W - η*sign(L' @ ∇f(W))\n", ["permutations"]),
        ("L' = L\nW' = W - η*cumsum(∇f(W))*trace(L)\n", []),
    ],
)
def test_groups_of_matrices_by_types(step: str, groups: list[str]) -> None:
    assert [name.split(" ")[0] for name in invariances(lower(parse(Source("a.opt", MATRIX + step))))] == groups


GRADIENT_ONLY = [
    entry.name
    for entry in entries()
    if entry.family == "optimizers" and explain(entry.path).closure.startswith("step(): the gradient")
]


@pytest.mark.parametrize("name", GRADIENT_ONLY)
def test_runs_of_the_library_go_along_with_what_types_say(name: str) -> None:
    """Several steps of the compiled rule, on gradients that are moved with the parameter."""
    groups = list(invariances(explain(Library().find(name)).program))
    rng = np.random.default_rng(7)
    x, gradients = rng.normal(size=(4, 4)), rng.normal(size=(13, 4, 4))
    order, rows, cols = rng.permutation(16), rng.permutation(4), rng.permutation(4)
    signs = rng.choice([-1.0, 1.0], size=(4, 4))
    U, V, R = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (4, 4, 16))
    maps = {
        "permutations of the entries": lambda a: a.reshape(-1)[order].reshape(4, 4),
        "sign flips of the entries": lambda a: a * signs,
        "rotations": lambda a: (R @ a.reshape(-1)).reshape(4, 4),
        "orthogonal matrices on both sides": lambda a: U @ a @ V,
        "permutations of rows and of columns": lambda a: a[rows][:, cols],
    }
    here = run(name, x, gradients)
    for group in groups:
        moved = maps[group.partition(",")[0]]
        there = run(name, moved(x), np.array([moved(g) for g in gradients]))
        assert np.allclose(there, moved(here), rtol=1e-7, atol=1e-9), group


def run(name: str, x: np.ndarray, gradients: np.ndarray, **hyperparameters: object) -> np.ndarray:
    """The parameter after steps with these gradients."""
    parameter = torch.nn.Parameter(torch.tensor(x))
    optimizer = getattr(dotopt.stdlib, name)([parameter], backend="torch", **hyperparameters)
    for g in gradients:
        parameter.grad = torch.tensor(g)
        optimizer.step()
    return parameter.detach().numpy()


def first_step(program, x, g):
    """The parameter after step 1, states at 0."""
    param = program.params[0]
    table = {leaf("param", param.name, param.type): x, TIME: 1.0}
    asked = leaf("free", "the gradient", param.type)
    root = program.next[param.name]
    root = substitute(root, {here: asked for here in root.walk() if here.op == "oracle"})
    for here in root.walk():
        if here is asked:
            table[here] = g
        elif here.role == "state":
            start = next(s.start for s in program.states if s.name == here.name)
            table[here] = float(start.value or 0) * (np.ones(5) if here.type.axes else 1.0)
        elif here.role == "hyper":
            default = next(h.default for h in program.hypers if h.name == here.name)
            table[here] = float(default.value)
    return np.asarray(evaluate(root, table))


def said(name: str) -> dict[str, str]:
    """The properties of a rule of the library."""
    return {p.what: p.value for p in properties(explain(Library().find(name)))}


@pytest.mark.parametrize("name", [name for name in GRADIENT_ONLY if name != "Adadelta"])  # without ε it never moves
def test_the_scale_of_the_objective_matters_where_it_is_said(name: str) -> None:
    """Gradients times 8, with what must be scaled along at 0: the same steps, or others."""
    facts = explain(Library().find(name))
    says = next(p.value for p in properties(facts) if p.what == "scale of f")
    named = re.search(r"with (.*) scaled along|where (.*) == 0", says)
    along = ", ".join(filter(None, named.groups())).split(", ") if named else []
    off = {k.python: 0.0 for k in facts.hyperparameters if k.symbol in along}
    rng = np.random.default_rng(5)
    x, gradients = rng.normal(size=(4, 4)), rng.normal(size=(13, 4, 4))
    here, there = (run(name, x, c * gradients, **off) for c in (1.0, 8.0))
    if says.startswith("does not matter"):
        assert np.allclose(here, there, rtol=1e-5, atol=1e-6)
    elif says.startswith("matters"):
        assert not np.allclose(here, there, rtol=1e-3, atol=1e-6)


def test_lion_has_a_bound_and_no_largest_step() -> None:
    facts = said("Lion")
    assert facts["update bound"] == "|x' - x| <= η*(1 + λ*|x|)"
    assert facts["largest stable step"].startswith("none: depends on the gradient's scale")
    assert facts["scale of f"].startswith("does not matter")


def test_adam_says_how_far_a_step_goes() -> None:
    facts = said("Adam")
    assert facts["update bound"] == "|θ' - θ| <= C*η*√(1 - β2^t)/(1 - β1^t) where β1² < β2"
    assert facts["largest stable step"].startswith("η < 2*(1 + β1)/((1 - β1)*σ)")
    assert "ε" in facts["scale of f"]


def test_the_bound_of_adam_is_sharp() -> None:
    """Gradients that grow by β2/β1 from step to step reach it."""
    gradients = (0.999 / 0.9) ** np.arange(60.0)[:, None]
    steps = run("Adam", np.zeros(1), gradients[:-1]) - run("Adam", np.zeros(1), gradients)
    reached = steps[0] / 1e-3 * (1 - 0.9**60) / np.sqrt(1 - 0.999**60)
    C = 0.1 / np.sqrt(0.001 * (1 - 0.81 / 0.999))
    assert 0.99 * C < reached <= C


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("AdamW", "|θ' - (1 - η*λ)*θ| <= C*η*√(1 - β2^t)/(1 - β1^t) where β1² < β2"),
        ("Adamax", "|θ' - θ| <= C*η/(1 - β1^t) where β1 < β2"),
        ("RMSprop", "|θ' - θ| <= C*η where μ == 0"),
        ("Adagrad", "|θ' - θ| <= η/(1 + t*δ - δ)"),
        ("Muon", "spectral_norm(W' - (1 - η*λ)*W) <= 1.2024*η*√max(1, rows/cols)"),
        ("Rprop", "|θ' - θ| <= h where l <= h"),
        ("Adan", "open"),
    ],
)
def test_bounds_of_steps(name: str, bound: str) -> None:
    assert said(name)["update bound"] == bound


def test_the_step_of_muon_is_as_short_as_it_says() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        gradient = rng.normal(size=(1, 4, 4)) @ np.diag(10.0 ** rng.uniform(-4, 0, size=4))
        step = run("Muon", np.zeros((4, 4)), gradient)
        assert np.linalg.norm(step, 2) <= 1.2024 * 0.02 * (1 + 1e-6)


def test_memory_counts_what_rounding_keeps() -> None:
    path = Library().find("AdamW")
    assert (explain(path).bytes, explain(path, param_rounding="low_word").bytes) == (8, 10)
    assert explain(path, param_rounding="stochastic").bytes == 8
    assert said("Adafactor")["memory"] == "4·…·rows bytes per tensor (R) + 4·…·cols bytes per tensor (C)"


def test_explain_prints_them_and_knows_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "SGD"]) == 0
    assert "largest stable step" in capsys.readouterr().out
    assert cli.main(["explain", "SGD", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state_bytes_per_entry"] == 4 and {p["what"] for p in found["properties"]} >= {"memory", "scale of f"}
