"""Golden data of nested learning and sequence rules (tests/golden/B-*), replayed through the judge and through torch.

Every kind of result in every file has a rule; `test_every_kind_of_result_is_replayed` says so. Not compared, since no
rule shows them: the factors T, U0, W of the first chunks, the rotated queries and weights of momentum attention, and
the scores and repeat lengths of momentum decoding (the tokens that follow from them are).
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dotopt.stdlib
from dotopt.compiler.evaluate import Simulation, evaluate
from dotopt.compiler.ir import Program
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.text.library import Library

GOLDEN = Path(__file__).parent / "golden"
Array = np.ndarray[Any, Any]
LIBRARY = Library()


@functools.cache
def golden(name: str) -> dict[str, Any]:
    with gzip.open(GOLDEN / f"B-{name}.json.gz", "rt") as file:
        found: dict[str, Any] = json.load(file)
    return found


def program(rule: str, rank: int | None = None, **options: Any) -> Program:
    file = LIBRARY.file(rule)
    assert file is not None
    defaults = {option.name: option.default for option in lower(file, Static(), LIBRARY).options}
    assert set(options) <= set(defaults), f"{rule} has the options {', '.join(defaults)}"
    return lower(file, Static({**defaults, **options}, rank), LIBRARY)


def close(found: Any, wanted: Any, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(np.asarray(found, dtype=float), np.array(wanted, dtype=float), rtol=rtol, atol=rtol)


# ---- rules over sequences --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sequence:
    """One golden trajectory of a rule over sequences. `given`: input of the rule -> key in the file's inputs."""

    file: str
    kind: str
    rule: str
    given: Mapping[str, str]
    outputs: Callable[[dict[str, Any]], Any]
    states: Mapping[str, Any] = field(default_factory=dict)
    finals: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda data: {}
    options: Mapping[str, Any] = field(default_factory=dict)
    hypers: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    def rows(self) -> dict[str, Array]:
        """The inputs, token by token along the first axis."""
        inputs = golden(self.file)["inputs"]
        return {name: np.array(inputs[key]) for name, key in self.given.items()}

    def starts(self) -> dict[str, Array]:
        """The states before the first token, where the file gives them."""
        return {
            name: np.array(functools.reduce(lambda d, key: d[key], path.split("."), golden(self.file)["inputs"]))
            for name, path in self.states.items()
        }


QKV = {"k": "k", "v": "v", "q": "q"}
GATES = {**QKV, "θ": "theta", "η": "eta", "α": "alpha"}
DELTA = {**QKV, "β": "beta"}


def titans(loss: str, coefficient: str, chunk: int) -> list[Sequence]:
    """The linear memory, with gradients at every token or at the starts of chunks."""
    kind = f"linear.coef{coefficient}_chunk{chunk}"

    def expected(data: dict[str, Any]) -> dict[str, Any]:
        return data["expected"]["linear"][kind.split(".", 1)[1]]

    ways = ["chunk"] if chunk > 1 else ["chunk", "token"]
    return [
        Sequence(
            "titans_momentum_memory", kind, "Titans", GATES, lambda data: expected(data)["o"], {"M": "M0"},
            lambda data: {"M": expected(data)["M"], "S": expected(data)["S"]}, {"loss": loss, "at": at},
            {"C": chunk}, {"dv": 3},
        )
        for at in ways
    ]  # fmt: skip


def attention(kind: str, **options: Any) -> Sequence:
    return Sequence(
        "momentum_attention_shear_rope", kind, "MomentumAttention", QKV, lambda data: data["expected"][kind]["o"],
        options=options, hypers={"γ": 0.15},
    )  # fmt: skip


def self_modifying(kind: str, chunk: int, memory_chunk: int) -> Sequence:
    def expected(data: dict[str, Any]) -> dict[str, Any]:
        return data["expected"][kind]

    return Sequence(
        "selfmod_titans_linear", kind, "SelfModifyingTitans", {"x": "x", "q": "q", "η": "eta", "α": "alpha"},
        lambda data: expected(data)["y"], {"K": "M0.k", "V": "M0.v", "M": "M0.memory"},
        lambda data: {"K": expected(data)["M"]["k"], "V": expected(data)["M"]["v"], "M": expected(data)["M"]["memory"]},
        {}, {"D": chunk, "C": memory_chunk},
    )  # fmt: skip


