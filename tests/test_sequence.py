"""Rules over sequences: the torch module against the judge, streaming, chunks, gradients, masks, resets, dtypes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dotopt
from dotopt.compiler.analysis.recurrence import classify
from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import Library
from dotopt.runtime.sequence import Chunks, Term, scan

LENGTH = 23
SIZES = {"dk": 4, "dv": 3, "d": 4}
RULES: list[tuple[str, dict[str, Any]]] = [
    ("LinearAttention", {"features": "elu", "normalized": True, "decay": 0.9}),
    ("GatedLinearAttention", {}),
    ("DeltaMemory", {}),
    ("GatedDelta", {}),
    ("GatedDelta", {"retention": "decay_and_step"}),
    ("Longhorn", {}),
    ("Oja", {}),
    ("OmegaRule", {"window": 3}),
    ("Titans", {"at": "token", "loss": "mean"}),
    ("Titans", {"at": "chunk", "chunk": 5}),
    ("SelfModifyingTitans", {"chunk": 3, "memory_chunk": 4}),
    ("SelfModifyingTitans", {"chunk": 5, "memory_chunk": 1, "inner": "dot"}),
    ("MomentumBasedAttention", {}),
    ("TitansMLP", {"hidden": 5, "chunk": 1}),
    ("TitansMLP", {"hidden": 5, "chunk": 4}),
    ("MomentumAttention", {"gamma": 0.3}),
    ("MomentumAttention", {"gamma": 0.3, "placement": "before_rope", "keys_only": True}),
]


def made(name: str, given: dict[str, Any], **more: Any) -> Any:
    return getattr(__import__("dotopt.stdlib", fromlist=[name]), name)(**given, **more)


def inputs_of(cls: Any, lead: tuple[int, ...], length: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for x in cls.rule.inputs:
        shape = (*lead, length, *(SIZES[axis] for axis in x.axes))
        value = torch.rand(shape, generator=generator, dtype=torch.float64)
        found[x.keyword] = 0.1 + 0.8 * value if not x.axes else 2 * value - 1
    return found


def reference(name: str, module: Any, given: dict[str, torch.Tensor], state: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The judge's outputs for one sequence without leading axes."""
    file = Library().file(name)
    assert file is not None
    options = {o.name: v for o, v in zip(module.rule.options, module.options, strict=True)}
    hypers = {h.name: float(module.hyper[h.name]) for h in module.rule.hypers}
    sizes = {**SIZES, **{n: int(v) for n, v in module.hyper.items() if isinstance(v, int)}}
    first = {x.name for x in lower(file, Static(options)).states if x.kind == "first"}  # computed from the first token
    states = {n: v.numpy() for n, v in state.items() if n != "t" and n not in first}
    run = Simulation(lower(file, Static(options)), hypers=hypers, states=states, sizes=sizes)
    names = {x.keyword: x.name for x in module.rule.inputs}
    outputs = []
    for t in range(LENGTH):
        outputs.append(run.step(inputs={names[k]: v[t].numpy() for k, v in given.items()})[module.rule.outputs[0]])
    return np.stack(outputs)


@pytest.mark.parametrize(("name", "given"), RULES)
def test_against_the_judge(name: str, given: dict[str, Any]) -> None:
    module = made(name, given, block=8)
    inputs = inputs_of(module, (), LENGTH)
    state = module.initial_state((), 1, next(iter(inputs.values())), **SIZES)
    expected = reference(name, module, inputs, state)
    whole = module(**inputs, state=dict(state))
    np.testing.assert_allclose(whole.numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "given"), RULES)
@pytest.mark.parametrize("block", [1, 5, 64])
def test_pieces_equal_the_whole(name: str, given: dict[str, Any], block: int) -> None:
    module = made(name, given, block=block)
    inputs = inputs_of(module, (2, 3), LENGTH)
    whole, last = module(**inputs, return_state=True)
    state, pieces, at = None, [], 0
    for length in (1, 7, 2, 13):
        part = {k: v.narrow(2, at, length) for k, v in inputs.items()}
        output, state = module(**part, state=state, return_state=True)
        pieces.append(output)
        at += length
    torch.testing.assert_close(torch.cat(pieces, 2), whole, rtol=1e-9, atol=1e-12)
    assert state is not None and state["t"] == last["t"] == LENGTH
    for memory in module.functions.memories:
        torch.testing.assert_close(state[memory.name], last[memory.name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "given"), RULES)
