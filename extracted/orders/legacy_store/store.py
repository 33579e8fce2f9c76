"""Orders in the monolith's tables: the store of the shared phases."""

from collections.abc import Callable

from django.core.paginator import EmptyPage, PageNotAnInteger, Paginator
from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone

from extracted.orders.domain.errors import OrderNotFound, PageNotFound
from extracted.orders.domain.order import Address, AttemptKind, Order, Status
from extracted.orders.domain.store import PAGE_SIZE, Page, Wish
from extracted.orders.legacy_store import models
from extracted.orders.legacy_store.attempts import open_attempt
from extracted.orders.legacy_store.checkout import place
from extracted.orders.legacy_store.documents import CODES, address_columns, to_order
from extracted.orders.legacy_store.stock import give_back


class LegacyOrderStore:
    """The ``OrderStore`` over the tables that the monolith owns and both sides write."""

    name = "shared"

    def list_for(self, customer: int, page: str) -> Page:
        """Return a page of the customer's orders."""
        return _page(models.Order.objects.filter(customer_id=customer), page)

    def get(self, customer: int, order_id: int) -> Order:
        """Return the customer's order."""
        return _one(models.Order.objects.filter(pk=order_id, customer_id=customer))

    def staff_list(self, status: Status | None, page: str) -> Page:
        """Return a page of everybody's orders."""
        rows = models.Order.objects.all()
        return _page(rows if status is None else rows.filter(status=CODES[status]), page)

    def staff_get(self, order_id: int) -> Order:
        """Return anybody's order."""
        return _one(models.Order.objects.filter(pk=order_id))

    def place(self, wish: Wish) -> Order:
        """Take stock, keep the order and open the charge."""
        return self.get(wish.customer, place(wish, timezone.now()))

    def cancel(self, customer: int, order_id: int) -> Order:
        """Call the order off, give its stock back and open the refund of what was charged."""
        now = timezone.now()
        before, after = self._change(customer, order_id, lambda order: order.cancelled(now))
        models.Order.objects.filter(pk=order_id).update(status=CODES[after.status], closed_at=after.closed_at)
        give_back(after.lines)
        charge = before.refundable_charge
        if charge is not None:
            open_attempt(order_id, AttemptKind.REFUND, charge.amount, charge.card, now)
        return self.get(customer, order_id)

    def change_address(self, customer: int, order_id: int, address: Address) -> Order:
        """Send the order elsewhere; the address book entry it came from is no longer its address."""
        _, after = self._change(customer, order_id, lambda order: order.sent_to(address))
        columns = address_columns(after.ship_to)
        models.Order.objects.filter(pk=order_id).update(**columns, shipping_address_id=None)
        return after

    def check(self) -> str:
        """Return the vendor of the database that holds the tables, after asking one of them."""
        models.Order.objects.exists()
        return connections[models.Order.objects.db].vendor

    def _change(self, customer: int, order_id: int, rule: Callable[[Order], Order]) -> tuple[Order, Order]:
        """Lock the customer's order and return it before and after ``rule``."""
        locked = models.Order.objects.select_for_update().filter(pk=order_id, customer_id=customer)
        if not locked.values_list("pk", flat=True).first():
            raise OrderNotFound
        before = self.get(customer, order_id)
        return before, rule(before)


def _page(rows: QuerySet[models.Order], number: str) -> Page:
    """Return the page ``number`` of ``rows`` as the shop's lists count pages."""
    paginator = Paginator(_with_parts(rows), PAGE_SIZE)
    try:
        page = paginator.page(number)
    except (EmptyPage, PageNotAnInteger) as error:
        raise PageNotFound from error
    return Page(
        count=paginator.count,
        number=page.number,
        pages=paginator.num_pages,
        orders=tuple(to_order(row) for row in page.object_list),
    )


def _one(rows: QuerySet[models.Order]) -> Order:
    """Return the one order in ``rows``."""
    row = _with_parts(rows).first()
    if row is None:
        raise OrderNotFound
    return to_order(row)


def _with_parts(rows: QuerySet[models.Order]) -> QuerySet[models.Order]:
    """Return ``rows`` with what a whole order needs, in three queries however many there are."""
    return rows.prefetch_related("lines", "payment_attempts")
