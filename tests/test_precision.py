"""States in fewer bits and parameters that lose nothing to rounding: codes, kernels, checkpoints, bytes, training."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dotopt
import dotopt.stdlib as stdlib
from dotopt.compiler.schedule.storage import BLOCK, FORMATS, SMALL
from dotopt.compiler.text.errors import OptError
from dotopt.grammar.files import catalogue
from dotopt.runtime.backends import cpu
from dotopt.runtime.optimizer.rounding import joined
from dotopt.runtime.quantise import decode, encode
from dotopt.runtime.report.explain import explain

HERE = Path(__file__).parent

_spec = importlib.util.spec_from_file_location("precision_cases", HERE / "precision_cases.py")
assert _spec is not None and _spec.loader is not None
cases = importlib.util.module_from_spec(_spec)
sys.modules["precision_cases"] = cases
_spec.loader.exec_module(cases)
run, differences = cases.run, cases.differences

CODED = [name for name, format in FORMATS.items() if format.blocks]
needs_c = pytest.mark.skipif(not cpu.available(), reason="no C compiler")


def sample(format: str, count: int = 5000, spread: float = 3) -> torch.Tensor:
    """Numbers over many orders of magnitude."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(count, generator=generator) * torch.exp(spread * torch.randn(count, generator=generator))
    return x * x if FORMATS[format].nonnegative else x


# ---- codes ----


@pytest.mark.parametrize("format", CODED)
def test_every_code_comes_back(format: str) -> None:
    """What has been stored once is stored again without loss; the largest entry of a block is kept as it is."""
    x = sample(format)
    codes, scales = encode(x, format)
    once = decode(codes, scales, format)
    again, _ = encode(once, format)
    assert torch.equal(again.view(torch.uint8), codes.view(torch.uint8))
    blocks = x[: 19 * BLOCK].view(-1, BLOCK).abs()
    largest = once[: 19 * BLOCK].view(-1, BLOCK).abs().gather(1, blocks.argmax(1, keepdim=True))
    torch.testing.assert_close(largest.squeeze(1), blocks.amax(1), rtol=3e-7, atol=0)
    assert not codes.view(torch.uint8)[x == 0].any()


def steps_of(codes: torch.Tensor) -> torch.Tensor:
    """Half the distance of neighbouring dynamic codes at each code, before it is scaled."""
    p = 2.0 ** codes.float().abs().clamp(min=1).log2().floor()
    return 7 / 16 * p * p


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=2 * BLOCK))
def test_dynamic_codes_are_off_by_half_a_step_at_most(numbers: list[float]) -> None:
    x = torch.tensor(numbers, dtype=torch.float32)
    for format, values in (("int8", x), ("uint8", x.abs())):
        codes, scales = encode(values, format)
        scale = scales.repeat_interleave(BLOCK)[: x.numel()]
        bound = steps_of(codes) * scale * (1 + 1e-5) + torch.where(scale < 2.0**-126, 3e-32, 0.0)
        assert ((decode(codes, scales, format) - values).abs() <= bound).all()


def test_other_codes_are_as_fine_as_they_say() -> None:
    """Logarithmic codes: within a 16th of the entry over 31 octaves; e4m3 likewise over 15; roots: of the root."""
    x = sample("log8")
    size = x.view(-1)[: 19 * BLOCK].view(-1, BLOCK)
    size = size / size.amax(1, keepdim=True)
    for format, octaves in (("log8", 30), ("fp8", 14)):
        y = decode(*encode(x, format), format)[: 19 * BLOCK].view(-1, BLOCK)
        z = x[: 19 * BLOCK].view(-1, BLOCK)
        assert ((y - z).abs() <= z / 16 * 1.0001)[size > 2.0**-octaves].all()
    torch.testing.assert_close(
        decode(*encode(x, "sqrt8"), "sqrt8"), decode(*encode(x.sqrt(), "uint8"), "uint8").square(), rtol=1e-6, atol=0
    )


def dynamic_map(signed: bool) -> torch.Tensor:
    """The codes of Dettmers et al.: decades with 1, 2, … 64 even steps (twice as many without a sign), 0 and 1."""
    values = [0.0, 1.0]
    for decade in range(7):
        edges = np.linspace(0.1, 1, 2 ** (decade + (not signed)) + 1)
        middles = 10.0 ** (decade - 6) * (edges[1:] + edges[:-1]) / 2
        values += [*middles, *(-middles if signed else [])]
    return torch.tensor(sorted(values), dtype=torch.float32)


