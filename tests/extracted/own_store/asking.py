"""Ask the service on its own store, and look at what both sides have afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from demo.provider import ProviderServer
from extracted.orders.own_store import models as kept
from legacy_shop.catalog.models import StockReservation
from router.idempotency.models import IdempotencyKey
from router.identity import Identity
from router.sagas.models import Saga
from tests.extracted import shop
from tests.extracted.conftest import Service
from tests.own import ALIAS

MONOLITH = Identity(subject="monolith", kind="service")
CARD, DECLINED = "tok_visa", "tok_declined"
AGO = timedelta(hours=1)


def wish(product: Any, quantity: int = 1, *, card: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return an order of one product."""
    payment = None if card is None else {"card": card}
    lines = [{"product": product.pk, "quantity": quantity}]
    return {"lines": lines, "address": shop.HOME, "payment": payment, **fields}


def place(own: Service, customer: User, body: Any, key: str = "") -> Any:
    """Place an order."""
    headers = {"Idempotency-Key": key} if key else {}
    return own.call("POST", "/api/orders/", shop.identity(customer), body=body, headers=headers)


def cancel(own: Service, customer: User, order: int, key: str = "") -> Any:
    """Call an order off."""
    headers = {"Idempotency-Key": key} if key else {}
    return own.call("POST", f"/api/orders/{order}/cancel/", shop.identity(customer), headers=headers)


def resume(own: Service) -> dict[str, int]:
    """Let everything be overdue that somebody has left unfinished, and have the service go on with it."""
    Saga.objects.using(ALIAS).update(lease_until=timezone.now() - AGO, next_at=timezone.now() - AGO)
    IdempotencyKey.objects.using(ALIAS).update(lease_until=timezone.now() - AGO)
    kept.Attempt.objects.update(opened_at=timezone.now() - AGO)
    answer = own.call("POST", "/internal/resume/", MONOLITH, body={})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ended() -> dict[str, int]:
    """Return how many sagas ended in which way, and how many have not."""
    states = list(Saga.objects.using(ALIAS).values_list("state", flat=True))
    return {state: states.count(state) for state in sorted(set(states))}


def held() -> dict[str, int]:
    """Return how many reservations the shop has in each state."""
    states = list(StockReservation.objects.values_list("state", flat=True))
    return {state: states.count(state) for state in sorted(set(states))}


def orders() -> list[tuple[str, int]]:
    """Return state and amount of the service's orders."""
    return list(kept.Order.objects.order_by("pk").values_list("state", "total_minor"))


def attempts() -> list[tuple[str, str]]:
    """Return what was asked of the payment provider, as the service has it."""
    return list(kept.Attempt.objects.order_by("pk").values_list("direction", "state"))


def moved(bank: ProviderServer, kind: str) -> list[tuple[str, int]]:
    """Return status and amount of what the provider booked for the orders that there are."""
    numbers = set(kept.Order.objects.values_list("reference", flat=True))
    rows = [row for row in bank.ledger.rows(kind) if row["reference"] in numbers]
    return [(row["status"], row["amount_minor"]) for row in rows]


@contextmanager
def refusing_orders() -> Iterator[None]:
    """Let the service's database refuse every new order, after everything else was done."""
    connection = connections[ALIAS]
    make, remove = REFUSING[connection.vendor]
    for statement in make:
        _execute(statement)
    try:
        yield
    finally:
        for statement in remove:
            _execute(statement)


REFUSING = {
    "sqlite": (
        (
            "CREATE TRIGGER refusing BEFORE INSERT ON own_store_order "
            "BEGIN SELECT RAISE(ABORT, 'refused by the test'); END",
        ),
        ("DROP TRIGGER refusing",),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION refusing() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'refused by the test'; END $$",
            "CREATE TRIGGER refusing BEFORE INSERT ON own_store_order FOR EACH ROW EXECUTE FUNCTION refusing()",
        ),
        ("DROP FUNCTION refusing CASCADE",),
    ),
}


def _execute(statement: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(statement)
