"""The whole house on the test database: shop (two workers), internal listener, orders service, provider."""

import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.authtoken.models import Token

from demo.provider import ProviderServer, running
from extracted.orders.faults import FaultFile, Faults
from legacy_shop.accounts.models import Address
from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.orders.models import Order
from migrations_plan.models import ServiceState
from router.buckets import bucket
from router.conf import conf
from router.models import BreakerEvent, TrafficCount
from tests import processes
from tests.acceptance.shop_wsgi import WORKER_HEADER
from tests.processes import UNTRACED, RunningProcess, database_url, free_port, gunicorn, start_process, wait_until

FIRST_BYTE = 0.6
"""The router's deadline for the service in these tests, seconds."""
PASSWORD_HASH = PBKDF2PasswordHasher().encode("demo-password", "salt-of-the-tests-only", iterations=1)
WORKERS = 2
"""Of the shop."""
RIGHT_ANSWERS = 10
"""So many of one worker, with no wrong one in between, show that it has come round."""
STEERED_SECONDS = 2.0
"""Within this all processes follow a change."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """How one of the house's programs is started, and where it answers once it is up."""

    args: list[str]
    env: dict[str, str]
    ready_url: str


@dataclass(kw_only=True)
class House:
    """The running programs (shop, internal, orders), and how a customer talks to them."""

    url: str
    orders_port: int
    faults_file: Path
    programs: dict[str, Program]
    stack: ExitStack
    running: dict[str, RunningProcess] = field(default_factory=dict)

    @property
    def orders(self) -> RunningProcess:
        """Return the process of the orders service."""
        return self.running["orders"]

    def start(self, name: str) -> None:
        """Start a program and wait until it answers."""
        program = self.programs[name]
        self.running[name] = self.stack.enter_context(start_process(program.args, program.env, program.ready_url))

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """End a program and its workers by SIGKILL, and start it again after the block."""
        self.running[name].kill()
        try:
            yield
        finally:
            self.start(name)

    def faults(self, **faults: Any) -> None:
        """Make the orders service slow or wrong; no argument makes it well again."""
        FaultFile(str(self.faults_file)).write(Faults(**faults))

    def unread(self) -> bool:
        """Whether a request waits at the orders service that it has not read."""
        return bool(processes.unread(self.orders_port))

    def kill_workers(self, *names: str) -> None:
        """End the workers of programs by SIGKILL in the middle of what they do; their masters start new ones."""
        for pid in [self.running[name].pid for name in names]:
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)


@dataclass(kw_only=True)
class Customer:
    """A customer with a token, an address, and something to buy."""

    user: User
    token: str
    product: Product
    url: str
    session: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, *, key: str | None = None, body: Any = None, **headers: str) -> Any:
        """Send a request as this customer."""
        # A connection of its own each time, so that any of the worker processes may answer.
        sent = {"Authorization": f"Token {self.token}", "Connection": "close", **headers}
        if key is not None:
            sent["Idempotency-Key"] = key
        self.session.trust_env = False
        return self.session.request(method, self.url + path, json=body, headers=sent, timeout=30, allow_redirects=False)

    def order(self, note: str, *, key: str | None = None, quantity: int = 1, card: str | None = None) -> Any:
        """Place an order, and with a card pay for it."""
        address = {"name": "A", "street": "B 1", "city": "C", "postcode": "1", "country": "US"}
        payment = None if card is None else {"card": card}
        lines = [{"product": self.product.pk, "quantity": quantity}]
        body = {"lines": lines, "address": address, "note": note, "payment": payment}
        return self.call("POST", "/api/orders/", key=key, body=body)


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderServer]:
    """Run the payment provider."""
    with running(tmp_path_factory.mktemp("provider") / "ledger.sqlite3") as server:
        yield server


