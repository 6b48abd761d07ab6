"""What all tests share: the switch that rewrites golden transcripts."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from dotopt.compiler.ir.wellformed import checking

hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")


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