def test_token_by_token(name: str, given: dict[str, Any]) -> None:
    module = made(name, given)
    inputs = inputs_of(module, (2,), LENGTH)
    whole = module(**inputs)
    state, outputs = None, []
    for t in range(LENGTH):
        output, state = module.step(**{k: v[:, t] for k, v in inputs.items()}, state=state)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs, 1), whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "given"), RULES)
def test_gradients(name: str, given: dict[str, Any]) -> None:
    module = made(name, given, block=3)
    inputs = {k: v.requires_grad_() for k, v in inputs_of(module, (), 7).items()}
    keys = list(inputs)
    state = module.initial_state((), 1, next(iter(inputs.values())).detach(), **SIZES)

    def read(*values: torch.Tensor) -> Any:
        return module(**dict(zip(keys, values, strict=True)), state=dict(state))

    assert torch.autograd.gradcheck(read, tuple(inputs.values()))


def test_documents_and_masks() -> None:
    module = made("GatedDelta", {})
    inputs = inputs_of(module, (2,), LENGTH)
    whole = module(**inputs, resets=[9])
    first = module(**{k: v[:, :9] for k, v in inputs.items()})
    second = module(**{k: v[:, 9:] for k, v in inputs.items()})
    torch.testing.assert_close(whole, torch.cat([first, second], 1))
    mask = torch.ones(2, LENGTH, dtype=torch.bool)
    mask[1, 15:] = False
    masked, state = module(**inputs, mask=mask, return_state=True)
    short, early = module(**{k: v[1:, :15] for k, v in inputs.items()}, return_state=True)
    torch.testing.assert_close(masked[1:, :15], short)
    torch.testing.assert_close(state["M"][1:], early["M"])
    assert (masked[1, 15:] == 0).all()


def test_sixteen_bits() -> None:
    module = made("GatedDelta", {})
    inputs = inputs_of(module, (2,), LENGTH)
    low = module(**{k: v.bfloat16() for k, v in inputs.items()})
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.double(), module(**inputs), rtol=0.05, atol=0.05)


def test_gates_may_be_numbers_or_learned() -> None:
    module = made("GatedDelta", {})
    inputs = inputs_of(module, (2,), LENGTH)
    gate = torch.nn.Parameter(torch.tensor(0.9, dtype=torch.float64))
    inputs["alpha"] = gate
    inputs["beta"] = torch.tensor(0.5, dtype=torch.float64)
    module(**inputs).sum().backward()
    assert gate.grad is not None and gate.grad.abs() > 0


def test_mistakes_of_use() -> None:
    module = made("GatedDelta", {})
    inputs = inputs_of(module, (2,), 5)
    with pytest.raises(TypeError, match="needs beta"):
        module(**{k: v for k, v in inputs.items() if k != "beta"})
    with pytest.raises(TypeError, match="no input `gamma`"):
        module(**inputs, gamma=1)
    with pytest.raises(ValueError, match="axis `dk`"):
        module(**{**inputs, "q": torch.zeros(2, 5, 9, dtype=torch.float64)})
    with pytest.raises(ValueError, match="leading axes"):
        module(**{**inputs, "q": torch.zeros(3, 5, 4, dtype=torch.float64)})
    with pytest.raises(TypeError, match="no option `gama`"):
        made("MomentumAttention", {"gama": 1})
    with pytest.raises(ValueError, match="out of range"):
        made("MomentumAttention", {"gamma": -1.0})


def test_recurrences_are_recognised() -> None:
    def kinds(name: str) -> dict[str, str]:
        file = Library().file(name)
        assert file is not None
        defaults = {option.name: option.default for option in lower(file).options}
        return {x.state.name: x.kind for x in classify(lower(file, Static(defaults)))}

    assert kinds("DeltaMemory") == kinds("GatedDelta") == kinds("Oja") == kinds("OmegaRule") == {"M": "low rank"}
    assert kinds("Titans") == {"S": "low rank", "M": "low rank"}
    assert kinds("TitansMLP")["P"] == "frozen" and kinds("TitansMLP")["U"] == "low rank"
    assert kinds("MomentumBasedAttention") == {"s": "elementwise"}