@pytest.fixture(scope="package")
def running_house(
    django_db_setup: None, django_db_blocker: Any, provider: ProviderServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Start everything once; the database is emptied between tests.

    Its programs write what they have counted until they end, so they end before the tests of other packages begin.
    """
    shop, internal, orders = free_port(), free_port(), free_port()
    faults_file = tmp_path_factory.mktemp("orders") / "faults.json"
    with django_db_blocker.unblock():
        database = database_url()
    shared = {
        **UNTRACED,
        "SHOP_DATABASE_URL": database,
        "ORDERS_DATABASE_URL": database,
        "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
        "PAYMENT_PROVIDER_URL": provider.url,
        "ORDERS_SHARED_URL": f"http://127.0.0.1:{orders}",
        "SHOP_INTERNAL_URL": f"http://127.0.0.1:{internal}",
        "ORDERS_FIRST_BYTE_TIMEOUT": str(FIRST_BYTE),
        "STRANGLER_DEBUG_HEADERS": "1",
    }
    of_orders = {
        "DJANGO_SETTINGS_MODULE": "extracted.orders.settings",
        "ORDERS_FAULTS": "1",
        "ORDERS_FAULTS_FILE": str(faults_file),
    }
    programs = {
        "internal": Program(
            args=gunicorn("legacy_shop.wsgi", internal),
            env={**shared, "SHOP_URLCONF": "legacy_shop.urls_internal"},
            ready_url=f"http://127.0.0.1:{internal}/health/",
        ),
        "orders": Program(
            args=gunicorn("extracted.orders.wsgi", orders, workers=2, threads=4),
            env={**shared, **of_orders},
            ready_url=f"http://127.0.0.1:{orders}/health/ready/",
        ),
        "shop": Program(
            args=gunicorn("tests.acceptance.shop_wsgi", shop, workers=WORKERS, threads=4),
            env=shared,
            ready_url=f"http://127.0.0.1:{shop}/api/products/",
        ),
    }
    with ExitStack() as stack:
        house = House(
            url=f"http://127.0.0.1:{shop}", orders_port=orders, faults_file=faults_file, programs=programs, stack=stack
        )
        for name in programs:
            house.start(name)
        yield house
    with django_db_blocker.unblock():
        TrafficCount.objects.all().delete()
        BreakerEvent.objects.all().delete()


@pytest.fixture
def house(running_house: House, transactional_db: None) -> Iterator[House]:
    """Return the running house, healthy and with an empty database."""
    running_house.faults()
    yield running_house
    running_house.faults()
    for process in running_house.running.values():
        with suppress(ProcessLookupError):
            process.resume()
    # What a worker that was started again finds waiting is not to be done among the next test's rows.
    wait_until(lambda: not running_house.unread(), "the service has read everything")


@pytest.fixture
def product(house: House) -> Product:
    """Return something to buy, a hundred on hand."""
    category = Category.objects.create(name="Records", slug="records")
    product = Product.objects.create(category=category, sku="R1", slug="r1", name="Record", price=Decimal("9.99"))
    Stock.objects.create(product=product, on_hand=100)
    return product


@pytest.fixture
def make_customer(house: House, product: Product) -> Callable[..., Customer]:
    """Return a function that makes customers, or staff."""

    def make(*, staff: bool = False) -> Customer:
        name = f"u{uuid.uuid4().hex[:12]}"
        user = User.objects.create(
            username=name, email=f"{name}@example.com", password=PASSWORD_HASH, is_staff=staff, is_superuser=staff
        )
        Address.objects.create(user=user, name="A", street="B 1", city="C", postcode="1", is_default=True)
        return Customer(user=user, token=Token.objects.create(user=user).key, product=product, url=house.url)

    return make


@pytest.fixture
def customer(make_customer: Callable[..., Customer]) -> Customer:
    """Return one customer."""
    return make_customer()


@pytest.fixture
def stand_at(house: House, make_customer: Callable[..., Customer]) -> Callable[..., None]:
    """Return a function that puts the plan at an envelope, and waits until both shop workers follow it."""

    def stand(step: str, *, reads: int = 0, writes: int = 0, shadow: int = 0) -> None:
        envelope(step, reads=reads, writes=writes, shadow=shadow)
        probe = make_customer()
        while reads and bucket("orders", probe.user.pk) >= reads:
            probe = make_customer()
        expected = "extracted" if reads else "legacy"
        # A right answer may still be of the rules before, unless a poll has passed.
        polled = time.monotonic() + 1.5 * conf().poll_seconds
        wait_until(lambda: time.monotonic() > polled, "a poll has passed")
        everywhere(lambda: probe.call("GET", "/api/orders/"), lambda answer: answered_by(answer) == expected)

    return stand


def envelope(step: str, *, reads: int = 0, writes: int = 0, shadow: int = 0) -> None:
    """Put the plan at an envelope, which every process follows within a moment."""
    entered = {"step": step, "reads": reads, "writes": writes, "shadow": shadow, "entered_at": timezone.now()}
    ServiceState.objects.update_or_create(service="orders", defaults=entered)


def answered_by(answer: Any) -> str:
    """Return the side that answered."""
    return str(answer.headers["X-Strangler-Side"])


def everywhere(ask: Callable[[], Any], right: Callable[[Any], bool], *, timeout: float = 20.0) -> float:
    """Wait until each worker of the shop has answered rightly ten times with no wrong answer of any in between.

    Returns when the last wrong answer came, on the monotonic clock. Counting all answers together would not do: the
    one worker may take every connection for a while, with the other still where it was.
    """
    since, of_worker = time.monotonic(), Counter[str]()

    def settled() -> bool:
        nonlocal since
        answer = ask()
        if right(answer):
            of_worker[answer.headers[WORKER_HEADER]] += 1
        else:
            since = time.monotonic()
            of_worker.clear()
        return sum(count >= RIGHT_ANSWERS for count in of_worker.values()) >= WORKERS

    wait_until(settled, "every worker answers as expected", timeout, every=0)
    return since


def orders_noted(note: str) -> int:
    """Return how many orders exist for a client's note."""
    return Order.objects.filter(note=note).count()
