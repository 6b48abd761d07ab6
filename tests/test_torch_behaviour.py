"""Compiled optimizers behave as those of `torch.optim`: `torch_behaviours` on every optimizer of the library.

Here each optimizer meets a few behaviours, so that each behaviour meets several optimizers on each backend;
`make test-optimizers` runs all of them.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from dotopt import stdlib


def _sibling(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


torch_behaviours = _sibling("torch_behaviours")
BEHAVIOURS, Case = torch_behaviours.BEHAVIOURS, torch_behaviours.Case

NAMES = (
    "ADOPT AMAdamW AMSGD ASGD AdaBelief Adadelta Adafactor Adagrad AdagradMemory Adam AdamMemory AdamP AdamW Adamax "
    "Adan AuON CMS CautiousAdamW CautiousLion DAL DMGD DeltaMomentum EMAMemory Extragradient HeavyBall HybridAuON "
    "LAMB Lion LionK M3 MARS MomentumMemory Muon NAdam Nesterov NesterovDifferences NonlinearMomentum "
    "PreconditionedMomentum Prodigy QHM RAdam RMSprop Rprop SAM SGD SGDP SGDSaI SOAP ScheduleFreeAdamW Shampoo "
    "SignSGD Signum SphericalLangevin"
)
RULES = NAMES.split()
BACKENDS = ("torch", "tensor", "cpu")
SAMPLED = 4  # behaviours that each optimizer meets here


def check(rule: str, behaviour: str, backend: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        BEHAVIOURS[behaviour](Case(getattr(stdlib, rule), backend))


def sample(place: int) -> list[str]:
    """A few behaviours, others for the next optimizer."""
    names = sorted(BEHAVIOURS)
    return [names[(place * SAMPLED + i) % len(names)] for i in range(SAMPLED)]


@pytest.mark.parametrize("rule", RULES)
def test_some(rule: str) -> None:
    place = RULES.index(rule)
    for i, behaviour in enumerate(sample(place)):
        check(rule, behaviour, BACKENDS[(place + i) % len(BACKENDS)])


def test_all_behaviours_are_sampled() -> None:
    assert {behaviour for place in range(len(RULES)) for behaviour in sample(place)} == set(BEHAVIOURS)


@pytest.mark.thorough
@pytest.mark.parametrize("behaviour", sorted(BEHAVIOURS))
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", RULES)
def test_all(rule: str, backend: str, behaviour: str) -> None:
    check(rule, behaviour, backend)