SEQUENCES = [
    Sequence("linear_attention", "zero_init", "LinearAttention", QKV, lambda data: data["expected"]["o_zero_init"],
             finals=lambda data: {"M": data["expected"]["M_zero_init"]}, sizes={"dv": 3}),
    Sequence("linear_attention", "M0", "LinearAttention", QKV, lambda data: data["expected"]["o_M0"], {"M": "M0"},
             lambda data: {"M": data["expected"]["M_M0"]}, sizes={"dv": 3}),
    Sequence("linear_attention", "elu1_normalized", "LinearAttention", QKV,
             lambda data: data["expected"]["o_elu1_normalized"], options={"features": "elu", "normalized": True},
             sizes={"dv": 3}),
    Sequence("delta_rule", "o", "DeltaMemory", DELTA, lambda data: data["expected"]["o"], {"M": "M0"},
             lambda data: {"M": data["expected"]["M_final"]}, sizes={"dv": 3}),
    Sequence("gated_delta_rule", "o", "GatedDelta", {**DELTA, "α": "alpha"}, lambda data: data["expected"]["o"],
             {"M": "M0"}, lambda data: {"M": data["expected"]["M_final"]}, sizes={"dv": 3}),
    *titans("square", "1.0", 1), *titans("square", "1.0", 4), *titans("half", "0.5", 1), *titans("half", "0.5", 4),
    Sequence("titans_momentum_memory", "mlp_tanh", "TitansMLP", GATES,
             lambda data: data["expected"]["mlp_tanh"]["o"], {"A": "W1", "B": "W2"},
             lambda data: {name: data["expected"]["mlp_tanh"][key]
                           for name, key in {"A": "W1", "B": "W2", "U": "S1", "V": "S2"}.items()},
             {"activation": "tanh"}, {"h": 5, "C": 1}, {"dv": 3}),
    attention("post"), attention("pre", placement="before_rope"), attention("post_keys_only", keys_only=True),
    Sequence("momentum_based_attention", "o", "MomentumBasedAttention", QKV, lambda data: data["expected"]["o"],
             hypers={"η": 0.35}),
    self_modifying("c1", 1, 1), self_modifying("c2_4", 2, 4),
]  # fmt: skip
NAMES = [f"{x.file}-{x.kind}-{'-'.join(map(str, x.options.values()))}" for x in SEQUENCES]


def rows_of(case: Sequence) -> dict[str, Array]:
    if case.file != "selfmod_titans_linear":
        return case.rows()
    inputs = golden(case.file)["inputs"]  # the file projects the query, the rule is given the projection
    rows = {name: np.array(inputs[key]) for name, key in case.given.items() if name != "q"}
    return rows | {"q": rows["x"] @ np.array(inputs["Wq"]).T}


@pytest.mark.parametrize("case", SEQUENCES, ids=NAMES)
def test_a_sequence_through_the_judge(case: Sequence) -> None:
    data, rows = golden(case.file), rows_of(case)
    run = Simulation(
        program(case.rule, **case.options), hypers=dict(case.hypers), states=case.starts(), sizes=dict(case.sizes)
    )
    for t, wanted in enumerate(case.outputs(data)):
        (found,) = run.step(inputs={name: values[t] for name, values in rows.items()}).values()
        close(found, wanted)
    for name, wanted in case.finals(data).items():
        close(run.states[name], wanted)


@pytest.mark.parametrize("block", [1, 3, 4, 64])
@pytest.mark.parametrize("case", SEQUENCES, ids=NAMES)
def test_a_sequence_through_torch(case: Sequence, block: int) -> None:
    data, rows = golden(case.file), rows_of(case)
    kind = getattr(dotopt.stdlib, case.rule)
    keywords = {h.name: h.keyword for h in kind.rule.hypers} | {o.name: o.keyword for o in kind.rule.options}
    module = kind(**{keywords[n]: v for n, v in {**case.hypers, **case.options}.items()}, block=block)
    inputs = {x.keyword: torch.tensor(rows[x.name], dtype=torch.float64) for x in kind.rule.inputs}
    sizes = {axis: n for x in kind.rule.inputs for axis, n in zip(x.axes, rows[x.name].shape[1:], strict=True)}
    start = module.initial_state((), 0, torch.zeros((), dtype=torch.float64), **{**sizes, **case.sizes})
    start |= {name: torch.tensor(value) for name, value in case.starts().items()}
    whole, last = module(**inputs, state=dict(start), return_state=True)
    close(whole, case.outputs(data))
    for name, wanted in case.finals(data).items():
        close(last[name], wanted)
    state: dict[str, Any] = dict(start)
    for t, wanted in enumerate(case.outputs(data)):  # token by token
        output, state = module.step(**{name: value[t] for name, value in inputs.items()}, state=state)
        close(output, wanted)