@pytest.mark.parametrize(("format", "signed"), [("int8", True), ("uint8", False)])
def test_as_exact_as_the_published_codes(format: str, signed: bool) -> None:
    """Against their codes with rounding to the nearest; and against bitsandbytes itself where it is installed."""
    x = sample(format, 256 * 200, spread=1)
    blocks = x.view(-1, BLOCK)
    table, largest = dynamic_map(signed), blocks.abs().amax(1, keepdim=True)
    theirs = table[((blocks / largest)[..., None] - table).abs().argmin(-1)] * largest
    ours = decode(*encode(x, format), format).view(-1, BLOCK)

    def error(y: torch.Tensor) -> float:
        return float((y - blocks).square().mean().sqrt())

    assert error(ours) < error(theirs)
    if importlib.util.find_spec("bitsandbytes") is not None:
        from bitsandbytes import functional

        torch.testing.assert_close(functional.create_dynamic_map(signed), table, rtol=1e-6, atol=0)
        packed = functional.quantize_blockwise(x, code=functional.create_dynamic_map(signed), blocksize=BLOCK)
        assert error(ours) < error(functional.dequantize_blockwise(*packed).view(-1, BLOCK))


@pytest.mark.parametrize("format", CODED)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_seen_in_its_block_alone(format: str, value: float) -> None:
    x = sample(format, 3 * BLOCK)
    x[300] = value
    y = decode(*encode(x, format), format).view(3, BLOCK)
    assert y[1].isnan().any() and not y[0].isnan().any() and not y[2].isnan().any()


# ---- kernels ----

RULES = ["AdamW", "Lion", "LAMB", "CautiousAdamW", "Muon", "AdaBelief"]
KEPT = [
    {"state_dtype": "int8"}, {"state_dtype": "bf16"}, {"state_dtype": "fp16"}, {"state_dtype": "fp8"},
    {"state_dtype": {"exp_avg": "int8", "v": "int8:log"}}, {"state_dtype": {"v": "int8:sqrt"}},
    {"state_dtype": "int8", "dtype": torch.float64}, {"state_dtype": "int8", "dtype": torch.bfloat16},
    {"param_rounding": "kahan", "dtype": torch.bfloat16}, {"param_rounding": "kahan", "dtype": torch.float16},
    {"param_rounding": "low_word", "dtype": torch.bfloat16, "state_dtype": "int8"},
    {"param_rounding": "stochastic:5", "dtype": torch.bfloat16},
]  # fmt: skip


@needs_c
@pytest.mark.parametrize("name", RULES)
def test_c_and_torch_store_the_same_codes(name: str) -> None:
    shapes = ((64, 100), (300, 70)) if name == "Muon" else cases.SHAPES
    found = differences(name, "cpu", shapes=shapes, state_dtype="int8")
    assert found.on_kernels and found.params < 1e-5 and found.codes <= 1e-3 and found.apart <= 1


@needs_c
@pytest.mark.parametrize("options", KEPT, ids=str)
def test_c_and_torch_agree_in_every_format(options: dict[str, object]) -> None:
    found = differences("AdamW", "cpu", **options)
    assert found.on_kernels and found.params < found.tolerance and found.codes <= 1e-3 and found.apart <= 1