def test_a_user_rule(tmp_path: Path) -> None:
    """Ten lines give DeltaNet; a squashed memory is read token by token, and says so."""
    text = '''"""My delta rule."""
rule Mine
input k : real[dk]
input v : real[dv]
input q : real[dk]
input β in [0, 2]
state M : real[dv, dk] = 0
output o : real[dv]
L(S) = ½*‖S @ k - v‖²
M' = M - β*∇L(M)
o = M' @ q
'''
    (tmp_path / "mine.opt").write_text(text)
    mine = dotopt.load(tmp_path / "mine.opt").Mine()
    published = made("DeltaMemory", {})
    inputs = inputs_of(published, (2,), LENGTH)
    torch.testing.assert_close(mine(**inputs), published(**inputs))
    (tmp_path / "squashed.opt").write_text(text.replace("Mine", "Squashed").replace("M - β*∇L(M)", "tanh(M - β*∇L(M))"))
    squashed = dotopt.load(tmp_path / "squashed.opt").Squashed
    (functions,) = squashed.rule.functions.values()
    assert functions.stretch is None and "tanh" in functions.reasons["M"]
    assert squashed()(**inputs).shape == (2, LENGTH, 3)


def test_what_is_not_compiled_says_so(tmp_path: Path) -> None:
    (tmp_path / "odd.opt").write_text(
        "rule Odd\ninput x : real[d, ...]\nstate s : like x = 0\noutput y : like x\ns' = s + x\ny = s'\n"
    )
    with pytest.raises(OptError) as caught:
        dotopt.load(tmp_path / "odd.opt")
    assert caught.value.diagnostics[0].code == "E601"


Many = torch.Tensor | None


def recurrence(starts: list[torch.Tensor], mix: Any, terms: list[Term], q: torch.Tensor) -> Any:
    """What `Chunks` computes, one token after the other: reads before and after, and the last memories."""
    memories, before, after = list(starts), [], []
    for t in range(q.shape[-2]):
        z = [
            sum(
                ((m @ p[:, t, :, None])[..., 0] for m, p in zip(memories, term.p, strict=True) if p is not None),
                torch.zeros(2, starts[0].shape[-2], dtype=q.dtype) if term.u is None else term.u[:, t],
            )
            for term in terms
        ]
        before.append([(m @ q[:, t, :, None])[..., 0] for m in memories])
        memories = [
            sum((x[:, t, None, None] * m for x, m in zip(row, memories, strict=True) if x is not None), torch.zeros(()))
            + sum(
                (v[:, :, None] * term.y[i][:, t, None, :] for v, term in zip(z, terms, strict=True)
                 if term.y[i] is not None),
                torch.zeros(()),
            )
            for i, row in enumerate(mix)
        ]  # fmt: skip
        after.append([(m @ q[:, t, :, None])[..., 0] for m in memories])
    return before, after, memories


