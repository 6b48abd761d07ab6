"""The judge on whole programs: the meaning of steps, families, loops, draws, roles, sequences and inner problems.

Trajectories come from tests/golden, which was written from the papers and their code without this compiler.
"""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotopt.compiler.evaluate import Simulation, evaluate
from dotopt.compiler.evaluate.random import draw, philox, uniforms
from dotopt.compiler.ir import Program, leaf, node, number
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.ops.types import REAL, Type
from dotopt.compiler.parse import parse
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source

GOLDEN = Path(__file__).parent / "golden"
Array = np.ndarray[Any, Any]


@functools.cache
def library() -> Library:
    return Library()


def rule(text: str, options: dict[str, Any] | None = None, rank: int | None = None) -> Program:
    return lower(parse(Source("test.opt", text)), Static(options or {}, rank), library())


def stdlib(name: str, **options: Any) -> Program:
    file = library().file(name)
    assert file is not None
    defaults = {option.name: option.default for option in lower(file, Static(), library()).options}
    return lower(file, Static({**defaults, **options}), library())


def golden(name: str) -> dict[str, Any]:
    with gzip.open(GOLDEN / f"{name}.json.gz", "rt") as file:
        found: dict[str, Any] = json.load(file)
    return found


def close(found: Any, wanted: Any, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(found, np.array(wanted), rtol=rtol, atol=rtol)


HEAD = "rule R\nobjective f\nparam x : real[...]\n"


# ---- time (S5, S6, S9) ---------------------------------------------------------------------------------------------


def test_all_equations_of_a_step_hold_at_once() -> None:
    run = Simulation(
        rule(HEAD + "state a : real = 1\nstate b : real = 2\na' = b\nb' = a\nx' = x + a - b*∇f(x)\n"), np.zeros(1)
    )
    for _ in range(3):
        run.step(np.zeros(1))
    assert (run.states["a"], run.states["b"]) == (2, 1)
    close(run.params, [1 + 2 + 1])  # a before each step


def test_first_reads_this_step_once() -> None:
    run = Simulation(rule(HEAD + "state p : like x = first ∇f(x)\np' = ∇f(x)\nx' = x - (p' - p)\n"), np.zeros(2))
    run.step(np.array([5.0, 1.0]))
    close(run.params, [0, 0])
    run.step(np.array([6.0, 3.0]))
    close(run.params, [-1, -2])


def test_a_frozen_first_state() -> None:
    run = Simulation(rule(HEAD + "state a : like x = first x\nx' = x - ∇f(x) + 0*a\n"), np.array([3.0]))
    for _ in range(3):
        run.step(np.array([1.0]))
    close(run.states["a"], [3.0])
    close(run.params, [0.0])


@pytest.mark.parametrize(
    ("phase", "fired"),
    [("every 3", {3, 6, 9}), ("every 3 from 1", {1, 4, 7, 10}), ("every 2 from 4", {4, 6, 8, 10})],
)
def test_phases(phase: str, fired: set[int]) -> None:
    run = Simulation(rule(HEAD + f"state n : real = 0\nn' = t {phase}\nx' = x - n*∇f(x)\n"), np.zeros(1))
    last = 0.0
    for t in range(1, 11):
        run.step(np.zeros(1))
        last = t if t in fired else last
        assert run.states["n"] == last


def test_otherwise_and_windows() -> None:
    text = HEAD + "state s : like x = 0\nstate w : like x = 0\ng = ∇f(x)\ns' = s + sum(g over last 3) every 3\n"
    run = Simulation(rule(text + "w' = mean(g over last 2)\nx' = s' every 3 otherwise x + w'\n"), np.zeros(1))
    gradients = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    x, total = 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        run.step(np.array([g]))
        total += sum(gradients[t - 3 : t]) if t % 3 == 0 else 0
        x = total if t % 3 == 0 else x + np.mean(gradients[max(t - 2, 0) : t])
        close(run.params, [x])


def test_a_branch_not_taken_never_reaches_the_result() -> None:
    run = Simulation(rule(HEAD + "g = ∇f(x)\nx' = x - (g/0*0 if t > 5 else (√g if g > 0 else g))\n"), np.zeros(3))
    run.step(np.array([4.0, -1.0, 0.0]))
    close(run.params, [-2, 1, 0])


def test_tensors_of_other_ranks_have_programs_of_their_own() -> None:
    """One of these reads the gradient, the other one does not; a sum over the model sees both."""
    text = HEAD + "d = x if rank(x) >= 2 else ∇f(x)\nx' = x - d*sum(d, over=model)\n"
    run = Simulation(lambda rank: rule(text, rank=rank), {"a": np.ones(1), "b": np.ones((1, 1))})
    run.step({"a": np.full(1, 2.0), "b": np.full((1, 1), 5.0)})
    close(run.params["a"], [1 - 2 * (2 + 1)])
    close(run.params["b"], [[1 - 1 * (2 + 1)]])


def test_tensors_without_a_gradient_stand_still() -> None:
    text = HEAD + "state n : like x = 0\nn' = n + 1\nx' = x - norm(∇f(x), over=model)/t + 0*n'\n"
    run = Simulation(rule(text), {"a": np.zeros(1), "b": np.zeros(1)})
    run.step({"a": np.array([3.0]), "b": None})
    close(run.params["a"], [-3.0])
    run.step({"a": np.array([3.0]), "b": np.array([4.0])})
    close(run.params["a"], [-5.5])
    close(run.params["b"], [-5.0])  # its own clock: this is its first step
    close(run.states["b"]["n"], [1.0])


def test_shapes_and_views() -> None:
    text = "rule R\nobjective f\nparam W : real[rows, cols...]\nW' = W - norm(W, per=rows)*∇f(W)\n"
    W, g = np.arange(12.0).reshape(2, 3, 2), np.ones((2, 3, 2))
    run = Simulation(rule(text), W)
    run.step(g)
    close(run.params, W - np.linalg.norm(W.reshape(2, 6), axis=1)[:, None, None])
    scalar = Simulation(rule(HEAD + "x' = x - ∇f(x)\n"), np.array(2.0))
    scalar.step(np.array(0.5))
    assert scalar.params.shape == ()


def test_loops_until_keep_the_values_before() -> None:
    text = "rule R\ninput a : real\noutput r : real\niterate z from 1 until z*z > a at most 50:\n  z' = 2*z\nr = z\n"
    run = Simulation(rule(text))
    assert run.step(inputs={"a": 100.0})["r"] == 16
    ahead = "rule R\ninput a : real\noutput r : real\niterate z from 8 until |z' - z| <= 1 at most 50:\n"
    ahead += "  z' = z/2 + a\nr = z\n"
    assert Simulation(rule(ahead)).step(inputs={"a": 0.0})["r"] == 2
    short = "rule R\ninput a : real\noutput r : real\niterate z from 1 until z*z > a at most 3:\n  z' = 2*z\nr = z\n"
    assert Simulation(rule(short)).step(inputs={"a": 100.0})["r"] == 8


def test_depth_of_a_graph_is_not_limited() -> None:
    deep = leaf("free", "s", REAL)
    for _ in range(5000):
        deep = node("add", deep, number(1))
    assert evaluate(deep, {leaf("free", "s", REAL): 0.0}) == 5000


# ---- draws (S10) ---------------------------------------------------------------------------------------------------


def test_philox_agrees_with_its_authors() -> None:
    ones, pi = (0xFFFFFFFF,) * 4, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert [int(w) for w in philox(ones, (0xFFFFFFFF, 0xFFFFFFFF))] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert [int(w) for w in philox(pi, (0xA4093822, 0x299F31D0))] == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_draws_have_their_laws() -> None:
    z = draw("normal", [1.0, 2.0], (100_000,), seed=3, step=1, position=0)
    assert abs(z.mean() - 1) < 0.03 and abs(z.std() - 2) < 0.03 and abs(((z - 1) ** 3).mean()) < 0.3
    assert abs(draw("bernoulli", [0.3], (100_000,), seed=3, step=1, position=0).mean() - 0.3) < 0.01
    assert set(draw("rademacher", [], (1000,), seed=3, step=1, position=0)) == {-1.0, 1.0}
    counts = np.bincount(
        draw("categorical", [np.array([0.2, 0.5, 0.3])], (100_000,), seed=3, step=1, position=0).astype(int)
    )
    np.testing.assert_allclose(counts / 100_000, [0.2, 0.5, 0.3], atol=0.01)
    first = [draw("choose", [(1, 2, 3, 4), 2], (), seed=s, step=1, position=0) for s in range(2000)]
    assert all(len(set(s)) == 2 for s in first) and abs(np.mean([1 in s for s in first]) - 0.5) < 0.05


def test_draws_are_a_function_of_the_place() -> None:
    text = HEAD + "ξ : like x ~ normal(0, 1)\nu ~ uniform(0, 1)\nx' = x + ξ + u + 0*∇f(x)\n"
    runs = [Simulation(rule(text), {"a": np.zeros(3), "b": np.zeros(3)}, seed=s) for s in (1, 1, 2)]
    for run in runs:
        run.step({"a": np.zeros(3), "b": np.zeros(3)})
    np.testing.assert_array_equal(runs[0].params["a"], runs[1].params["a"])
    assert not np.any(runs[0].params["a"] == runs[2].params["a"])
    assert not np.any(runs[0].params["a"] == runs[0].params["b"])
    a, _ = uniforms(1, 1, 1, 0, 1)
    without = Simulation(rule(text), {"a": np.zeros(3)}, seed=1, draws={"ξ": np.zeros(3)})
    without.step({"a": np.zeros(3)})
    close(without.params["a"], np.full(3, a[0]))  # one scalar for everybody


def test_states_drawn_at_the_start() -> None:
    def value(v: Array) -> float:
        return float(v @ v)

    runs = [Simulation(stdlib("CBO"), np.full(2, 50.0), {"particles": 400}, seed=seed) for seed in (5, 5, 6)]
    for run in runs:
        run.step(oracles={"f": value})
    np.testing.assert_array_equal(runs[0].states["V"], runs[1].states["V"])
    assert not np.any(runs[0].states["V"] == runs[2].states["V"])
    assert abs(runs[0].states["V"].mean() - 50) < 1 and runs[0].states["V"].shape == (400, 2)


# ---- sequences -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "file"), [("GatedDelta", "B-gated_delta_rule"), ("DeltaMemory", "B-delta_rule")])
def test_delta_rules(name: str, file: str) -> None:
    data = golden(file)
    run = Simulation(stdlib(name), states={"M": data["inputs"]["M0"]}, sizes={"dv": 3})
    given = data["inputs"]
    for t, wanted in enumerate(data["expected"]["o"]):
        inputs = {"k": given["k"][t], "v": given["v"][t], "q": given["q"][t]}
        inputs["β"] = given["beta"][t]
        if "alpha" in given:
            inputs["α"] = given["alpha"][t]
        close(run.step(inputs=inputs)["o"], wanted)
    close(run.states["M"], data["expected"]["M_final"])


@pytest.mark.parametrize("setting", ["post", "pre", "post_keys_only"])
def test_momentum_attention(setting: str) -> None:
    data = golden("B-momentum_attention_shear_rope")
    options = {"placement": "before_rope" if setting == "pre" else "after_rope", "keys_only": "keys" in setting}
    run = Simulation(stdlib("MomentumAttention", **options), hypers={"γ": data["params"]["gamma"]})
    for t, wanted in enumerate(data["expected"][setting]["o"]):
        close(run.step(inputs={name: data["inputs"][name][t] for name in "qkv"})["o"], wanted)


def test_momentum_decoding() -> None:
    data = golden("B-momentum_decoding")
    run = Simulation(stdlib("MomentumDecoding"), hypers={"k": 5, "α": 0.2, "n": 5})
    tokens = list(data["inputs"]["prefix"])
    for _ in range(data["params"]["steps"]):
        y = run.step(inputs={"p": data["inputs"]["P"][tokens[-1]], "prompt": list(data["inputs"]["prefix"])})["y"]
        tokens.append(int(y))
    assert tokens == data["expected"]["tokens"]


def test_momentum_between_layers() -> None:
    data = golden("B-momentum_smoe")

    def expert(layer: int, x: Array) -> Array:
        given = {name: np.array(value) for name, value in data["inputs"]["layers"][layer - 1].items()}
        rows = []
        for token in x:
            logits = given["Wg"] @ token + given["bg"]
            best = np.argsort(-logits)[:2]
            weights = np.exp(logits[best] - logits[best].max())
            weights /= weights.sum()
            outputs = [
                given["W2"][e] @ np.maximum(given["W1"][e] @ token + given["b1"][e], 0) + given["b2"][e] for e in best
            ]
            rows.append(sum(w * o for w, o in zip(weights, outputs, strict=True)))
        return np.array(rows)

    run = Simulation(stdlib("MomentumSMoE"), hypers={"gamma": 1.0, "mu": 0.7}, sets={"layers": 3})
    found = run.step(inputs={"h": data["inputs"]["x"]}, oracles={"F": expert})
    close(found["y"], data["expected"]["momentum"]["x_per_layer"][-1])


# ---- nested rules --------------------------------------------------------------------------------------------------


def test_memory_levels() -> None:
    data = golden("B-cms_schedule")
    levels = {f"level {i}": np.array(value) for i, value in enumerate(data["inputs"]["theta0"], start=1)}
    hypers = {"lr": data["params"]["eta"], "chunk": data["params"]["chunks"]}
    run = Simulation(stdlib("CMS"), levels, hypers)
    for t, wanted in enumerate(data["expected"]["theta"]):
        run.step({name: np.array(data["inputs"]["grads"][i][t]) for i, name in enumerate(levels)})
        for i, name in enumerate(levels):
            close(run.params[name], wanted[i])


def test_two_momenta() -> None:
    data = golden("B-m3")
    p = data["params"]
    hypers = {"lr": p["lr"], "betas": [p["beta1"], p["beta2"], p["beta3"]], "alpha": p["alpha"], "eps": p["eps"]}
    hypers |= {"slow_chunk": p["slow_chunk"], "ns_steps": 3}
    file = library().file("M3")
    assert file is not None
    options = {"ema": False, "quintic": False}
    run = Simulation(lower(file, Static(options, 2), library()), np.array(data["inputs"]["W0"]), hypers)
    for g, wanted in zip(data["inputs"]["grads"], data["expected"]["cubic3"]["W"], strict=True):
        run.step(np.array(g))
        close(run.params, wanted)


@pytest.mark.parametrize(("inner", "setting"), [("regression", "l2"), ("dot", "dot")])
def test_deep_momentum(inner: str, setting: str) -> None:
    data = golden("B-dmgd")
    given, p = data["inputs"], data["params"]
    program = stdlib("DMGD", inner=inner)
    hypers = {"lr": 1.0, "retain": p["alpha"], "inner_lr": p["eta"], "hidden": 5}
    run = Simulation(program, np.array(given["W0"]), hypers, states={"A": given["A1"], "B": given["A2"]})
    for g, wanted in zip(given["grads"], data["expected"][setting]["W"], strict=True):
        run.step(np.array(g))
        close(run.params, wanted)


# ---- inner problems, solvers, formulas -----------------------------------------------------------------------------


def test_implicit_step_of_a_layer() -> None:
    data = golden("B-dgd")
    run = Simulation(stdlib("DeltaGD", form="proximal"), np.array(data["inputs"]["W0"]), {"lr": data["params"]["eta"]})
    for x, d, wanted in zip(data["inputs"]["x"], data["inputs"]["grad_y"], data["expected"]["exact"]["W"], strict=True):
        inputs = {"input_of(W)": [x], "output_of(W)": [np.zeros(3)]}
        run.step(inputs=inputs, oracles={"∇f": lambda *_, d=d: np.array([d])})
        close(run.params, wanted)


def test_sparse_newton_transport() -> None:
    data = golden("D-sns")
    given = data["inputs"]
    run = Simulation(stdlib("SinkhornNewtonSparse"), hypers={"η": given["eta"], "N": given["N1"], "λ": given["lam"]})
    found = run.step(inputs={"C": given["C"], "r": given["r"], "c": given["c"]})
    close(found["P"], data["expected"]["P_star"], rtol=1e-8)


def test_tangent_kernel() -> None:
    data = golden("D-ntk")
    given = data["inputs"]
    program = stdlib("ntk")
    assert program.result is not None
    leaves = {here.name: here for here in program.result.walk() if here.op == "leaf"}
    rows = []
    for x in given["X"]:
        row = []
        for y in given["X"]:
            values: dict[Any, Any] = {leaves["x"]: np.array(x), leaves["y"]: np.array(y)}
            values |= {leaves["depth"]: given["L"], leaves["w"]: given["sigma_w"], leaves["b"]: given["sigma_b"]}
            row.append(float(evaluate(program.result, values)))
        rows.append(row)
    close(rows, data["expected"]["ntk"])


@pytest.mark.parametrize(("noise", "setting"), [("isotropic", "iso"), ("anisotropic", "aniso")])
def test_consensus(noise: str, setting: str) -> None:
    data = golden("D-cbo")
    given = data["inputs"]

    def value(v: Array) -> float:
        return float(np.sum(v**2) + 2.5 * np.sum(1 - np.cos(2 * np.pi * v)))

    hypers = {"particles": 4, "λ": given["lam"], "σ": given["sigma"], "α": given["alpha"], "dt": given["dt"]}
    run = Simulation(
        stdlib("CBO", noise=noise), np.zeros(2), hypers,
        states={"V": given["V0"]}, draws={"ξ": lambda step: np.array(given["xi"][step - 1])},
    )  # fmt: skip
    for _ in given["xi"]:
        run.step(oracles={"f": value})
    close(run.states["V"], data["expected"][setting]["final"], rtol=1e-9)


# ---- several tasks, several parties --------------------------------------------------------------------------------


@pytest.mark.parametrize("conflict", ["mean", "any"])
def test_similarity_of_tasks(conflict: str) -> None:
    data = golden("C-mtl-surgery")
    hypers = {"betas": [data["hyper"]["beta1"], data["hyper"]["beta2"]], "γ": data["hyper"]["gamma"]}
    run = Simulation(stdlib("SAMGS", conflict=conflict), np.zeros(4), hypers, sets={"tasks": 2})
    for gradients, wanted in zip(data["task_gradients"], data["runs"][f"SAM-GS_{conflict}"], strict=True):
        found = run.step(oracles={"∇f": lambda i, x, gradients=gradients: np.array(gradients[i - 1])})
        close(found["d"], wanted["g"], rtol=1e-9)


def test_projected_conflicts_over_the_whole_model() -> None:
    data = golden("C-mtl-surgery")["two_tasks"]
    tasks = np.array(data["matrix"])
    run = Simulation(stdlib("PCGrad"), {"a": np.zeros(1), "b": np.zeros(3)}, sets={"tasks": 2})
    parts = {i: {"a": tasks[i - 1][:1], "b": tasks[i - 1][1:]} for i in (1, 2)}
    found = run.step(oracles={"∇f": lambda i, x: parts[i]})["d"]
    close(np.concatenate([found["a"], found["b"]]), data["pcgrad_sum"])


def test_attack_on_an_image() -> None:
    data = golden("C-attacks")
    W1, b1, W2, b2 = (np.array(data[name]) for name in ("W1", "b1", "W2", "b2"))
    x, y = np.array(data["x"]), np.array(data["y"], dtype=int)

    def gradient(u: Array, labels: Array) -> Array:
        flat = u.reshape(len(u), -1)
        hidden = np.tanh(flat @ W1.T + b1)
        logits = hidden @ W2.T + b2
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(u)), labels.astype(int)] -= 1
        return (((p / len(u)) @ W2 * (1 - hidden**2)) @ W1).reshape(u.shape)

    h = data["hyper"]
    run = Simulation(stdlib("MIFGSM"), hypers={"eps": h["eps"], "α": h["alpha"], "decay": h["mu"], "steps": h["steps"]})
    found = run.step(inputs={"x": x, "y": y}, oracles={"∇_x J": gradient, "∇J": gradient})
    close(found["a"], data["runs"]["MI-FGSM_l1"][-1]["adv"], rtol=1e-10)


