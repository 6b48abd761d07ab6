"""Records tests/golden/layers.json.gz: what published torch code gives for small sequences, and its gradients.

    PYTHONPATH=. python tests/golden/record_layers.py FOLDER

FOLDER holds the packages `fla` (flash-linear-attention, with `fla-core`) and `transformers`, unpacked; their reference
functions are read from single files, and computed in float64. Nothing of their code is kept.
"""

from __future__ import annotations

import ast
import gzip
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

HEADS, TOKENS, KEYS, VALUES, SLOTS = 2, 11, 4, 3, 5
Inputs = dict[str, Tensor]


def published(folder: Path, path: str, cut: str = "") -> Any:
    """The functions of one file, in double precision; of a file that imports others only the function `cut`."""
    text = (folder / path).read_text()
    if cut:
        text = "import torch\n" + next(ast.unparse(x) for x in ast.walk(ast.parse(text))
                                       if isinstance(x, ast.FunctionDef) and x.name == cut)  # fmt: skip
    text = text.replace("torch.float32", "torch.float64").replace(".float()", ".double()")
    text = text.replace("torch.float,", "torch.float64,").replace("torch.float)", "torch.float64)")
    text = text.replace("[torch.float]", "[torch.float64]").replace("to(torch.float)", "to(torch.float64)")
    module = types.ModuleType(path)
    module.__dict__["device"] = "cpu"
    exec(compile(text, path, "exec"), module.__dict__)
    return module


def turned(*tensors: Tensor) -> list[Tensor]:
    """`[H, T, …]` as `[1, T, H, …]`."""
    return [x.transpose(0, 1)[None] for x in tensors]


def back(x: Tensor) -> Tensor:
    """`[1, T, H, d]` as `[H, T, d]`."""
    return x[0].transpose(0, 1)


def one(*tensors: Tensor) -> list[Tensor]:
    """With a batch of one."""
    return [x[None] for x in tensors]