@pytest.mark.parametrize(("file", "rule"), [("delta_rule", "DeltaMemory"), ("gated_delta_rule", "GatedDelta")])
def test_the_updates_of_the_first_chunk(file: str, rule: str) -> None:
    (case,) = (x for x in SEQUENCES if x.rule == rule)
    data, rows = golden(file), case.rows()
    run, memory = Simulation(program(rule), states=case.starts(), sizes={"dv": 3}), case.starts()["M"]
    for t, update in enumerate(data["expected"]["first_chunk"]["U"]):
        run.step(inputs={name: values[t] for name, values in rows.items()})
        kept = rows["α"][t] if "α" in rows else 1.0
        close(run.states["M"], kept * memory + np.outer(update, rows["k"][t]))
        memory = run.states["M"]
        if t == 0 and "M_after_first_token" in data["expected"]:
            close(memory, data["expected"]["M_after_first_token"])


# ---- optimizers as memories ------------------------------------------------------------------------------------------


def delta_momentum(kind: str) -> tuple[Program, Array, list[Any], list[Any], dict[str, Any], dict[str, Any]]:
    data = golden("delta_momentum")
    given, expected = data["inputs"], data["expected"][kind]
    if kind.startswith("vector"):
        options = {"view": kind.split("_")[1]}
        return program("DeltaMomentum", 1, **options), np.array(given["w0"]), given["gv"], expected["W"], {}, {}
    options = {"preconditioned": kind == "derived_P", "form": "unscaled_decay" if kind == "printed" else "derived"}
    states = {"P": np.array(given["P"])} if kind == "derived_P" else {}
    start = np.array(given["W0"])
    return program("DeltaMomentum", 2, **options), start, given["grads"], expected["W"], states, {"m": expected["m"]}


@pytest.mark.parametrize("kind", ["derived", "derived_P", "printed", "vector_column_view", "vector_row_view"])
def test_delta_momentum(kind: str) -> None:
    p = golden("delta_momentum")["params"]
    rule, start, gradients, expected, states, finals = delta_momentum(kind)
    run = Simulation(rule, start, {"lr": p["eta"], "momentum": p["alpha"]}, states=states)
    for g, wanted in zip(gradients, expected, strict=True):
        run.step(np.array(g))
        close(run.params, wanted)
    for name, wanted in finals.items():
        close(run.states[name], wanted)


@pytest.mark.parametrize("kind", ["derived", "derived_P", "printed", "vector_column_view", "vector_row_view"])
def test_delta_momentum_through_torch(kind: str) -> None:
    p = golden("delta_momentum")["params"]
    _, start, gradients, expected, states, _ = delta_momentum(kind)
    weight = torch.nn.Parameter(torch.tensor(start))
    optimizer = dotopt.stdlib.DeltaMomentum(
        [weight], lr=p["eta"], momentum=p["alpha"], preconditioned=kind == "derived_P",
        form="unscaled_decay" if kind == "printed" else "derived", view="column" if "column" in kind else "row",
    )  # fmt: skip
    for t, (g, wanted) in enumerate(zip(gradients, expected, strict=True)):
        weight.grad = torch.tensor(g, dtype=torch.float64)
        if t == 0 and states:  # the preconditioner is a state that the user sets, once it is there
            weight.grad.zero_()
            optimizer.step()
            optimizer.state[weight]["preconditioner"].copy_(torch.tensor(states["P"]))
            weight.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        close(weight.detach(), wanted)


@pytest.mark.parametrize("kind", ["cubic3", "quintic5", "cubic3_ema", "vector"])
def test_two_momenta(kind: str) -> None:
    data = golden("m3")
    p, expected, vector = data["params"], data["expected"][kind], kind == "vector"
    hypers = {"lr": p["lr"], "betas": [p["beta1"], p["beta2"], p["beta3"]], "alpha": p["alpha"], "eps": p["eps"]}
    hypers |= {"slow_chunk": p["slow_chunk"], "ns_steps": 5 if kind == "quintic5" else 3}
    rule = program("M3", 1 if vector else 2, quintic=kind == "quintic5", ema=kind.endswith("ema"))
    run = Simulation(rule, np.array(data["inputs"]["b0" if vector else "W0"]), hypers)
    for g, wanted in zip(data["inputs"]["grads_b" if vector else "grads"], expected["W"], strict=True):
        run.step(np.array(g))
        close(run.params, wanted)
    for name, key in {"m": "m1", "s": "m2", "v": "v", "O": "o2"}.items():
        if key in expected:
            close(run.states[name], expected[key])