@needs_c
def test_rules_with_rows_run_on_torch_where_there_are_blocks() -> None:
    """Blocks do not end where rows do; plain formats do not mind."""
    assert not differences("AdamP", "auto", state_dtype="int8").on_kernels
    with pytest.raises(RuntimeError, match="its kernels go by rows"):
        differences("AdamP", "cpu", state_dtype="int8")
    assert differences("AdamP", "cpu", state_dtype="bf16", tolerance=0.02).on_kernels


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_triton_and_torch_store_the_same_codes() -> None:
    """In a process of its own, since Triton looks for the interpreter when it is imported."""
    done = subprocess.run(
        [sys.executable, str(HERE / "precision_cases.py")],
        capture_output=True, text=True, check=False, cwd=HERE.parent,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(cases.INTERPRETED)
    for line in lines:
        assert line["on_kernels"] and line["params"] < line["tolerance"], line
        assert line["codes"] <= 1e-3 and line["apart"] <= 1, line


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize("second", ["uint8", "sqrt8"])
def test_kernels_for_cards_move_128_bits_at_a_time(second: str) -> None:
    """Compiled for a card that is not here: codes too are loaded 16 at a time, and nothing is spilled."""
    spec = importlib.util.spec_from_file_location("codegen", HERE.parent / "bench" / "codegen.py")
    assert spec is not None and spec.loader is not None
    codegen = sys.modules.setdefault("codegen", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(codegen)
    stored = {"m": "int8", "m scale": "fp32", "v": second, "v scale": "fp32"}
    one = next(iter(codegen.figures("AdamW", targets=("cuda:90",), stored=stored)))
    assert (one.loads, one.stores) == one.wanted == (10, 6) and one.narrow == 0 and one.local == 0, one


@needs_c
@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_float32_states_are_what_they_were(backend: str) -> None:
    plain, _ = run("AdamW", backend)
    named, _ = run("AdamW", backend, state_dtype={"m": "fp32", "v": "fp32"})
    assert all(map(torch.equal, plain, named))


# ---- rounding of parameters ----


def trajectory(dtype: torch.dtype, backend: str = "cpu", steps: int = 60, **options: object) -> tuple[list, object]:
    """Small steps from a start and with gradients that are exact in 16 bits."""
    generator = torch.Generator().manual_seed(4)
    p = torch.nn.Parameter(torch.randn(400, generator=generator).to(torch.bfloat16).to(dtype))
    optimizer = stdlib.AdamW([p], lr=1e-3, weight_decay=0.1, backend=backend, **options)
    for _ in range(steps):
        p.grad = torch.randn(400, generator=generator).to(torch.bfloat16).to(dtype)
        optimizer.step()
    return [p.detach()], optimizer.state[p]


@needs_c
def test_a_low_word_restores_float32_exactly() -> None:
    (wide,), _ = trajectory(torch.float32)
    (p,), state = trajectory(torch.bfloat16, param_rounding="low_word")
    assert torch.equal(joined(p, state["low_word"], "low_word"), wide)


@needs_c
@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 16), (torch.float16, 22)])
def test_kahan_follows_float32(dtype: torch.dtype, bits: int) -> None:
    """Both words hold about twice the bits of one: each step is off by a unit in the last of them, not more."""
    (wide,), _ = trajectory(torch.float32)
    (p,), state = trajectory(dtype, param_rounding="kahan")
    both, (plain,) = joined(p, state["compensation"], "kahan"), trajectory(dtype)[0]
    assert ((both - wide).abs() <= 60 * 2.0**-bits * wide.abs().clamp(min=0.05)).all()
    assert (plain.float() - wide).abs().mean() > 5 * (both - wide).abs().mean()


def test_rounding_by_chance_is_right_on_average() -> None:
    """Each entry rounds to one of its two neighbours, up with the probability of what is cut off."""
    p = torch.nn.Parameter(torch.ones(1 << 16, dtype=torch.bfloat16))
    optimizer = stdlib.SGD([p], lr=2.0**-9, param_rounding="stochastic", backend="torch")  # a unit is 2^-8 below 1
    p.grad = torch.full_like(p, 0.5)  # to 1 - 2^-10, a quarter of the way
    optimizer.step()
    below = (p < 1).float()
    assert set(p.detach().unique().tolist()) == {1.0, 1 - 2.0**-8}
    assert abs(float(below.mean()) - 0.25) < 4 * (0.25 * 0.75 / below.numel()) ** 0.5
    for lag in (1, 2, 16):  # neighbours know nothing of each other
        assert abs(float(np.corrcoef(below[:-lag], below[lag:])[0, 1])) < 4 / below.numel() ** 0.5
    (plain,) = trajectory(torch.bfloat16)[0]
    (chance,) = trajectory(torch.bfloat16, param_rounding="stochastic")[0]
    (wide,), _ = trajectory(torch.float32)
    assert abs((chance.float() - wide).mean()) < 2e-3 and (chance.float() - wide).abs().mean() < 0.02
    assert not torch.equal(plain, chance)


def test_tensors_and_seeds_have_noise_of_their_own() -> None:
    def rounded(seed: int) -> list[torch.Tensor]:
        params = [torch.nn.Parameter(torch.ones(512, dtype=torch.bfloat16)) for _ in range(2)]
        optimizer = stdlib.SGD(params, lr=2.0**-10, param_rounding=f"stochastic:{seed}")
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
        return [p.detach() for p in params]

    (a, b), (c, _) = rounded(1), rounded(2)
    assert not torch.equal(a, b) and not torch.equal(a, c) and torch.equal(rounded(1)[1], b)


# ---- bytes ----


