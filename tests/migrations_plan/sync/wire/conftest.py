"""A service in memory, and the settings it is served under."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings

from migrations_plan.sync.wire.client import RemoteSide
from tests.migrations_plan.sync.wire.memory import MemorySide
from tests.migrations_plan.sync.wire.serving import AUDIENCE, SECRET, served

WIRE = {"SIDE": "extracted", "SECRET": SECRET, "AUDIENCE": AUDIENCE}


@pytest.fixture(autouse=True)
def wire_settings() -> Iterator[Callable[..., None]]:
    """Serve with the tests' secret; the fixture changes settings further."""
    with override_settings(STRANGLER_SYNC=WIRE):
        changed = []

        def change(**settings: Any) -> None:
            one = override_settings(STRANGLER_SYNC={**WIRE, **settings})
            one.enable()
            changed.append(one)

        yield change
        for one in reversed(changed):
            one.disable()


@pytest.fixture
def side() -> MemorySide:
    """Return a side in memory."""
    return MemorySide()


@pytest.fixture
def remote(side: MemorySide) -> Iterator[RemoteSide]:
    """Return the same side behind HTTP."""
    with served(side) as (peer, _):
        yield RemoteSide(peer, "extracted")