@pytest.mark.parametrize("kind", ["l2", "dot", "l2_ns_output"])
def test_deep_momentum(kind: str) -> None:
    data = golden("dmgd")
    given, p, expected = data["inputs"], data["params"], data["expected"][kind]
    hypers = {"lr": 1.0, "retain": p["alpha"], "inner_lr": p["eta"], "hidden": 5}
    hypers |= {"ns_steps": p["ns_steps"], "ns_eps": p["ns_eps"]}
    output = "orthogonal" if "ns" in kind else "plain"
    rule = program("DMGD", inner="dot" if kind == "dot" else "regression", output=output)
    run = Simulation(rule, np.array(given["W0"]), hypers, states={"A": given["A1"], "B": given["A2"]})
    for g, wanted in zip(given["grads"], expected["W"], strict=True):
        run.step(np.array(g))
        close(run.params, wanted)
    for name, key in {"A": "A1", "B": "A2"}.items():
        if key in expected:
            close(run.states[name], expected[key])


def walk(optimizer: Any, weight: torch.nn.Parameter, gradients: list[Any], wanted: list[Any]) -> None:
    for g, after in zip(gradients, wanted, strict=True):
        weight.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        close(weight.detach(), after)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("kind", ["cubic3", "quintic5", "cubic3_ema", "vector"])
def test_two_momenta_through_torch(kind: str, backend: str) -> None:
    data = golden("m3")
    p, expected, vector = data["params"], data["expected"][kind], kind == "vector"
    weight = torch.nn.Parameter(torch.tensor(data["inputs"]["b0" if vector else "W0"], dtype=torch.float64))
    optimizer = dotopt.stdlib.M3(
        [weight], lr=p["lr"], betas=(p["beta1"], p["beta2"], p["beta3"]), alpha=p["alpha"], eps=p["eps"],
        slow_chunk=p["slow_chunk"], ns_steps=5 if kind == "quintic5" else 3, quintic=kind == "quintic5",
        ema=kind.endswith("ema"), backend=backend,
    )  # fmt: skip
    walk(optimizer, weight, data["inputs"]["grads_b" if vector else "grads"], expected["W"])
    for key, name in {"fast_momentum": "m1", "slow_momentum": "m2", "sum_sq": "v", "slow_direction": "o2"}.items():
        if name in expected:
            close(optimizer.state[weight][key], expected[name])


@pytest.mark.parametrize("kind", ["l2", "dot", "l2_ns_output"])
def test_deep_momentum_through_torch(kind: str) -> None:
    data = golden("dmgd")
    given, p, expected = data["inputs"], data["params"], data["expected"][kind]
    weight = torch.nn.Parameter(torch.tensor(given["W0"], dtype=torch.float64))
    optimizer = dotopt.stdlib.DMGD(
        [weight], lr=1.0, retain=p["alpha"], inner_lr=p["eta"], hidden=5, ns_steps=p["ns_steps"], ns_eps=p["ns_eps"],
        inner="dot" if kind == "dot" else "regression", output="orthogonal" if "ns" in kind else "plain",
    )  # fmt: skip
    weight.grad = torch.zeros_like(weight)
    optimizer.step()  # the memories that are drawn exist after it; the file gives others
    with torch.no_grad():
        weight.copy_(torch.tensor(given["W0"], dtype=torch.float64))
        for name, key in {"A": "A1", "B": "A2"}.items():
            optimizer.state[weight][name].copy_(torch.tensor(given[key], dtype=torch.float64))
    walk(optimizer, weight, given["grads"], expected["W"])
    for name, key in {"A": "A1", "B": "A2"}.items():
        if key in expected:
            close(optimizer.state[weight][name], expected[key])


