"""Machine code for cards that are not here: width and number of memory accesses, as the schedule promises."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")

_path = Path(__file__).parent.parent / "bench" / "codegen.py"
_spec = importlib.util.spec_from_file_location("codegen", _path)
assert _spec is not None and _spec.loader is not None
codegen = importlib.util.module_from_spec(_spec)
sys.modules["codegen"] = codegen
_spec.loader.exec_module(codegen)


RULES = (
    "AdamW", "Lion", "Adan", "LAMB", "AuON", "AMAdamW", "SGDSaI", "CautiousAdamW", "AdamP", "Prodigy", "Muon", "Rprop",
)  # fmt: skip


def test_rules_move_128_bits_at_a_time_and_only_what_the_schedule_says() -> None:
    """On one target here; `python -m bench.codegen` does all rules on all three."""
    for rule in RULES:
        for one in codegen.figures(rule, targets=("cuda:90",)):
            assert one.as_promised, one


@pytest.mark.parametrize("rule", codegen.rules())
def test_every_optimizer_of_the_library_has_kernels(rule: str) -> None:
    codegen.kernel_of(rule)


@pytest.mark.thorough
@pytest.mark.parametrize("rule", codegen.rules())
def test_every_rule_on_every_target(rule: str) -> None:
    found = list(codegen.figures(rule))
    assert found
    for one in found:
        assert one.as_promised, one


@pytest.mark.parametrize("target", codegen.TARGETS)
@pytest.mark.parametrize("rule", ["AdamW", "LAMB", "SGDP"])
def test_all_targets(rule: str, target: str) -> None:
    for one in codegen.figures(rule, targets=(target,)):
        assert one.as_promised, one


def test_16_bit_arrays_take_half_as_many_accesses() -> None:
    one = next(iter(codegen.figures("Lion", targets=("cuda:90",), stored={"x": "bf16", "grad": "bf16"})))
    assert (one.loads, one.stores) == one.wanted == (4, 3)
