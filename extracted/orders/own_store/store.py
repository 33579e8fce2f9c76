"""Orders in tables of the service's own. Until ownership changes hands these hold a replica, which is only read."""

from datetime import datetime

from django.db import connections
from django.db.models import QuerySet

from extracted.orders.domain.errors import OrderNotFound, ReplicaIsReadOnly
from extracted.orders.domain.order import Address, Order, Status
from extracted.orders.domain.store import Expiry, Page, SoldLine, Wish
from extracted.orders.own_store import models
from extracted.orders.own_store.documents import to_order
from extracted.orders.own_store.sold import sold_lines
from extracted.orders.paging import page_of


class OwnOrderStore:
    """The ``OrderStore`` over the service's own schema."""

    name = "own"

    def list_for(self, customer: int, page: str) -> Page:
        """Return a page of the customer's orders."""
        return page_of(_with_parts(models.Order.objects.filter(buyer=customer)), page, to_order)

    def get(self, customer: int, order_id: int) -> Order:
        """Return the customer's order."""
        return _one(models.Order.objects.filter(pk=order_id, buyer=customer))

    def staff_list(self, status: Status | None, page: str) -> Page:
        """Return a page of everybody's orders."""
        rows = models.Order.objects.all() if status is None else models.Order.objects.filter(state=status.value)
        return page_of(_with_parts(rows), page, to_order)

    def staff_get(self, order_id: int) -> Order:
        """Return anybody's order."""
        return _one(models.Order.objects.filter(pk=order_id))

    def place(self, wish: Wish) -> Order:
        """Refuse: the owner of the orders places them."""
        raise ReplicaIsReadOnly

    def cancel(self, customer: int, order_id: int) -> Order:
        """Refuse: the owner of the orders calls them off."""
        raise ReplicaIsReadOnly

    def change_address(self, customer: int, order_id: int, address: Address) -> Order:
        """Refuse: the owner of the orders sends them elsewhere."""
        raise ReplicaIsReadOnly

    def mark_paid(self, order_id: int, at: datetime) -> Status:
        """Refuse: the owner of the orders notes what was paid."""
        raise ReplicaIsReadOnly

    def expire(self, order_id: int, placed_before: datetime) -> Expiry:
        """Refuse: the owner of the orders gives them up."""
        raise ReplicaIsReadOnly

    def sold_lines(self, after: int, limit: int) -> tuple[SoldLine, ...]:
        """Return the lines of paid orders, in the order of their ids, from the one after ``after`` on."""
        return sold_lines(after, limit)

    def check(self) -> str:
        """Return the vendor of the database that holds the tables, after asking one of them."""
        models.Order.objects.exists()
        return connections[models.Order.objects.db].vendor


def _one(rows: QuerySet[models.Order]) -> Order:
    """Return the one order in ``rows``."""
    row = _with_parts(rows).first()
    if row is None:
        raise OrderNotFound
    return to_order(row)


def _with_parts(rows: QuerySet[models.Order]) -> QuerySet[models.Order]:
    """Return ``rows`` with what a whole order needs, in three queries however many there are."""
    return rows.prefetch_related("items", "attempts")
