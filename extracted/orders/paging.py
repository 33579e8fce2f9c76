"""Pages of orders, counted as the shop's lists count them, whatever tables the orders live in."""

from collections.abc import Callable
from typing import Any

from django.core.paginator import EmptyPage, PageNotAnInteger, Paginator
from django.db.models import QuerySet

from extracted.orders.domain.errors import PageNotFound
from extracted.orders.domain.order import Order
from extracted.orders.domain.store import PAGE_SIZE, Page


def page_of(rows: QuerySet[Any], number: str, to_order: Callable[[Any], Order]) -> Page:
    """Return the page ``number`` of ``rows``; raise PageNotFound."""
    paginator = Paginator(rows, PAGE_SIZE)
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