@pytest.mark.parametrize(("name", "setting"), [("Scaffold", "SCAFFOLD"), ("ScaffoldMVR", "SCAFFOLD-M-VR")])
def test_federated_rounds(name: str, setting: str) -> None:
    data = golden("C-fed-momentum")
    problem, chosen = data["problem"], data["runs"][setting]
    hypers = {"local_lr": data["hyper"]["eta_local"], "lr": chosen["gamma"], "K": data["hyper"]["K"], "sampled": 2}
    if name == "ScaffoldMVR":
        hypers["β"] = chosen["beta"]
    start = data["init"]

    def gradient(client: int, x: Array, sample: Any) -> Array:
        _, step, _, _, local = sample
        i, r, k = client - 1, step - 1, local - 1
        A, b = np.array(problem["A"][i]), np.array(problem["b"][i])
        return (1 + problem["z"][r][i][k]) * (A @ (x - b)) + np.array(problem["s"][r][i][k])

    run = Simulation(
        stdlib(name), np.array(start["x"]), hypers, sets={"clients": 4},
        draws={"S": lambda step: tuple(i + 1 for i in data["client_sets_scaffold"][step - 1])},
        states={"h": {i + 1: c for i, c in enumerate(start["c_i"])}, "c": np.mean(start["c_i"], axis=0)},
    )  # fmt: skip
    for wanted in chosen["trace"]:
        run.step(oracles={"∇f": gradient})
        close(run.params, wanted["x"], rtol=1e-10)
        close([run.states["h"][i,] for i in (1, 2, 3, 4)], wanted["c_i"], rtol=1e-10)


