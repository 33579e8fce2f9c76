"""Orders in tables of the service's own: the store that owns them bucket by bucket, and holds replicas of the others.

Which of both it is to an order is not decided here: the fence on the tables refuses what is not ours to write.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone

from extracted.orders.domain.errors import OrderNotFound, ShopUnavailable
from extracted.orders.domain.events import OrderCancelled, OrderPaid, OrderPlaced
from extracted.orders.domain.order import Address, AttemptKind, Order, Status
from extracted.orders.domain.store import Expiry, Page, Resumed, SoldLine, Wish
from extracted.orders.own_store import models, settling
from extracted.orders.own_store.aggregates import ORDERS
from extracted.orders.own_store.checkout import create, open_attempt
from extracted.orders.own_store.documents import address_columns, to_order
from extracted.orders.own_store.sagas import PLACE, RESTOCK, returned, wanted
from extracted.orders.own_store.sold import sold_lines
from extracted.orders.paging import page_of
from migrations_plan.sync.events import bus
from migrations_plan.sync.written import written
from router.sagas.api import Run, SagaLost, enlist, resume_due, running
from router.sagas.retention import purge


class OwnOrderStore:
    """The ``OrderStore`` over the service's own schema."""

    name = "own"
    rehearses = False
    """Placing begins with a reservation that the monolith commits before our transaction begins; none rolls it back."""

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

    @contextmanager
    def checkout(self, wish: Wish) -> Iterator[Callable[[], Order]]:
        """Have the monolith reserve what is ordered; it is given back unless the order is placed."""
        with running(PLACE, key=wish.customer, data=wanted(wish)) as run:
            yield partial(self._place, wish, run)

    def _place(self, wish: Wish, run: Run) -> Order:
        """Keep the order and pass the saga's point of no return, in one transaction."""
        order = self.get(wish.customer, create(wish, run.results["reserve"], timezone.now()))
        bus.emit(OrderPlaced(order))
        if order.status is Status.PAID:
            bus.emit(OrderPaid(order))
        try:
            run.cross()
        except SagaLost as lost:
            raise ShopUnavailable("The order took so long that its reservation was given up. Order again.") from lost
        return order

    def cancel(self, customer: int, order_id: int) -> Order:
        """Call the order off, have its stock given back, and open the refund of what was charged."""
        now = timezone.now()
        before, after = _change(_of(customer), order_id, lambda order: order.cancelled(now))
        models.Order.objects.filter(pk=order_id).update(state=after.status.value, ended_at=after.closed_at)
        _put_back(after)
        charge = before.refundable_charge
        if charge is not None:
            open_attempt(order_id, AttemptKind.REFUND, charge.amount, charge.card, now)
        bus.emit(OrderCancelled(after))
        return self.get(customer, order_id)

    def change_address(self, customer: int, order_id: int, address: Address) -> Order:
        """Send the order elsewhere; the address book entry it came from is no longer its address."""
        _, after = _change(_of(customer), order_id, lambda order: order.sent_to(address))
        models.Order.objects.filter(pk=order_id).update(**address_columns(after.ship_to), address_entry=None)
        return after

    def open_charge(self, customer: int, order_id: int, card: str) -> UUID:
        """Open the charge of an order that waits for money."""
        _, order = _change(_of(customer), order_id, _payable)
        return open_attempt(order_id, AttemptKind.CHARGE, order.total, card, timezone.now())

    def mark_paid(self, order_id: int, at: datetime) -> Status:
        """Note that the money has arrived, if the order waits for it; return how it stands."""
        before, after = _change(models.Order.objects.all(), order_id, lambda order: order.paid(at))
        if after is not before:
            models.Order.objects.filter(pk=order_id).update(state=after.status.value, paid_at=after.paid_at)
            bus.emit(OrderPaid(after))
        return after.status

    def expire(self, order_id: int, placed_before: datetime) -> Expiry:
        """Give up an order that nobody paid for, and have its stock given back."""
        now = timezone.now()
        before, after = _change(models.Order.objects.all(), order_id, lambda order: order.expired(now, placed_before))
        if after is before:
            return Expiry(expired=False)
        models.Order.objects.filter(pk=order_id).update(state=after.status.value, ended_at=after.closed_at)
        _put_back(after)
        return Expiry(expired=True, pieces=sum(line.quantity for line in after.lines))

    def follow_up(self, order_id: int) -> bool:
        """Settle what the write has left open; what the monolith's stock has to do is done by sagas."""
        return bool(settling.settle_order(order_id))

    def resume(self, limit: int) -> Resumed:
        """Go on with sagas, and settle attempts, that somebody has left unfinished."""
        purge()
        sagas = resume_due(limit)
        orders = settling.left_open(limit)
        settled = sum(settling.settle_order(order) for order in orders)
        return Resumed(sagas=sagas.found, finished=sagas.finished, attempts=len(orders), settled=settled)

    def sold_lines(self, after: int, limit: int) -> tuple[SoldLine, ...]:
        """Return the lines of paid orders, in the order of their ids, from the one after ``after`` on."""
        return sold_lines(after, limit)

    def written(self, answer: Mapping[str, Any]) -> Any:
        """Return the document of the order in an answer."""
        return written(ORDERS)(answer)

    def check(self) -> str:
        """Return the vendor of the database that holds the tables, after asking one of them."""
        models.Order.objects.exists()
        return connections[models.Order.objects.db].vendor


def _put_back(order: Order) -> None:
    if order.lines:
        enlist(RESTOCK, key=order.customer, data=returned(order.id, order.lines))


def _payable(order: Order) -> Order:
    order.check_payable()
    return order


def _of(customer: int) -> QuerySet[models.Order]:
    return models.Order.objects.filter(buyer=customer)


def _change(rows: QuerySet[models.Order], order_id: int, rule: Callable[[Order], Order]) -> tuple[Order, Order]:
    """Lock one of the orders and return it before and after ``rule``."""
    locked = rows.select_for_update().filter(pk=order_id)
    if not locked.values_list("pk", flat=True).first():
        raise OrderNotFound
    before = _one(rows.filter(pk=order_id))
    return before, rule(before)


def _one(rows: QuerySet[models.Order]) -> Order:
    """Return the one order in ``rows``."""
    row = _with_parts(rows).first()
    if row is None:
        raise OrderNotFound
    return to_order(row)


def _with_parts(rows: QuerySet[models.Order]) -> QuerySet[models.Order]:
    """Return ``rows`` with what a whole order needs, in three queries however many there are."""
    return rows.prefetch_related("items", "attempts")
