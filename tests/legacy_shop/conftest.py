"""What the shop's tests share: a real payment provider, never a mock."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from demo.provider import ProviderServer, running
from tests.legacy_shop.samples import make_customer


@pytest.fixture
def provider(tmp_path: Path, settings: Settings) -> Iterator[ProviderServer]:
    """Run a payment provider with an empty ledger, which the shop is told about."""
    with running(tmp_path / "provider.sqlite3") as server:
        settings.PAYMENT_PROVIDER_URL = server.url
        yield server


@pytest.fixture
def customer(db: None) -> User:
    """Return somebody who shops."""
    return make_customer()


@pytest.fixture
def shopper(customer: User, client: Client) -> Client:
    """Return the browser of the customer, logged in."""
    client.force_login(customer)
    return client