@pytest.mark.parametrize(("anchor", "setting"), [("old", "MASHA2_bi"), ("new", "MASHA2_bi_w_from_new_z")])
def test_compressed_extragradient(anchor: str, setting: str) -> None:
    data = golden("C-masha")
    J, a = np.array(data["problem"]["J"]), np.array(data["problem"]["a"])
    hypers = {"lr": data["hyper"]["gamma"], "τ": data["hyper"]["tau"], "k": data["hyper"]["k"]}
    run = Simulation(
        stdlib("MASHA2", anchor=anchor), np.array(data["init"]["z"]), hypers, sets={"workers": 3},
        draws={"b": lambda step: bool(data["random"]["bits"][step - 1])},
    )  # fmt: skip
    for wanted in data["runs"][setting]:
        run.step(oracles={"F": lambda m, z: J[m - 1] @ z + a[m - 1]})
        close(run.params, wanted["z"], rtol=1e-10)
        close(run.states["w"], wanted["w"], rtol=1e-10)
        close(run.states["e"], wanted["e_server"], rtol=1e-10)
        close([run.states["r"][m,] for m in (1, 2, 3)], wanted["e_workers"], rtol=1e-10)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(KeyError, match="no hyperparameter momentum"):
        Simulation(rule(HEAD + "x' = x - ∇f(x)\n"), np.zeros(1), {"momentum": 0.9})
    with pytest.raises(KeyError, match="the rule asks for ∇f"):
        Simulation(rule(HEAD + "x' = x - ∇f(x + 1)\n"), np.zeros(1)).step(np.zeros(1))
    with pytest.raises(KeyError, match="no value was given for y"):
        evaluate(leaf("free", "y", Type("real", ("n",))), {})