@pytest.mark.parametrize("name", ["AdamW", "Lion", "Adan", "Adadelta"])
@pytest.mark.parametrize("given", ["int8", "bf16", "fp8", None])
def test_states_take_the_bytes_that_explain_says(name: str, given: str | None) -> None:
    """The storage of the state tensors of a step, but for the clocks; small tensors as `explain` says of them."""
    path = next(p for p in catalogue().values() if f"rule {name}\n" in p.read_text(encoding="utf-8"))
    facts, full = explain(path, state_dtype=given), explain(path)
    shapes = ((64, 100), (SMALL // BLOCK, BLOCK), (13,))
    params, optimizer = run(name, "torch", shapes=shapes, steps=1, state_dtype=given)
    for p in params:
        found = sum(t.untyped_storage().nbytes() for key, t in optimizer.state[p].items() if key != "step")
        small = p.numel() < SMALL and given in ("int8", "fp8")
        assert found == (full if small else facts).bytes * p.numel()
    read, written = facts.costs[0].read, facts.costs[0].written
    assert read + written == facts.costs[0].floor[0] + facts.costs[0].floor[1]
    assert written == 4 + facts.bytes


def test_bytes_by_hand() -> None:
    path = next(p for p in catalogue().values() if "rule AdamW\n" in p.read_text(encoding="utf-8"))
    (cost, *_) = explain(path, state_dtype="int8").costs
    assert (cost.read, cost.written) == (4 + 4 + 2 * (1 + 4 / 256), 4 + 2 * (1 + 4 / 256))
    (cost, *_) = explain(path, state_dtype={"m": "bf16", "exp_avg_sq": "int8:log"}).costs
    assert (cost.read, cost.written) == (8 + 2 + 1 + 1 / 64, 4 + 2 + 1 + 1 / 64)


# ---- checkpoints ----


def resumed(saved: dict, start: list[torch.Tensor], backend: str, **options: object) -> list[torch.Tensor]:
    """Three more steps of a new optimizer that has loaded `saved`."""
    params = [torch.nn.Parameter(p.detach().clone()) for p in start]
    optimizer = stdlib.AdamW(params, lr=1e-2, backend=backend, **options)
    optimizer.load_state_dict(copy.deepcopy(saved))
    cases.step(params, optimizer, 3, seed=9)
    return params


@needs_c
@pytest.mark.parametrize("given", ["int8", {"m": "fp8", "v": "int8:log"}, "bf16"], ids=str)
def test_checkpoints_move_between_backends_and_formats(given: object) -> None:
    params, optimizer = run("AdamW", "cpu", state_dtype=given)
    saved = copy.deepcopy(optimizer.state_dict())
    start = [p.detach().clone() for p in params]
    assert saved["state"][0]["exp_avg_sq"].dtype != torch.float32
    cases.step(params, optimizer, 3, seed=9)
    for p, q in zip(params, resumed(saved, start, "torch", state_dtype=given), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=5e-4 if given != "int8" else 1e-5)
    for p, q in zip(params, resumed(saved, start, "cpu"), strict=True):  # in float32 from now on
        torch.testing.assert_close(p, q, rtol=0, atol=5e-3)
    wide, optimizer = run("AdamW", "cpu")
    saved, start = copy.deepcopy(optimizer.state_dict()), [p.detach().clone() for p in wide]
    cases.step(wide, optimizer, 3, seed=9)
    for p, q in zip(wide, resumed(saved, start, "cpu", state_dtype=given), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=5e-3)


def test_loading_keeps_the_format_chosen_here_and_the_bits_that_were_saved() -> None:
    params, optimizer = run("AdamW", "torch", state_dtype="int8")
    again = stdlib.AdamW([torch.nn.Parameter(p.detach().clone()) for p in params], state_dtype="int8")
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[0]["state_dtype"] == "int8"
    for p, q in zip(params, again.param_groups[0]["params"], strict=True):
        assert optimizer.state[p].keys() == again.state[q].keys()
        assert all(torch.equal(value, again.state[q][key]) for key, value in optimizer.state[p].items())
    copied = copy.deepcopy(optimizer)
    cases.step(copied.param_groups[0]["params"], copied, 1, seed=1)


def test_formats_do_not_change_under_way() -> None:
    params, optimizer = run("AdamW", "torch", state_dtype="int8")
    optimizer.param_groups[0]["state_dtype"] = None
    before = [p.detach().clone() for p in params]
    with pytest.raises(RuntimeError, match="`state_dtype` changed after the first step"):
        cases.step(params, optimizer, 1, seed=1)
    assert all(map(torch.equal, before, params))


def test_groups_choose_for_themselves() -> None:
    p, q = torch.nn.Parameter(torch.ones(5000)), torch.nn.Parameter(torch.ones(5000))
    optimizer = stdlib.AdamW([{"params": [p], "state_dtype": "int8"}, {"params": [q]}])
    cases.step([p, q], optimizer, 2, seed=1)
    assert optimizer.state[p]["exp_avg"].dtype == torch.int8 and optimizer.state[q]["exp_avg"].dtype == torch.float32


# ---- what cannot be had ----


@pytest.mark.parametrize(
    ("name", "options", "code", "says"),
    [
        ("AdamW", {"state_dtype": {"q": "int8"}}, "E602", "AdamW has no state `q`.*`m`, `v`"),
        ("AdamW", {"state_dtype": "int4"}, "E603", '"bf16", "fp16", "int8", "int8:sqrt", "int8:log", "fp8"'),
        ("AdamW", {"state_dtype": {"m": "int8:sqrt"}}, "E604", 'may be negative.*"int8", "fp8"'),
        ("Shampoo", {"state_dtype": {"L": "int8"}}, "E604", "another shape than the parameter.*leave `L` out"),
        ("NAdam", {"state_dtype": {"P": "int8"}}, "E604", "`P` cannot be kept as 'int8': it is one number"),
        ("AdamW", {"param_rounding": "truncate"}, "E605", '"kahan", "low_word", "stochastic"'),
        ("AdamW", {"param_rounding": "low_word", "dtype": torch.float16}, "E605", "for fp16 there is `kahan`"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_can(name: str, options: dict, code: str, says: str) -> None:
    p = torch.nn.Parameter(torch.ones(2, 2, dtype=options.pop("dtype", torch.float32)))
    with pytest.raises(ValueError, match=says) as caught:
        getattr(stdlib, name)([p], **options)
    assert isinstance(caught.value, OptError) and caught.value.diagnostics[0].code == code


# ---- training ----


def test_training_with_8_bits_goes_as_with_32() -> None:
    """A short run of `bench/states.py`, whose full figures are in bench/results/states.md."""
    spec = importlib.util.spec_from_file_location("states", HERE.parent / "bench" / "states.py")
    assert spec is not None and spec.loader is not None
    states = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(states)
    for task, rule, steps in (("digits", "AdamW", 200), ("digits", "Lion", 200), ("characters", "AdamW", 24)):
        full, less = (states.loss(task, rule, steps, kept) for kept in (None, "int8"))
        assert abs(less / full - 1) < 0.01, (task, rule, full, less)


# ---- with the rest of torch ------------------------------------------------------------------------------------------


def batches(model: torch.nn.Module, steps: int, scale: float = 1.0) -> Iterator[int]:
    """Gradients of a few steps, each left in `.grad` for the loop."""
    for k in range(steps):
        model.zero_grad()
        x = torch.randn(8, 64, generator=torch.Generator().manual_seed(k))
        (scale * model(x).square().mean()).backward()
        yield k


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Tanh(), torch.nn.Linear(128, 64))


@pytest.mark.parametrize("word", ["int8", "int8:log", "bf16"])
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_attached_and_whole_steps_keep_the_same_bits(word: str, backend: str) -> None:
    whole, attached = network(), network()
    optimizer = stdlib.AdamW(whole.parameters(), lr=1e-2, state_dtype=word, backend=backend)
    for _ in batches(whole, 4):
        optimizer.step()
    dotopt.attach(attached, stdlib.AdamW, lr=1e-2, state_dtype=word, backend=backend)
    for _ in batches(attached, 4):
        pass  # the step was taken inside backward
    for p, q in zip(whole.parameters(), attached.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_scaled_loss_and_a_step_left_out_change_no_bits(backend: str) -> None:
    plain, scaled = network(), network()
    ours, other = (
        stdlib.AdamW(m.parameters(), lr=1e-2, state_dtype="int8", backend=backend) for m in (scaled, plain)
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for k in batches(scaled, 4, 1024.0):
        scaler.scale(torch.zeros(()))
        if k == 2:
            scaled[0].weight.grad[0, 0] = float("inf")
        scaler.step(ours)
        scaler.update(1024.0)
    for k in batches(plain, 4):
        if k != 2:
            other.step()
    for p, q in zip(plain.parameters(), scaled.parameters(), strict=True):
        assert torch.equal(p, q)
    kept = ours.state[scaled[0].weight]
    assert {value.dtype for value in kept.values()} >= {torch.int8, torch.uint8}
