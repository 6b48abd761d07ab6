"""Rules over layers and rules of one call, as torch modules: golden data, references written by hand, gradients."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import dotopt
import dotopt.stdlib
from dotopt.compiler.text.errors import OptError

GOLDEN = Path(__file__).parent / "golden"
LAYERS = 4


def golden(name: str) -> dict[str, Any]:
    with gzip.open(GOLDEN / f"B-{name}.json.gz", "rt") as file:
        found: dict[str, Any] = json.load(file)
    return found


class Experts(nn.Module):
    """Two of three experts by the softmax of their logits, as in the golden file."""

    def __init__(self, weights: dict[str, Any]) -> None:
        super().__init__()
        for name, value in weights.items():
            setattr(self, name, nn.Parameter(torch.tensor(value, dtype=torch.float64)))

    def forward(self, x: Tensor) -> Tensor:
        logits = x @ self.Wg.T + self.bg
        best = logits.topk(2, dim=-1)
        hidden = torch.relu(torch.einsum("...d,ehd->...eh", x, self.W1) + self.b1)
        every = torch.einsum("...eh,edh->...ed", hidden, self.W2) + self.b2
        chosen = every.gather(-2, best.indices[..., None].expand(*best.indices.shape, x.shape[-1]))
        return (best.values.softmax(-1)[..., None] * chosen).sum(-2)


DEPTH: dict[str, tuple[str, dict[str, Any]]] = {
    "smoe": ("MomentumSMoE", {"gamma": 1.0, "mu": 0.0}),
    "momentum": ("MomentumSMoE", {"gamma": 1.0, "mu": 0.7}),
    "adam": ("AdamSMoE", {"betas": (0.9, 0.999), "eps": 1e-8, "gamma": 0.1, "kappa": 0.0}),
    "robust": ("RobustMomentumSMoE", {"rate": 0.6, "condition": 4.0, "smoothness": 2.0}),
    "momentum_code": ("MomentumSMoE", {"form": "code", "mu": 0.7, "gamma": 1.0}),
    "adam_code": ("AdamSMoE", {"form": "code", "mu": 0.7, "gamma2": 1.0, "gamma": 1.0, "betas": (0.9, 0.999)}),
}


@pytest.mark.parametrize("kind", DEPTH)
def test_golden_layers(kind: str) -> None:
    data = golden("momentum_smoe")
    name, given = DEPTH[kind]
    experts = [Experts(weights) for weights in data["inputs"]["layers"]]
    network = getattr(dotopt.stdlib, name)(experts, **given)
    x, state = torch.tensor(data["inputs"]["x"], dtype=torch.float64), None
    first, momenta = x, []
    for wanted in data["expected"][kind]["x_per_layer"]:
        x, state = network.step(x, state)
        momenta.append(state["p"])
        torch.testing.assert_close(x, torch.tensor(wanted, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(network(first), x, rtol=0, atol=0)
    wanted = torch.tensor(data["expected"][kind]["p_final"], dtype=torch.float64)
    if kind != "smoe":  # the file has zeros there; the authors fill Adam's momentum in the first layer only
        torch.testing.assert_close(momenta[0 if kind == "adam_code" else -1], wanted, rtol=1e-9, atol=1e-9)


# ---- the equations of the paper and the layers of the authors' code, written by hand ---------------------------------


def momentum(x: Tensor, experts: nn.ModuleList) -> Tensor:
    p = torch.zeros_like(x)
    for expert in experts:
        p = 0.6 * p + expert(x)
        x = x + 0.8 * p
    return x


def adam(x: Tensor, experts: nn.ModuleList) -> Tensor:
    p = m = torch.zeros_like(x)
    for expert in experts:
        f = expert(x)
        p = 0.8 * p + 0.2 * f
        m = 0.95 * m + 0.05 * f * f
        x = x + 0.3 * p / (m + 1e-3).sqrt() - 0.1 * x
    return x


def robust(x: Tensor, experts: nn.ModuleList) -> Tensor:
    k, rho, smoothness = 5.0, 0.7, 2.0
    gamma = k * (1 - rho) ** 2 * (1 + rho) / smoothness
    mu = k * rho**3 / (k - 1)
    alpha = rho**3 / ((k - 1) * (1 - rho) ** 2 * (1 + rho))
    p = torch.zeros_like(x)
    for expert in experts:
        p = mu * p + expert(x + alpha * gamma * p)
        x = x + gamma * p
    return x


def momentum_code(x: Tensor, experts: nn.ModuleList) -> Tensor:
    def norm(z: Tensor) -> Tensor:
        return functional.layer_norm(z, z.shape[-1:])

    m = torch.zeros_like(x)
    for expert in experts:
        m = 0.6 * m + 0.8 * expert(x)
        x = norm(x + norm(x - m))
    return x


BY_HAND = {
    "momentum": (momentum, "MomentumSMoE", {"mu": 0.6, "gamma": 0.8}),
    "adam": (adam, "AdamSMoE", {"betas": (0.8, 0.95), "eps": 1e-3, "gamma": 0.3, "kappa": 0.1}),
    "robust": (robust, "RobustMomentumSMoE", {"condition": 5.0, "rate": 0.7, "smoothness": 2.0}),
    "momentum_code": (momentum_code, "MomentumSMoE", {"mu": 0.6, "gamma": 0.8, "form": "code"}),
}


def networks(kind: str, dtype: torch.dtype = torch.float64) -> tuple[Any, Any, nn.ModuleList, Tensor]:
    reference, name, given = BY_HAND[kind]
    torch.manual_seed(0)
    experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6)) for _ in range(LAYERS))
    experts.to(dtype)
    return getattr(dotopt.stdlib, name)(experts, **given), reference, experts, torch.randn(2, 3, 6, dtype=dtype)


@pytest.mark.parametrize("kind", BY_HAND)
def test_outputs_and_gradients_against_the_equations(kind: str) -> None:
    network, reference, experts, x = networks(kind)
    x.requires_grad_()
    wanted = reference(x, experts)
    given = (x, *experts.parameters())
    expected = torch.autograd.grad(wanted.square().sum(), given)
    found = network(x)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for a, b in zip(torch.autograd.grad(found.square().sum(), given), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert {id(p) for p in network.parameters()} == {id(p) for p in experts.parameters()}


def test_other_blocks_between_the_layers() -> None:
    """The momentum passes an attention block by: it changes the hidden state only."""
    network, _, experts, x = networks("momentum")
    h, state, p, y = x, None, torch.zeros_like(x), x
    for expert in experts:
        h, state = network.step(h + torch.sin(h), state)
        y = y + torch.sin(y)
        p = 0.6 * p + expert(y)
        y = y + 0.8 * p
    torch.testing.assert_close(h, y, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="4 layers"):
        network.step(h, state)


def test_a_pass_remembers_nothing_of_the_one_before() -> None:
    network, _, _, x = networks("adam")
    torch.testing.assert_close(network(x), network(x), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moves_between_dtypes(dtype: torch.dtype) -> None:
    network, _, _, x = networks("momentum")
    wanted = network(x)
    low = network.to(dtype)(x.to(dtype))
    assert low.dtype == dtype
    torch.testing.assert_close(low.double(), wanted, rtol=0.05, atol=0.1)


def test_moves_between_devices_and_copies() -> None:
    network, _, _, x = networks("robust")
    on_meta = network.to("meta")(x.to("meta"))
    assert on_meta.device.type == "meta" and on_meta.shape == x.shape
    network, reference, experts, x = networks("robust")
    network.load_state_dict({name: value.clone() for name, value in network.state_dict().items()})
    torch.testing.assert_close(network(x), reference(x, experts))


def test_compiles_without_a_break() -> None:
    network, _, _, x = networks("adam")
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x), rtol=1e-12, atol=1e-12)


def test_copies_and_pickles() -> None:
    network, reference, experts, x = networks("momentum")
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert type(other) is type(network) and other.hyper == network.hyper
        torch.testing.assert_close(other(x), reference(x, experts))
        assert {id(p) for p in other.parameters()}.isdisjoint(id(p) for p in experts.parameters())
    memory = pickle.loads(pickle.dumps(dotopt.stdlib.GatedDelta(block=16)))
    assert memory.block == 16 and memory.functions is dotopt.stdlib.GatedDelta.rule.functions[memory.options]
    decoder = pickle.loads(pickle.dumps(dotopt.stdlib.MomentumDecoding(k=3)))
    assert decoder.hyper["k"] == 3


def test_pickles_of_a_file_reach_another_process(tmp_path: Path) -> None:
    text = 'rule Keeps\ninput x : real[d]\nstate s : real[d] = 0\noutput y : like x\ns\' = ½*s + x\ny = s\'\n'
    (tmp_path / "keeps.opt").write_text(text)
    module = dotopt.load(tmp_path / "keeps.opt").Keeps()
    torch.save(module, tmp_path / "module.pt")
    code = f"import torch; print(torch.load({str(tmp_path / 'module.pt')!r}, weights_only=False)(torch.ones(2, 1)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{module(torch.ones(2, 1))}\n"


def test_a_learned_momentum() -> None:
    _, reference, experts, x = networks("momentum")
    mu = nn.Parameter(torch.tensor(0.6, dtype=torch.float64))
    network = dotopt.stdlib.MomentumSMoE(experts, mu=mu, gamma=0.8)
    assert dict(network.named_parameters())["mu"] is mu
    torch.testing.assert_close(network(x), reference(x, experts))
    network(x).sum().backward()
    assert mu.grad is not None and mu.grad.abs() > 0


def test_mistakes_of_use(tmp_path: Path) -> None:
    network, _, experts, x = networks("momentum")
    with pytest.raises(TypeError, match="needs `F`: a module for each layer"):
        dotopt.stdlib.MomentumSMoE(mu=0.5)
    with pytest.raises(TypeError, match="pass a sequence"):
        dotopt.stdlib.MomentumSMoE(experts[0][0])
    with pytest.raises(TypeError, match="did you mean `gamma`"):
        dotopt.stdlib.MomentumSMoE(experts, gama=1)
    with pytest.raises(ValueError, match=r"mu=1\.5 is out of range"):
        dotopt.stdlib.MomentumSMoE(experts, mu=1.5)
    with pytest.raises(ValueError, match=r"`h` is \[..., tokens, d\]"):
        network(x[0, 0])
    with pytest.raises(TypeError, match="takes the inputs W, X, E, x"):
        dotopt.stdlib.InContextLearning()(x)
    text = "rule Untyped\nfunction F[l in layers](x)\ninput h : real[d]\noutput y : like h\n\n"
    loop = "iterate x from h, p from 0 for l in layers:\n  p' = ½*p + F[l](x)\n  x' = x + p'\n\ny = x\n"
    (tmp_path / "untyped.opt").write_text(text + loop)
    with pytest.raises(OptError, match="without the type of its values, such as `: like x`"):
        dotopt.load(tmp_path / "untyped.opt")


def test_a_loop_that_reads_the_input_in_every_layer(tmp_path: Path) -> None:
    """Such a network is one call: there is no hidden state that says it all."""
    (tmp_path / "skips.opt").write_text(
        "rule Skips\nfunction F[l in layers](x) : like x\nfunction G(x) : like x\ninput h : real[d]\nhyper a = 0.5\n"
        "output y : like h\n\niterate x from h for l in layers:\n  x' = a*x + F[l](x) + l*h\n\ny = G(x)\n"
    )
    torch.manual_seed(0)
    layers, last = [nn.Linear(3, 3), nn.Linear(3, 3)], nn.Linear(3, 3)
    network = dotopt.load(tmp_path / "skips.opt").Skips(layers, last, a=0.25)
    h = torch.randn(4, 3)
    wanted = h
    for number, layer in enumerate(layers, start=1):
        wanted = 0.25 * wanted + layer(wanted) + number * h
    torch.testing.assert_close(network(h), last(wanted))


def test_functions_in_a_rule_over_sequences(tmp_path: Path) -> None:
    """A memory between modules of the user: all tokens at once, in pieces, and by hand."""
    (tmp_path / "between.opt").write_text(
        "rule Between\nfunction G(x) : like x\nfunction F[l in levels](z) : like z\ninput x : real[d]\n"
        "input β in [0, 2]\nstate M : real[d, d] = 0\noutput y : like x\n\nk = unit(G(x))\n"
        "L(S) = ½*‖S @ k - x‖²\nM' = M - β*∇L(M)\no = M' @ k\n\n"
        "iterate z from o for l in levels:\n  z' = z + F[l](z)\n\ny = z\n"
    )
    torch.manual_seed(0)
    first, levels = nn.Linear(4, 4), [nn.Linear(4, 4), nn.Linear(4, 4)]
    rule = dotopt.load(tmp_path / "between.opt").Between
    module = rule(G=first, F=levels, block=4)
    (functions,) = rule.rule.functions.values()
    assert functions.stretch is not None, functions.reasons
    assert len(list(module.parameters())) == 6
    x, beta = torch.randn(2, 11, 4), torch.rand(2, 11)
    memory, wanted = torch.zeros(2, 4, 4), []
    for t in range(11):
        k = functional.normalize(first(x[:, t]), dim=-1)
        error = x[:, t] - (memory @ k[..., None])[..., 0]
        memory = memory + beta[:, t, None, None] * error[..., None] * k[:, None]
        z = (memory @ k[..., None])[..., 0]
        for level in levels:
            z = z + level(z)
        wanted.append(z)
    whole = module(x, beta)
    torch.testing.assert_close(whole, torch.stack(wanted, 1), rtol=1e-4, atol=1e-5)
    start, state = module(x[:, :5], beta[:, :5], return_state=True)
    rest = module(x[:, 5:], beta[:, 5:], state=state)
    torch.testing.assert_close(torch.cat([start, rest], 1), whole, rtol=1e-4, atol=1e-5)
    whole.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())
    with pytest.raises(TypeError, match="needs `G`: a module or another callable"):
        rule(F=levels)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_a_module_inside_a_memory_is_asked_in_its_own_dtype(kind: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "asked.opt"
    path.write_text(
        "rule Asked\nfunction F(a)\ninput x : real[d]\nstate s : real[d] = 0\noutput y : real[d]\n"
        "s' = 0.5*s + F(x)\ny = s'\n"
    )
    inner = torch.nn.Linear(3, 3).to(kind)
    layer = dotopt.load(path).Asked(inner)
    x = torch.randn(2, 4, 3, dtype=kind)
    y = layer(x)
    wanted = inner(x[:, 0])
    assert y.dtype == kind
    torch.testing.assert_close(y[:, 0], wanted)
    y.sum().backward()
    assert inner.weight.grad is not None and inner.weight.grad.dtype == kind


# ---- rules of one call, and formulas ---------------------------------------------------------------------------------


def test_examples_in_context_are_one_step() -> None:
    data = golden("icl_dual_form")
    given = {name: torch.tensor(value, dtype=torch.float64) for name, value in data["inputs"].items()}
    learner = dotopt.stdlib.InContextLearning()
    found = learner(given["W0"], given["Xp"], given["E"], given["x"])
    torch.testing.assert_close(found, torch.tensor(data["expected"]["Fx"], dtype=torch.float64))
    weights = given["W0"].clone().requires_grad_()  # the dual: one step of gradient descent on the examples
    loss = -((given["Xp"] @ weights.T) * given["E"]).sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    torch.testing.assert_close(found, (given["W0"] - gradient) @ given["x"])
    batch = learner(given["W0"], given["Xp"], given["E"], torch.stack([given["x"], given["q"]]))
    torch.testing.assert_close(batch[0], found)


def test_softmax_attention_of_each_query() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 4)
    found = dotopt.stdlib.softmax_attention(q, k[..., None, :, :], v[..., None, :, :])
    torch.testing.assert_close(found, functional.scaled_dot_product_attention(q, k, v))


def test_a_formula_is_a_function() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6)
    torch.testing.assert_close(dotopt.stdlib.layer_norm(x), functional.layer_norm(x, (6,)))
    torch.testing.assert_close(dotopt.stdlib.layer_norm(x, eps=0.1), functional.layer_norm(x, (6,), eps=0.1))