@pytest.mark.parametrize(("normalised", "setting"), [(True, "N-HARPG"), (False, "HARPG")])
def test_policy_gradient_with_curvature(normalised: bool, setting: str) -> None:
    data = golden("C-policy-gradient")
    problem, reward = data["problem"], np.array(data["problem"]["reward"])

    def policy(theta: Array) -> Array:
        p = np.exp(theta - theta.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    def slope(theta: Array, weights: list[float], path: list[list[int]]) -> Array:
        """The gradient of the sum of w log π(a|s)."""
        made = np.zeros_like(theta)
        for w, (s, a) in zip(weights, path, strict=True):
            made[s] -= w * policy(theta)[s]
            made[s, a] += w
        return made

    def returns(path: list[list[int]]) -> list[float]:
        steps = [problem["discount"] ** h * reward[s, a] for h, (s, a) in enumerate(path)]
        return [sum(steps[t:]) for t in range(len(steps))]

    def product(theta: Array, path: list[list[int]], v: Array) -> Array:
        made = np.zeros_like(theta)
        for w, (s, _) in zip(returns(path), path, strict=True):
            p = policy(theta)[s]
            made[s] -= w * (p * v[s] - p * (p @ v[s]))
        return made

    oracles = {  # J is what is minimised, so minus the weighted log-probability
        "∇J": lambda theta, path: -slope(theta, returns(path), path),
        "∇²J": lambda theta, path, v: -product(theta, path, v),
        "∇ℓ": lambda theta, path: slope(theta, [1.0] * len(path), path),
    }
    draws = {
        "τ": lambda step: problem["traj_gradient"][step - 1],
        "σ": lambda step: problem["traj_hessian"][step - 1],
        "q": lambda step: problem["q"][step - 1],
    }
    hypers = {"lr": data["hyper"]["gamma0"]}
    run = Simulation(stdlib("NHARPG", normalised=normalised), np.array(data["init"]["theta"]), hypers, draws=draws)
    for wanted in data["runs"][setting]:
        run.step(oracles=oracles)
        close(run.params, wanted["theta"], rtol=1e-10)
        close(-run.states["d"], wanted["d"], rtol=1e-10)


def test_langevin_on_the_sphere() -> None:
    data = golden("D-langevin-swa")
    given = data["inputs"]
    x, target = np.array(given["x"]), np.array(given["theta_star"])

    def hermite(z: Array) -> Array:
        return (z**3 - 3 * z) / np.sqrt(6)

    def gradient(theta: Array) -> Array:
        y = hermite(x @ target)
        return -(y * (3 * (x @ theta) ** 2 - 3) / np.sqrt(6)) @ x / len(x)

    start = np.array(given["theta0_unnormalised"])
    hypers = {"lr": given["h"], "inverse_temperature": given["eps"]}
    draws = {"ξ": lambda step: np.array(given["xi"][step - 1])}
    run = Simulation(stdlib("SphericalLangevin"), start / np.linalg.norm(start), hypers, draws=draws)
    for wanted in data["expected"]["theta"]:
        run.step(oracles={"∇f": gradient})
        close(run.params, wanted, rtol=1e-10)
    close(run.states["a"], np.array(data["expected"]["mean_theta"]), rtol=1e-10)


def test_last_layer_fitted_to_an_equation() -> None:
    data = golden("D-hard-constraint")
    given, c = data["inputs"], data["inputs"]["c"]
    B, f, half = np.array(given["B"]), np.array(given["f"]), given["split"]
    parts, sides = {1: B[:half], 2: B[half:]}, {1: f[:half], 2: f[half:]}
    oracles = {
        "R": lambda e, u: u + c * u**3 - sides[e],
        "∇R": lambda e, u, weight: weight * (1 + 3 * c * u**2),
    }
    run = Simulation(stdlib("HardConstraint"), hypers={"ridge": given["ridge"], "tol": 1e-11}, sets={"experts": 2})
    found = run.step(inputs={"Φ": parts}, oracles=oracles)["u"]
    for e in (1, 2):
        close(found[e,], parts[e] @ np.array(data["expected"]["moe_w"][e - 1]), rtol=1e-7)


def test_equilibrium_propagation_is_the_gradient() -> None:
    W = np.array([[0.2, -0.3, 0.1], [-0.3, 0.1, 0.25], [0.1, 0.25, -0.2]])
    b, y = np.array([0.3, -0.7, 0.4]), np.array([0.1, 0.2, -0.3])
    oracles = {
        "F": lambda W, u, x: W @ u + b,
        "∇_W F": lambda W, u, x, r: np.outer(r, u),
        "∇_r ℓ": lambda u, y_: u - y,
        "act": lambda u: u,
        "∇ℓ": lambda u, y_: u - y,
    }
    run = Simulation(stdlib("EqProp"), W, {"lr": 1.0, "β": 0.05, "N": 8, "T": 500, "K": 200}, sizes={"units": 3})
    run.step(oracles=oracles)
    u = np.linalg.solve(np.eye(3) - W, b)
    close(W - run.params, np.outer(np.linalg.solve(np.eye(3) - W.T, u - y), u), rtol=1e-5)