@pytest.mark.parametrize(("kind", "form"), [("exact", "proximal"), ("printed", "unit_input")])
def test_implicit_step_of_a_layer(kind: str, form: str) -> None:
    data = golden("dgd")
    run = Simulation(program("DeltaGD", form=form), np.array(data["inputs"]["W0"]), {"lr": data["params"]["eta"]})
    for x, d, wanted in zip(data["inputs"]["x"], data["inputs"]["grad_y"], data["expected"][kind]["W"], strict=True):
        inputs = {"input_of(W)": [x], "output_of(W)": [np.zeros(3)]}
        run.step(inputs=inputs, oracles={"∇f": lambda *_, d=d: np.array([d])})
        close(run.params, wanted)


def test_memory_levels() -> None:
    data = golden("cms_schedule")
    levels = {f"level {i}": np.array(value) for i, value in enumerate(data["inputs"]["theta0"], start=1)}
    run = Simulation(program("CMS"), levels, {"lr": data["params"]["eta"], "chunk": data["params"]["chunks"]})
    for t, wanted in enumerate(data["expected"]["theta"]):
        run.step({name: np.array(data["inputs"]["grads"][i][t]) for i, name in enumerate(levels)})
        for i, name in enumerate(levels):
            close(run.params[name], wanted[i])


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_memory_levels_through_torch(backend: str) -> None:
    """A level is a parameter group with a learning rate and a chunk of its own."""
    data = golden("cms_schedule")
    levels = [torch.nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in data["inputs"]["theta0"]]
    params = data["params"]
    groups = [
        {"params": [level], "lr": lr, "chunk": chunk}
        for level, lr, chunk in zip(levels, params["eta"], params["chunks"], strict=True)
    ]
    optimizer = dotopt.stdlib.CMS(groups, backend=backend)
    for t, wanted in enumerate(data["expected"]["theta"]):
        for i, level in enumerate(levels):
            level.grad = torch.tensor(data["inputs"]["grads"][i][t], dtype=torch.float64)
        optimizer.step()
        if t == 5:  # in the middle of a chunk
            again = dotopt.stdlib.CMS([dict(group) for group in groups], backend=backend)
            again.load_state_dict(optimizer.state_dict())
            optimizer = again
        for level, expected in zip(levels, wanted, strict=True):
            close(level.detach(), expected)


# ---- depth, decoding, examples in context ----------------------------------------------------------------------------


def experts(layers: list[dict[str, Any]], rows: Array) -> Callable[[int, Array], Array]:
    """Two of three experts by the softmax of their logits, for each token."""

    def at(layer: int, x: Array) -> Array:
        given = {name: np.array(value) for name, value in layers[layer - 1].items()}
        found = []
        for token in x:
            logits = given["Wg"] @ token + given["bg"]
            best = np.argsort(-logits)[:2]
            weights = np.exp(logits[best] - logits[best].max())
            hidden = [np.maximum(given["W1"][e] @ token + given["b1"][e], 0) for e in best]
            outputs = [given["W2"][e] @ h + given["b2"][e] for e, h in zip(best, hidden, strict=True)]
            found.append(sum(w * o for w, o in zip(weights / weights.sum(), outputs, strict=True)))
        return np.array(found)

    assert rows.ndim == 2
    return at


