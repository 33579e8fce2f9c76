"""The one way by which the monolith's own code reaches orders: each operation here has a twin in the orders service.

Both sides return the documents of the API. Views, commands and admin actions call these functions and no model; who
does the work is the plan's business (see docs/seam.md).
"""

from typing import Any

from django.contrib.auth.models import User
from django.core.paginator import EmptyPage, PageNotAnInteger, Paginator
from django.utils.dateparse import parse_datetime

from legacy_shop.api_support import PAGE_SIZE
from legacy_shop.orders import expiry
from legacy_shop.orders.documents import order_document, with_parts
from legacy_shop.orders.exceptions import UnknownOrder, UnknownPage
from legacy_shop.orders.models import Order
from legacy_shop.orders.refusals import raise_refusal, refusal_of
from legacy_shop.orders.services import ShipTo
from legacy_shop.orders.services import cancel_order as cancel_row
from legacy_shop.orders.services import change_address as change_row
from legacy_shop.orders.services import mark_paid as mark_row_paid
from legacy_shop.orders.wishes import place_wish
from router import seam

Document = dict[str, Any]


def _owner(customer_id: int, *rest: Any) -> int:
    return customer_id


def _read(answer: seam.Answer) -> Any:
    """Return what the service answered; raise what the monolith would have."""
    if not answer.ok:
        raise_refusal(answer.status, answer.json())
    return answer.json()


# --- what customers do ---------------------------------------------------------------------------------------
@seam.read("orders.page", key=_owner, refusal=refusal_of)
def order_page(customer_id: int, number: str) -> Document:
    """Return a page of the customer's orders, newest first; raise UnknownPage."""
    paginator = Paginator(with_parts(Order.objects.filter(customer_id=customer_id)), PAGE_SIZE)
    try:
        page = paginator.page(number)
    except (EmptyPage, PageNotAnInteger) as error:
        raise UnknownPage from error
    return {
        "count": paginator.count,
        "page": page.number,
        "pages": paginator.num_pages,
        "results": [order_document(order) for order in page.object_list],
    }


@order_page.remote
def _ask_page(service: seam.Client, customer_id: int, number: str) -> Document:
    answer = service.get("/api/orders/", {"page": number})
    if answer.status == 404:
        raise UnknownPage
    return _read(answer)


@seam.read("orders.detail", key=_owner, refusal=refusal_of)
def order_detail(customer_id: int, order_id: int) -> Document:
    """Return an order of the customer; raise UnknownOrder."""
    order = with_parts(Order.objects.filter(customer_id=customer_id, pk=order_id)).first()
    if order is None:
        raise UnknownOrder
    return order_document(order)


@order_detail.remote
def _ask_detail(service: seam.Client, customer_id: int, order_id: int) -> Document:
    return _read(service.get(f"/api/orders/{order_id}/"))


@seam.write("orders.place", key=_owner, refusal=refusal_of, answer=lambda document: (201, document))
def place(customer_id: int, wish: Document) -> Document:
    """Place an order; raise UnknownAddress, EmptyCart, UnknownProduct, OutOfStock, OrderTooLarge or CartChanged.

    The caller then runs the charge with ``run_due_attempts``.
    """
    return order_document(place_wish(User.objects.get(pk=customer_id), wish))


@place.remote
def _ask_to_place(service: seam.Client, customer_id: int, wish: Document) -> Document:
    lines = {} if wish["cart"] else {"lines": wish["lines"]}
    return _read(service.post("/api/orders/", {**{key: wish[key] for key in wish if key != "lines"}, **lines}))


@seam.write("orders.cancel", key=_owner, refusal=refusal_of)
def cancel(customer_id: int, order_id: int) -> Document:
    """Call an order off; raise UnknownOrder or NotCancellable. The caller then runs the refund."""
    return order_document(cancel_row(order_id, customer=User(pk=customer_id)))


@cancel.remote
def _ask_to_cancel(service: seam.Client, customer_id: int, order_id: int) -> Document:
    return _read(service.post(f"/api/orders/{order_id}/cancel/"))


@seam.write("orders.address", key=_owner, refusal=refusal_of)
def change_address(customer_id: int, order_id: int, place: dict[str, str]) -> Document:
    """Send an order elsewhere; raise UnknownOrder or NotChangeable."""
    return order_document(change_row(order_id, ShipTo(**place), customer=User(pk=customer_id)))


@change_address.remote
def _ask_to_redirect(service: seam.Client, customer_id: int, order_id: int, place: dict[str, str]) -> Document:
    return _read(service.patch(f"/api/orders/{order_id}/address/", place))


# --- what the shop does --------------------------------------------------------------------------------------
@seam.write("orders.paid", key=_owner, refusal=refusal_of)
def mark_paid(customer_id: int, order_id: int, paid_at: str) -> Document:
    """Tell an order that its money arrived; return its ``status`` afterwards. Raises UnknownOrder."""
    at = parse_datetime(paid_at)
    if at is None:
        raise ValueError(f"{paid_at!r} is no point in time. Use ISO 8601: 2026-01-31T12:00:00+00:00.")
    return {"status": str(Order.Status(mark_row_paid(order_id, at).status).label)}


@mark_paid.remote
def _ask_to_mark_paid(service: seam.Client, customer_id: int, order_id: int, paid_at: str) -> Document:
    return _read(service.post(f"/internal/orders/{order_id}/paid/", {"paid_at": paid_at}))


@seam.write("orders.expire", key=_owner, refusal=refusal_of)
def expire(customer_id: int, order_id: int, placed_before: str) -> Document:
    """Give up an order that is older and that nobody paid for; return whether it ``expired``, and its ``pieces``."""
    before = parse_datetime(placed_before)
    if before is None:
        raise ValueError(f"{placed_before!r} is no point in time. Use ISO 8601: 2026-01-31T12:00:00+00:00.")
    report = expiry.expire_one(order_id, before)
    return {"expired": bool(report.orders), "pieces": report.pieces}


@expire.remote
def _ask_to_expire(service: seam.Client, customer_id: int, order_id: int, placed_before: str) -> Document:
    return _read(service.post(f"/internal/orders/{order_id}/expire/", {"placed_before": placed_before}))