class Draws:
    """Numbers for the inputs: vectors, unit vectors, and gates."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def vector(self, size: int, tokens: bool = True, scale: float = 1.0) -> Tensor:
        shape = (HEADS, TOKENS, size) if tokens else (HEADS, 1, size)
        return scale * torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def unit(self, size: int) -> Tensor:
        return normalize(self.vector(size), dim=-1)

    def gate(self, size: int | None = None, low: float = 0.5) -> Tensor:
        shape = (HEADS, TOKENS) if size is None else (HEADS, TOKENS, size)
        return low + (1 - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64)


def cases(folder: Path) -> dict[str, tuple[Inputs, Callable[[Inputs], Tensor]]]:
    """For each rule its inputs, and the published function of them."""
    ops = "fla/ops/{}/naive.py"

    def fla(name: str) -> Any:
        return published(folder, ops.format(name))

    found: dict[str, tuple[Inputs, Callable[[Inputs], Tensor]]] = {}
    root = KEYS**0.5
    draws = Draws(0)

    def qkv(unit: bool = True) -> Inputs:
        k = draws.unit(KEYS) if unit else draws.vector(KEYS)
        return {"q": draws.vector(KEYS), "k": k, "v": draws.vector(VALUES)}

    gla, simple, hgrn, gsa, kda = fla("gla"), fla("simple_gla"), fla("hgrn"), fla("gsa"), fla("kda")
    delta, dplr = fla("delta_rule"), fla("generalized_delta_rule/dplr")
    gated, product = fla("gated_delta_rule"), fla("gated_delta_product")
    comba, mesa, ttt, momentum = fla("comba"), fla("mesa_net"), fla("ttt"), fla("momentum_delta_rule")
    gdn2, preconditioned, retention = fla("gdn2"), fla("precond_kda"), fla("retention")
    linear = fla("linear_attn")
    rwkv6 = published(folder, "fla/ops/rwkv6/recurrent_naive.py", "naive_recurrent_rwkv6")
    rwkv4 = published(folder, "transformers/models/rwkv/modeling_rwkv.py", "rwkv_linear_attention_cpu")

    def add(name: str, inputs: Inputs, function: Callable[[Inputs], Tensor]) -> None:
        found[name] = (inputs, function)

    add("LinearAttention", qkv(), lambda x: back(
        linear.naive_recurrent_linear_attn(*turned(x["q"], x["k"], x["v"]), scale=1.0)[0]))
    add("DeltaMemory", {**qkv(), "beta": draws.gate(low=0.1)}, lambda x: delta.delta_rule_recurrence(
        *one(x["q"] * root, x["k"], x["v"], x["beta"]))[0][0])
    add("GatedDelta", {**qkv(), "alpha": draws.gate(), "beta": draws.gate(low=0.1)}, lambda x: back(
        gated.naive_recurrent_gated_delta_rule(
            *turned(x["q"], x["k"], x["v"], x["beta"], x["alpha"].log()), scale=1.0)[0]))
    add("GatedLinearAttention", {**qkv(), "alpha": draws.gate()}, lambda x: back(simple.naive_recurrent_simple_gla(
        *turned(x["q"], x["k"], x["v"], x["alpha"].log()), scale=1.0)[0]))
    pace = 1 - 2.0 ** (-5 - torch.arange(HEADS, dtype=torch.float64))
    paces = pace[:, None].expand(HEADS, TOKENS).clone()
    add("Retention", {**qkv(), "gamma": paces}, lambda x: retention.naive_retention(
        *one(x["q"] * root, x["k"], x["v"]))[0])
    mamba2 = {"x": draws.vector(VALUES), "dt": draws.gate(low=0.1), "B": draws.vector(KEYS), "C": draws.vector(KEYS),
              "A": -4 * draws.gate()[:, :1], "D": draws.vector(1, tokens=False)[..., 0]}
    add("Mamba2", mamba2, lambda x: back(simple.naive_recurrent_simple_gla(
        *turned(x["C"], x["dt"][..., None] * x["B"], x["x"], x["dt"] * x["A"]), scale=1.0)[0])
        + x["D"][..., None] * x["x"])
    add("RWKV4", {"k": draws.vector(VALUES, scale=3), "v": draws.vector(VALUES), "w": draws.vector(VALUES, False).exp(),
                  "u": draws.vector(VALUES, False)}, lambda x: torch.cat([rwkv4.rwkv_linear_attention_cpu(
        x["w"][h, 0].log(), x["u"][h, 0], x["k"][h : h + 1], x["v"][h : h + 1])[0] for h in range(HEADS)]))
    rwkv = {"r": draws.vector(KEYS), "k": draws.vector(KEYS), "v": draws.vector(VALUES), "w": draws.gate(KEYS)}
    add("RWKV6", {**rwkv, "u": draws.vector(KEYS, False)}, lambda x: rwkv6.naive_recurrent_rwkv6(
        *one(x["r"], x["k"], x["v"], x["w"].log()), x["u"][:, 0], scale=1.0)[0][0])
    add("RWKV7", {**rwkv, "kappa": draws.unit(KEYS), "a": draws.gate(KEYS, 0.0)}, lambda x: dplr.dplr_recurrence(
        *one(x["r"] * root, x["k"], x["v"], -x["kappa"], x["a"] * x["kappa"], x["w"].log()))[0][0])
    add("GeneralisedDelta", {**qkv(), "a": draws.vector(KEYS, scale=0.3), "b": draws.vector(KEYS, scale=0.3),
                             "w": draws.gate(KEYS)}, lambda x: dplr.dplr_recurrence(
        *one(x["q"] * root, x["k"], x["v"], x["a"], x["b"], x["w"].log()))[0][0])
    add("HGRN", {"x": draws.vector(VALUES), "f": draws.gate(VALUES)}, lambda x: hgrn.naive_recurrent_hgrn(
        (1 - x["f"]) * x["x"], x["f"].log())[0])
    add("HGRN2", {"q": draws.vector(KEYS), "v": draws.vector(VALUES), "f": draws.gate(KEYS)}, lambda x: back(
        gla.naive_recurrent_gla(*turned(x["q"] * root, 1 - x["f"], x["v"], x["f"].log()))[0]))
    add("GSA", {**qkv(), "f": draws.gate(SLOTS), "s": draws.gate(SLOTS, 0.1)}, lambda x: back(gsa.naive_recurrent_gsa(
        *turned(x["q"], x["k"], x["v"], x["s"], x["f"].log()), scale=1.0)[0]))
    add("KDA", {**qkv(), "alpha": draws.gate(KEYS), "beta": draws.gate(low=0.1)}, lambda x: back(
        kda.naive_recurrent_kda(*turned(x["q"], x["k"], x["v"], x["alpha"].log(), x["beta"]), scale=1.0)[0]))
    add("GatedDelta2", {**qkv(), "alpha": draws.gate(KEYS), "erase": draws.gate(KEYS, 0.0),
                        "write": draws.gate(VALUES, 0.0)}, lambda x: back(gdn2.naive_recurrent_gdn2(
        *turned(x["q"], x["k"], x["v"], x["alpha"].log(), x["erase"], x["write"]), scale=1.0)[0]))
    add("Comba", {**qkv(), "p": draws.vector(KEYS, scale=0.5), "alpha": draws.gate(), "beta": draws.gate(low=0.1)},
        lambda x: back(comba.naive_recurrent_comba(
            *turned(x["q"], x["k"], x["v"], x["p"], x["beta"], x["alpha"].log()), scale=1.0)[0]))

    def householder(x: Inputs) -> Tensor:
        k, v, beta = (torch.stack([x[name], x[f"{name}2"]], 2).flatten(1, 2) for name in ("k", "v", "beta"))
        q, k, v, beta, g = turned(x["q"], k, v, beta, x["alpha"].log())
        return back(product.naive_recurrent_gated_delta_product(q, k, v, g, beta, 1.0, num_householder=2)[0])

    add("GatedDeltaProduct", {**qkv(), "k2": draws.unit(KEYS), "v2": draws.vector(VALUES), "alpha": draws.gate(),
                              "beta": draws.gate(low=0.1), "beta2": 2 * draws.gate(low=0.1)}, householder)
    square = {"q": draws.vector(KEYS), "k": draws.unit(KEYS), "v": draws.vector(KEYS)}
    add("Mesa", {**square, "gamma": draws.gate(low=0.7), "beta": draws.gate(low=0.1),
                 "ridge": draws.vector(KEYS, False).exp()}, lambda x: back(mesa.naive_mesa_net_exact(
        *turned(x["q"], x["k"], x["v"], x["gamma"].log()), x["ridge"][:, 0], *turned(x["beta"]))[0]))
    add("MomentumDelta", {**qkv(), "p": draws.vector(KEYS, scale=0.5), "alpha": draws.gate(low=0.8),
                          "mu": draws.gate(), "beta": draws.gate(low=0.1), "lr": 0.5 * draws.gate(low=0.1)},
        lambda x: back(momentum.recurrent_momentum_delta_rule_ref(*turned(
            x["q"], x["k"], x["v"], x["alpha"].log(), x["mu"].log(), x["p"], x["beta"], x["lr"]), scale=1.0)[0]))
    add("PreconditionedKDA", {**qkv(), "alpha": draws.gate(KEYS), "beta": draws.gate(low=0.1), "gamma": draws.gate(),
                              "delta": draws.gate(low=0.1)}, lambda x: back(preconditioned.naive_recurrent_precond_kda(
        *turned(x["q"], x["k"], x["v"], x["alpha"].log(), x["gamma"].log(), x["delta"], x["beta"]), scale=1.0)[0]))
    forgetting = fla("forgetting_attn")
    seen = {"q": draws.vector(KEYS), "k": draws.vector(KEYS), "v": draws.vector(VALUES)}
    add("ForgettingAttention", {**seen, "f": draws.gate(low=0.1)}, lambda x: back(forgetting.naive_forgetting_attn(
        *turned(x["q"], x["k"], x["v"], x["f"].log()))))
    add("WindowedAttention", seen, lambda x: back(forgetting.naive_forgetting_attn(
        *turned(x["q"], x["k"], x["v"], torch.zeros(HEADS, TOKENS)), window_size=3)))
    steps = torch.tensor([0.3, 0.5, 0.2])[:, None].expand(3, 4).flatten()[:TOKENS].expand(HEADS, TOKENS)
    test_time = {"k": draws.unit(KEYS), "v": draws.vector(KEYS), "q": draws.vector(KEYS), "lr": steps.double().clone(),
                 "weight": 1 + draws.vector(KEYS, False, 0.2), "bias": draws.vector(KEYS, False, 0.2)}
    start = 0.3 * torch.randn(HEADS, 1, KEYS, KEYS, generator=draws.generator, dtype=torch.float64)
    test_time |= {"start": start, "start_bias": draws.vector(KEYS, False, 0.2)}

    def test_time_trained(x: Inputs) -> Tensor:
        q, k, v, lr = turned(x["q"].clone(), x["k"], x["v"], x["lr"][..., None])
        o = ttt.chunk_ttt_linear_ref(
            q, k, v, x["weight"][:, 0], x["bias"][:, 0], lr, scale=1.0, eps=1e-6, mini_batch_size=4,
            initial_state=x["start"][:, 0].mT[None], initial_state_bias=x["start_bias"][None],
        )[0]
        return back(o)

    add("TTTLinear", test_time, test_time_trained)

    xlstm = published(folder, "transformers/models/xlstm/modeling_xlstm.py", "mlstm_recurrent_step_native")

    def extended(x: Inputs) -> Tensor:
        heads, outputs = x["q"].shape[0], []
        state = (torch.zeros(1, heads, KEYS, VALUES).double(), torch.zeros(1, heads, KEYS).double(),
                 torch.zeros(1, heads, 1).double())
        for t in range(TOKENS):
            q, k, v = (x[name][None, :, t] for name in "qkv")
            i, f = x["i"][None, :, t, None], x["f"][None, :, t, None]
            gate = f - torch.log1p(-f.exp())  # the logit of a sigmoid whose logarithm is f
            h, state = xlstm.mlstm_recurrent_step_native(q * root, k, v, i, gate, *state)
            outputs.append(h[0])
        return torch.stack(outputs, 1)

    add("MLSTM", {**qkv(False), "i": draws.vector(1, scale=3)[..., 0], "f": draws.gate().log()}, extended)
    return found


# its step size is that of the token that reads, not of the one that writes: the same in the sum over a mini-batch only
UNLIKE = {"TTTLinear": ("lr",)}
HYPERS: dict[str, dict[str, int | str]] = {
    "TTTLinear": {"mini_batch": 4}, "WindowedAttention": {"window": 3, "positions": "none"},
}


def main() -> None:
    """Writes the file."""
    torch.set_default_dtype(torch.float64)
    table = {}
    for name, (inputs, function) in cases(Path(sys.argv[1])).items():
        inputs = {k: v if name == "Retention" and k == "gamma" else v.round(decimals=3) for k, v in inputs.items()}
        leaves = {k: v.clone().requires_grad_() for k, v in inputs.items()}
        output = function(leaves)
        weights = torch.linspace(0.5, 1.5, output.numel(), dtype=torch.float64).view(output.shape)
        gradients = torch.autograd.grad((output * weights).sum(), list(leaves.values()), allow_unused=True)
        table[name] = {
            "hypers": HYPERS.get(name, {}),
            "inputs": {k: v.tolist() for k, v in inputs.items()},
            "output": output.round(decimals=12).tolist(),
            "gradients": {
                k: g.round(decimals=12).tolist() for k, g in zip(inputs, gradients, strict=True)
                if g is not None and k not in UNLIKE.get(name, ())
            },
        }
        print(name, tuple(output.shape), output.dtype)
    place = Path(__file__).parent / "layers.json.gz"
    with open(place, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as stream:
        stream.write(json.dumps(table).encode())


if __name__ == "__main__":
    main()
