"""Orders in the monolith's tables: the store of the shared phases."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import QuerySet
from django.utils import timezone

from extracted.orders.domain.errors import OrderNotFound
from extracted.orders.domain.events import OrderCancelled, OrderPaid, OrderPlaced
from extracted.orders.domain.order import Address, AttemptKind, Order, Status
from extracted.orders.domain.store import Expiry, Page, Resumed, SoldLine, Wish
from extracted.orders.legacy_store import models
from extracted.orders.legacy_store.aggregates import ORDERS
from extracted.orders.legacy_store.attempts import open_attempt
from extracted.orders.legacy_store.checkout import place
from extracted.orders.legacy_store.documents import CODES, address_columns, to_order
from extracted.orders.legacy_store.sold import sold_lines
from extracted.orders.legacy_store.stock import give_back
from extracted.orders.paging import page_of
from extracted.orders.payments import after_the_commit, run_attempt
from migrations_plan.sync.events import bus
from migrations_plan.sync.written import written


class LegacyOrderStore:
    """The ``OrderStore`` over the tables that the monolith owns and both sides write."""

    name = "shared"
    rehearses = True

    def list_for(self, customer: int, page: str) -> Page:
        """Return a page of the customer's orders."""
        return page_of(_with_parts(models.Order.objects.filter(customer_id=customer)), page, to_order)

    def get(self, customer: int, order_id: int) -> Order:
        """Return the customer's order."""
        return _one(models.Order.objects.filter(pk=order_id, customer_id=customer))

    def staff_list(self, status: Status | None, page: str) -> Page:
        """Return a page of everybody's orders."""
        rows = models.Order.objects.all()
        wanted = rows if status is None else rows.filter(status=CODES[status])
        return page_of(_with_parts(wanted), page, to_order)

    def staff_get(self, order_id: int) -> Order:
        """Return anybody's order."""
        return _one(models.Order.objects.filter(pk=order_id))

    @contextmanager
    def checkout(self, wish: Wish) -> Iterator[Callable[[], Order]]:
        """Prepare nothing: stock, carts and prices are in the same database, and so in the same transaction."""
        yield lambda: self._place(wish)

    def _place(self, wish: Wish) -> Order:
        order = self.get(wish.customer, place(wish, timezone.now()))
        bus.emit(OrderPlaced(order))
        if order.status is Status.PAID:
            bus.emit(OrderPaid(order))
        return order

    def cancel(self, customer: int, order_id: int) -> Order:
        """Call the order off, give its stock back and open the refund of what was charged."""
        now = timezone.now()
        before, after = self._change(self._of(customer), order_id, lambda order: order.cancelled(now))
        models.Order.objects.filter(pk=order_id).update(status=CODES[after.status], closed_at=after.closed_at)
        give_back(after.lines)
        charge = before.refundable_charge
        if charge is not None:
            open_attempt(order_id, AttemptKind.REFUND, charge.amount, charge.card, now)
        bus.emit(OrderCancelled(after))
        return self.get(customer, order_id)

    def change_address(self, customer: int, order_id: int, address: Address) -> Order:
        """Send the order elsewhere; the address book entry it came from is no longer its address."""
        _, after = self._change(self._of(customer), order_id, lambda order: order.sent_to(address))
        columns = address_columns(after.ship_to)
        models.Order.objects.filter(pk=order_id).update(**columns, shipping_address_id=None)
        return after

    def open_charge(self, customer: int, order_id: int, card: str) -> UUID:
        """Open the charge of an order that waits for money."""

        def checked(order: Order) -> Order:
            order.check_payable()
            return order

        _, order = self._change(self._of(customer), order_id, checked)
        return open_attempt(order_id, AttemptKind.CHARGE, order.total, card, timezone.now())

    def mark_paid(self, order_id: int, at: datetime) -> Status:
        """Note that the money has arrived, if the order waits for it; return how it stands."""
        before, after = self._change(models.Order.objects.all(), order_id, lambda order: order.paid(at))
        if after is not before:
            models.Order.objects.filter(pk=order_id).update(status=CODES[after.status], paid_at=after.paid_at)
            bus.emit(OrderPaid(after))
        return after.status

    def expire(self, order_id: int, placed_before: datetime) -> Expiry:
        """Give up an order that nobody paid for, and give its stock back."""
        now = timezone.now()
        before, after = self._change(
            models.Order.objects.all(), order_id, lambda order: order.expired(now, placed_before)
        )
        if after is before:
            return Expiry(expired=False)
        models.Order.objects.filter(pk=order_id).update(status=CODES[after.status], closed_at=after.closed_at)
        give_back(after.lines)
        return Expiry(expired=True, pieces=sum(line.quantity for line in after.lines))

    def follow_up(self, order_id: int) -> bool:
        """Have the monolith run what is open for the order, which is in its ledger; it settles what is left open."""
        due = self.staff_get(order_id).due
        for provider_key in due:
            run = run_attempt(provider_key)
            if run is not None and run.paid_at is not None:
                after_the_commit(partial(self._paid, order_id, run.paid_at))
        return bool(due)

    def _paid(self, order_id: int, at: datetime) -> bool:
        with transaction.atomic():
            return self.mark_paid(order_id, at) is Status.PAID

    def resume(self, limit: int) -> Resumed:
        """Leave it to the monolith, whose tables these are."""
        return Resumed()

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

    def _of(self, customer: int) -> QuerySet[models.Order]:
        return models.Order.objects.filter(customer_id=customer)

    def _change(
        self, rows: QuerySet[models.Order], order_id: int, rule: Callable[[Order], Order]
    ) -> tuple[Order, Order]:
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
    return rows.prefetch_related("lines", "payment_attempts")
