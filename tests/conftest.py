"""What all tests share: the switch that rewrites golden transcripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from dotopt.compiler.ir.wellformed import checking

hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")


# Loops over every file or optimizer of the library take these optimizers in `make test`; `make test-references` takes
# the others, whose steps it also compares with implementations from elsewhere.
CORE = (
    "ADOPT", "AMAdamW", "AMSGD", "ASGD", "AdaBelief", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamP", "AdamW",
    "Adamax", "Adan", "AuON", "CautiousAdamW", "CautiousLion", "HeavyBall", "HybridAuON", "LAMB", "Lion", "LionK",
    "MARS", "Muon", "NAdam", "Nesterov", "NesterovDifferences", "Prodigy", "QHM", "RAdam", "RMSprop", "Rprop", "SAM",
    "SGD", "SGDP", "SGDSaI", "SOAP", "ScheduleFreeAdamW", "Shampoo", "SignSGD", "Signum",
)  # fmt: skip
_OTHERS = {
    name: path
    for path in (Path(__file__).parent.parent / "stdlib" / "optimizers").glob("*.opt")
    for name in [
        next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("rule")).split()[1]
    ]
    if name not in CORE
}


# Tests of ten seconds and more on a quiet machine that others sample: `make test-thorough` runs them.
LONG = (
    "tests/prove/test_derive.py::test_norm_of_projected_steps_with_and_without_decay",
    "tests/prove/test_largest_step.py::test_closed_forms_of_the_literature[Adan-0-no_prox]",
    "tests/prove/test_library_claims.py::test_theorem_is_proved[norm_growth-experiment]",
    "tests/prove/test_library_claims.py::test_theorem_is_proved[rates-two_steps_are_sharp]",
    "tests/prove/test_sequences.py::test_rates_of_gradient_descent_for_any_number_of_steps[2*",
    "tests/prove/test_strange_claims.py::test_false_sentences_are_refuted_with_numbers[strange_more]",
    "tests/prove/test_worst_case.py::test_two_steps[101/10]",
    "tests/test_experiments.py::test_experiment[federated/quadratic]",
    "tests/test_precision.py::test_triton_and_torch_store_the_same_codes",
    "tests/test_property.py::test_right_rules_pass[adamw]",
    "tests/test_protocols.py::test_different_clients_reach_the_common_minimum",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        given = getattr(item, "callspec", None)
        values = [] if given is None else list(given.params.values())
        files = [value for value in values if isinstance(value, Path) and value in _OTHERS.values()]
        rules = [value for value in values if len(values) == 1 and isinstance(value, str) and value in _OTHERS]
        if files or rules or item.nodeid.startswith(LONG):
            item.add_marker(pytest.mark.thorough)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what is printed now as the expected text")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether this run writes expected texts instead of comparing with them."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(autouse=True)
def well_formed() -> Iterator[None]:
    """What every pass returns is checked in every test."""
    with checking():
        yield
