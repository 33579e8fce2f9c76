"""What the shop's tests share: a real payment provider, never a mock."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from demo.provider import ProviderServer, running


@pytest.fixture
def provider(tmp_path: Path, settings: Settings) -> Iterator[ProviderServer]:
    """Run a payment provider with an empty ledger, which the shop is told about."""
    with running(tmp_path / "provider.sqlite3") as server:
        settings.PAYMENT_PROVIDER_URL = server.url
        yield server
