"""The orders service on its own store, as a real process, with the shop's internal listener and a payment provider."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from demo.provider import Control, ProviderServer, running
from legacy_shop.catalog.models import Product
from migrations_plan.sync import aggregates
from migrations_plan.sync.buckets import BUCKETS
from migrations_plan.sync.capture import install
from migrations_plan.sync.models import Capture, Ownership
from router import breaker
from router.testing import override_envelope, override_ownership
from tests.extracted import shop
from tests.extracted.conftest import SECRET, Service
from tests.own import ALIAS
from tests.own.rows import OWN
from tests.processes import RunningProcess, database_url, free_port, gunicorn, start_process


@dataclass(kw_only=True)
class Monolith:
    """The shop's internal listener, which may go away and come back."""

    url: str
    process: RunningProcess


@pytest.fixture(scope="session")
def provider_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderServer]:
    """Run the payment provider."""
    with running(tmp_path_factory.mktemp("provider") / "ledger.sqlite3") as server:
        yield server


@pytest.fixture(scope="session")
def monolith(django_db_setup: None, django_db_blocker: Any, provider_server: ProviderServer) -> Iterator[Monolith]:
    """Run the shop's internal listener on the test database."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with django_db_blocker.unblock():
        env = {
            "SHOP_DATABASE_URL": database_url(),
            "SHOP_URLCONF": "legacy_shop.urls_internal",
            "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
            "PAYMENT_PROVIDER_URL": provider_server.url,
            "STRANGLER_SECRET_ORDERS": SECRET,
        }
    command = gunicorn("legacy_shop.wsgi", port, workers=1, threads=8)
    with start_process(command, env, f"{url}/health/") as process:
        yield Monolith(url=url, process=process)


@pytest.fixture(scope="session")
def crash_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that names the moment at which the service is to die."""
    return tmp_path_factory.mktemp("crash") / "point"


@pytest.fixture(scope="session")
def own_process(
    django_db_setup: None,
    django_db_blocker: Any,
    monolith: Monolith,
    crash_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """Run the service with gunicorn on the test database of the own store for the whole session."""
    with django_db_blocker.unblock():
        database = database_url(ALIAS)
    env = {
        "ORDERS_STORE": "own",
        "ORDERS_OWN_DATABASE_URL": database,
        "STRANGLER_SECRET_ORDERS": SECRET,
        "SHOP_INTERNAL_URL": monolith.url,
        "SHOP_INTERNAL_TIMEOUT": "2.0",
        "CRASH_FILE": str(crash_file),
    }
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = gunicorn("tests.extracted.own_store.crashing", port, workers=1, threads=8)
    with django_db_blocker.unblock(), start_process(command, env, f"{url}/health/ready/") as process:
        yield Service(url=url, process=process, faults_file=tmp_path_factory.mktemp("own") / "faults.json")


@pytest.fixture
def bank(provider_server: ProviderServer) -> Iterator[ProviderServer]:
    """Return the payment provider, on a good day before and after."""
    provider_server.control = Control()
    yield provider_server
    provider_server.control = Control()


@pytest.fixture
def own(
    own_process: Service,
    bank: ProviderServer,
    monolith: Monolith,
    crash_file: Path,
    settings: Any,
    transactional_db: None,
) -> Iterator[Service]:
    """Return the service as the owner of all orders, whom the shop in this process asks for them.

    Both databases are emptied afterwards.
    """
    Ownership.objects.using(ALIAS).bulk_create(
        Ownership(aggregate="orders", bucket=number, state=Ownership.State.OWNER) for number in range(BUCKETS)
    )
    strangler = copy.deepcopy(settings.STRANGLER)
    strangler["SERVICES"]["orders"]["UPSTREAMS"] = {"own": own_process.url}
    settings.STRANGLER, settings.PAYMENT_PROVIDER_URL = strangler, bank.url
    breaker.reset()
    with (
        override_envelope("orders", reads=100, writes=100, store="own"),
        override_ownership("orders", extracted=range(BUCKETS)),
    ):
        yield own_process
    breaker.reset()
    monolith.process.resume()
    crash_file.unlink(missing_ok=True)


@pytest.fixture
def synced() -> None:
    """Let the shop believe that its orders are synced, which its worker looks after."""
    Capture.objects.create(aggregate="orders")


@pytest.fixture
def fenced(own: Service) -> Iterator[None]:
    """Put the fence up at the service."""
    with aggregates.replaced(OWN):
        install.put(OWN)
    yield
    with aggregates.replaced(OWN):
        install.remove(OWN)


@pytest.fixture
def customer(own: Service) -> User:
    """Return somebody who shops."""
    return shop.make_customer(email="ann@example.com")


@pytest.fixture
def product(own: Service) -> Product:
    """Return something of which there are ten."""
    return shop.make_product("12.50", on_hand=10)