@pytest.mark.parametrize("memories", [1, 2, 3])
@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("zeros", [False, True])
def test_chunks_are_the_recurrence(memories: int, rank: int, zeros: bool) -> None:
    generator = torch.Generator().manual_seed(memories + 10 * rank)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    length, dk, dv = 19, 4, 3
    mix: list[list[Many]] = [
        [torch.sigmoid(random(2, length)) if j <= i else None for j in range(memories)] for i in range(memories)
    ]
    if zeros:
        for i in range(memories):
            mix[i][i][:, [4, 11]] = 0  # type: ignore[index]
    terms = [
        Term(
            [0.3 * random(2, length, dk) if (r + j) % 2 == 0 else None for j in range(memories)],
            random(2, length, dv) if r == 0 else None,
            [random(2, length, dk) if r == 0 or j == 0 else None for j in range(memories)],
        )
        for r in range(rank)
    ]
    q, values = random(2, length, dk), random(2, length, dv)
    starts = [random(2, dv, dk) for _ in range(memories)]
    before, after, last = recurrence(starts, mix, terms, q)
    for size in (1, 4, 8, 64):
        chunks = Chunks(starts, mix, terms, size * rank)
        for j in range(memories):
            for wanted, when in ((before, False), (after, True)):
                found = chunks.read(j, q, after=when)
                torch.testing.assert_close(found, torch.stack([w[j] for w in wanted], 1), rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(chunks.last[j], last[j], rtol=1e-9, atol=1e-9)
        turned = chunks.read(memories - 1, values, transposed=True)[:, -1]
        torch.testing.assert_close(turned, (last[-1].mT @ values[:, -1, :, None])[..., 0], rtol=1e-9, atol=1e-9)


def test_tokens_that_are_not_there_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    k, v = (torch.randn(2, 9, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    alpha = torch.rand(2, 9, generator=generator, dtype=torch.float64)
    there = torch.tensor([True, False, True, True, False, False, True, True, False])
    start = [torch.randn(2, 4, 4, generator=generator, dtype=torch.float64)]
    masked = Chunks(start, [[alpha]], [Term([-k], v, [k])], 4, there.expand(2, 9))
    short = Chunks(start, [[alpha[:, there]]], [Term([-k[:, there]], v[:, there], [k[:, there]])], 4)
    torch.testing.assert_close(masked.last[0], short.last[0])
    torch.testing.assert_close(masked.read(0, k)[:, there], short.read(0, k[:, there]))


def test_scan_is_the_recurrence() -> None:
    a, b = torch.rand(2, 13, 3, dtype=torch.float64), torch.rand(2, 13, 3, dtype=torch.float64)
    x, expected = torch.ones(2, 3, dtype=torch.float64), []
    for t in range(13):
        x = a[:, t] * x + b[:, t]
        expected.append(x)
    torch.testing.assert_close(scan(a, b, torch.ones(2, 3, dtype=torch.float64), 1), torch.stack(expected, 1))
    long, flat = torch.rand(2, 200, dtype=torch.float64), torch.ones(200, dtype=torch.float64)
    x, expected = torch.ones(2, dtype=torch.float64), []
    for t in range(200):
        x = long[:, t] * x + 1
        expected.append(x)
    torch.testing.assert_close(scan(long, flat.expand(2, 200), torch.ones(2, dtype=torch.float64), 0),
                               torch.stack(expected, 1))  # fmt: skip


STREAMS = [(name, given) for name, given in RULES if name not in ("MomentumAttention",)]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 9), min_size=1, max_size=5), st.sampled_from((1, 3, 8, 64)))
def test_random_pieces_equal_one_pass(rule: tuple[str, dict[str, Any]], lengths: list[int], block: int) -> None:
    module = made(*rule, block=block)
    inputs = inputs_of(module, (2,), sum(lengths))
    whole, last = module(**inputs, return_state=True)
    state, pieces, at = None, [], 0
    for length in lengths:
        part = {k: v[:, at : at + length] for k, v in inputs.items()}
        output, state = module(**part, state=state, return_state=True)
        assert output.shape[1] == length
        pieces.append(output)
        at += length
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-9, atol=1e-11)
    assert state is not None
    for memory in module.functions.memories:
        torch.testing.assert_close(state[memory.name], last[memory.name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("name", "given"), RULES)
def test_lengths_and_masks(name: str, given: dict[str, Any]) -> None:
    """Padding on either side changes nothing, in states neither."""
    module = made(name, given, block=4)
    timed = module.functions.periods or name == "MomentumAttention"  # clocks count positions
    inputs = inputs_of(module, (2,), 11)
    start = module.initial_state((2,), 1, next(iter(inputs.values())), **SIZES)
    second = {n: v if n == "t" else v[1:] for n, v in start.items()}
    found, state = module(**inputs, lengths=torch.tensor([11, 6]), state=start, return_state=True)
    short, early = module(**{k: v[1:, :6] for k, v in inputs.items()}, state=second, return_state=True)
    torch.testing.assert_close(found[1:, :6], short)
    assert (found[1, 6:] == 0).all()
    if not module.functions.periods:
        for memory in module.functions.memories:
            torch.testing.assert_close(state[memory.name][1:], early[memory.name])
    if not timed:
        mask = torch.arange(11) >= torch.tensor([[0], [4]])
        padded = module(**inputs, mask=mask, state=start)
        torch.testing.assert_close(padded[1:, 4:], module(**{k: v[1:, 4:] for k, v in inputs.items()}, state=second))


def test_a_drawn_start_is_the_same_for_every_sequence_of_a_batch() -> None:
    module = made("TitansMLP", {})
    inputs = inputs_of(module, (3,), 6)
    whole = module(**inputs, seed=4)
    for k in range(3):
        torch.testing.assert_close(module(**{n: v[k] for n, v in inputs.items()}, seed=4), whole[k])
