"""Take pieces from the shelf and put them back, so that no two orders get the same piece."""

from collections.abc import Iterable

from django.db.models import F

from extracted.orders.domain.errors import OutOfStock
from extracted.orders.domain.order import Line
from extracted.orders.legacy_store import models


def take(lines: Iterable[Line]) -> None:
    """Take what ``lines`` need, in the order of product ids so that concurrent orders cannot deadlock."""
    for line in sorted(lines, key=lambda line: line.product):
        enough = models.Stock.objects.filter(product_id=line.product, on_hand__gte=line.quantity)
        if not enough.update(on_hand=F("on_hand") - line.quantity):
            raise OutOfStock(f"{line.name} is out of stock.")


def give_back(lines: Iterable[Line]) -> None:
    """Put what ``lines`` took back on the shelf, in the order of product ids."""
    for line in sorted(lines, key=lambda line: line.product):
        models.Stock.objects.filter(product_id=line.product).update(on_hand=F("on_hand") + line.quantity)