DEPTH: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "smoe": ("MomentumSMoE", {}, {"γ": "gamma"}),
    "momentum": ("MomentumSMoE", {}, {"γ": "gamma", "μ": "mu"}),
    "adam": ("AdamSMoE", {}, {"γ": "gamma", "μ": "mu", "β": "beta", "ε": "eps", "κ": "kappa"}),
    "robust": ("RobustMomentumSMoE", {}, {"ρ": "rho", "k": "kappa_c", "L": "L"}),
    "momentum_code": ("MomentumSMoE", {"form": "code"}, {"μ": "mu", "γ": "gamma2"}),
    "adam_code": ("AdamSMoE", {"form": "code"},
                  {"γ": "gamma1", "μ": "beta1", "β": "beta2", "γ2": "gamma2", "μ2": "mu"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEPTH)
def test_momentum_between_layers(kind: str) -> None:
    data = golden("momentum_smoe")
    rule, options, names = DEPTH[kind]
    given = data["params"]["per_kind"][kind]
    assert set(names.values()) == set(given), "every setting of the file reaches the rule"
    hypers = {name: given[key] for name, key in names.items()} | ({"μ": 0.0} if kind == "smoe" else {})
    x = np.array(data["inputs"]["x"])
    for layers, wanted in enumerate(data["expected"][kind]["x_per_layer"], start=1):
        run = Simulation(program(rule, **options), hypers=hypers, sets={"layers": layers})
        close(run.step(inputs={"h": x}, oracles={"F": experts(data["inputs"]["layers"], x)})["y"], wanted)


@pytest.mark.parametrize("alpha", [0.2, 0.0])
def test_momentum_decoding(alpha: float) -> None:
    data = golden("momentum_decoding")
    run = Simulation(program("MomentumDecoding"), hypers={"k": data["params"]["k"], "α": alpha, "n": 5})
    tokens = list(data["inputs"]["prefix"])
    for _ in range(data["params"]["steps"]):
        inputs = {"p": data["inputs"]["P"][tokens[-1]], "prompt": list(data["inputs"]["prefix"])}
        tokens.append(int(run.step(inputs=inputs)["y"]))
    assert tokens == data["expected"]["tokens" if alpha else "greedy_tokens"]


def test_learning_in_context() -> None:
    data = golden("icl_dual_form")
    given = {name: np.array(value) for name, value in data["inputs"].items()}

    def answer(weights: Array, keys: Array, values: Array, x: Array) -> Any:
        run = Simulation(program("InContextLearning"))
        return run.step(inputs={"W": weights, "X": keys, "E": values, "x": x})["y"]

    close(answer(given["W0"], given["Xp"], given["E"], given["x"]), data["expected"]["Fx"])
    close(answer(0 * given["W0"], given["Xp"], given["E"], given["x"]), data["expected"]["linattn"])
    keys, values = ({part: given[part] @ given[w].T for part in ("Xd", "Xq")} for w in ("WK", "WV"))
    nothing = 0 * given["W0"]
    zero_shot = np.stack([answer(nothing, keys["Xq"], values["Xq"], e) for e in np.eye(4)], axis=-1)
    close(zero_shot, data["expected"]["W_ZSL"])
    update = np.stack([answer(nothing, keys["Xd"], values["Xd"], e) for e in np.eye(4)], axis=-1)
    close(update, data["expected"]["dW_ICL"])
    close(answer(zero_shot, keys["Xd"], values["Xd"], given["q"]), data["expected"]["F_icl"])


def test_softmax_attention_is_an_argmin() -> None:
    given = {name: np.array(value) for name, value in golden("momentum_based_attention")["inputs"].items()}
    result = program("softmax_attention").result
    assert result is not None
    leaves = {here.name: here for here in result.walk() if here.op == "leaf"}
    for t, wanted in enumerate(golden("momentum_based_attention")["expected"]["attn"]):
        values = {"q": given["q"][t], "K": given["k"][: t + 1], "V": given["v"][: t + 1], "d": 4.0}
        close(evaluate(result, {leaves[name]: value for name, value in values.items() if name in leaves}), wanted)


# ---- nothing is left out ---------------------------------------------------------------------------------------------

REPLAYED = {
    "cms_schedule": {"theta"},
    "delta_momentum": {"derived", "derived_P", "printed", "vector_column_view", "vector_row_view"},
    "delta_rule": {"o", "M_final", "M_after_first_token", "first_chunk"},
    "dgd": {"exact", "printed"},
    "dmgd": {"l2", "dot", "l2_ns_output"},
    "gated_delta_rule": {"o", "M_final", "first_chunk"},
    "icl_dual_form": {"Fx", "linattn", "W_ZSL", "dW_ICL", "F_icl"},
    "linear_attention": {"o_zero_init", "M_zero_init", "o_M0", "M_M0", "o_elu1_normalized"},
    "m3": {"cubic3", "quintic5", "cubic3_ema", "vector"},
    "momentum_attention_shear_rope": {"post", "pre", "post_keys_only"},
    "momentum_based_attention": {"attn", "ema", "o"},
    "momentum_decoding": {"tokens", "greedy_tokens", "log"},
    "momentum_smoe": set(DEPTH),
    "selfmod_titans_linear": {"c1", "c2_4"},
    "titans_momentum_memory": {"linear", "mlp_tanh"},
}


def test_every_kind_of_result_is_replayed() -> None:
    files = {path.name.removeprefix("B-").removesuffix(".json.gz") for path in GOLDEN.glob("B-*.json.gz")}
    assert files == set(REPLAYED)
    for name, kinds in REPLAYED.items():
        assert set(golden(name)["expected"]) == kinds, name
