"""Sequence layers of the library against published code (tests/golden/layers.json.gz), and against a second formulation.

Each is read in chunks of several sizes, in pieces and token by token; outputs and gradients.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dotopt.stdlib
from dotopt.runtime.sequence import SequenceModule
from tests.sequence_rules import gradients, outputs

PLACE = Path(__file__).parent / "golden" / "layers.json.gz"
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@cache
def recorded() -> dict[str, Any]:
    """The table of rules (see golden/record_layers.py)."""
    with gzip.open(PLACE, "rt") as stream:
        table: dict[str, Any] = json.load(stream)
    return table


NAMES = (
    "LinearAttention", "DeltaMemory", "GatedDelta", "GatedLinearAttention", "Retention", "Mamba2", "RWKV4", "RWKV6",
    "RWKV7", "GeneralisedDelta", "HGRN", "HGRN2", "GSA", "KDA", "GatedDelta2", "Comba", "GatedDeltaProduct", "Mesa",
    "MomentumDelta", "PreconditionedKDA", "TTTLinear", "MLSTM",
)  # fmt: skip


def test_every_record_is_replayed() -> None:
    assert set(NAMES) == set(recorded())


@pytest.mark.parametrize("name", NAMES)
def test_a_published_layer(name: str) -> None:
    case = recorded()[name]
    inputs = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in case["inputs"].items()}
    right = torch.tensor(case["output"], dtype=torch.float64)
    slopes = {k: torch.tensor(v, dtype=torch.float64) for k, v in case["gradients"].items()}
    agree(name, inputs, right, slopes, **case["hypers"])


def agree(name: str, inputs: dict[str, Tensor], right: Tensor, slopes: dict[str, Tensor], **given: Any) -> None:
    """Fails unless every form of the rule gives this output, and these gradients."""
    cls: type[SequenceModule] = getattr(dotopt.stdlib, name)
    for block in (1, 4, 64):
        module = cls(block=block, **given)
        found = outputs(module(**inputs))[0]
        torch.testing.assert_close(found, right, **CLOSE)
        for name, slope in zip(inputs, gradients((found,), inputs), strict=True):
            torch.testing.assert_close(slope, slopes.get(name, slope), **CLOSE)
    slow = one_by_one(module, inputs, right.shape[1])
    torch.testing.assert_close(slow, right, **CLOSE)
    for name, slope in zip(inputs, gradients((slow,), inputs), strict=True):
        torch.testing.assert_close(slope, slopes.get(name, slope), **CLOSE)
    head, state = module(**cut(inputs, 0, 5, right.shape[1]), return_state=True)
    tail = module(**cut(inputs, 5, right.shape[1], right.shape[1]), state=state)
    torch.testing.assert_close(torch.cat([outputs(head)[0], outputs(tail)[0]], 1), right, **CLOSE)


def cut(inputs: dict[str, Tensor], begin: int, end: int, tokens: int) -> dict[str, Tensor]:
    """The tokens from `begin` to `end`; what is the same at all of them has one."""
    return {k: v[:, begin:end] if v.shape[1] == tokens else v for k, v in inputs.items()}


def one_by_one(module: SequenceModule, inputs: dict[str, Tensor], tokens: int) -> Tensor:
    state, steps = None, []
    for t in range(tokens):
        part = {k: v[:, 0] for k, v in cut(inputs, t, t + 1, tokens).items()}
        found, state = module.step(**part, state=state)
        steps.append(outputs(found)[0])
    return torch.stack(steps, 1)
