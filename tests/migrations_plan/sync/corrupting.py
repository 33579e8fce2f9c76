"""Harm that is done to an order behind sync's back, at either side."""

from decimal import Decimal
from typing import Any

from django.db.models import F

from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync.database import capture_suppressed
from migrations_plan.sync.models import Applied, Mark
from tests.migrations_plan.sync.houses import line, unseen
from tests.own.models import Attempt, Item
from tests.own.rows import OwnOrder


def own() -> Any:
    return OwnOrder.objects.using("own")


@unseen()
def replica_amount(of: Order) -> None:
    own().filter(pk=of.pk).update(total_minor=F("total_minor") + 1)


@unseen()
def replica_text_set_to_null(of: Order) -> None:
    own().filter(pk=of.pk).update(given_name=None)


@unseen()
def replica_part_amount(of: Order) -> None:
    Item.objects.using("own").filter(order_id=of.pk).update(amount_minor=1)


@unseen()
def replica_part_missing(of: Order) -> None:
    Item.objects.using("own").filter(order_id=of.pk).order_by("id")[0].delete()


@unseen()
def replica_part_extra(of: Order) -> None:
    item = Item.objects.using("own").filter(order_id=of.pk).order_by("id")[0]
    item.pk = 2**50
    item.save(using="own", force_insert=True)


@unseen()
def replica_part_of_another(of: Order) -> None:
    another = own().exclude(pk=of.pk).order_by("id")[0]
    Item.objects.using("own").filter(order_id=of.pk).update(order_id=another.pk)


@unseen()
def replica_missing(of: Order) -> None:
    own().get(pk=of.pk).delete()


def replica_came_back(of: Order) -> None:
    with capture_suppressed("default"):
        PaymentAttempt.objects.filter(order_id=of.pk).delete()
        Order.objects.get(pk=of.pk).delete()
    Mark.objects.filter(key=str(of.pk)).update(deleted=True)


def replica_version_stale(of: Order) -> None:
    Applied.objects.using("own").filter(key=str(of.pk)).update(gen=1)


def replica_version_lost(of: Order) -> None:
    Applied.objects.using("own").filter(key=str(of.pk)).delete()


def replica_version_ahead(of: Order) -> None:
    Applied.objects.using("own").filter(key=str(of.pk)).update(gen=99)


@unseen()
def replica_unreadable(of: Order) -> None:
    Attempt.objects.using("own").filter(order_id=of.pk).update(state="strange")


def owner_amount(of: Order) -> None:
    with capture_suppressed("default"):
        Order.objects.filter(pk=of.pk).update(total=F("total") + Decimal("0.01"))


def owner_part_missing(of: Order) -> None:
    with capture_suppressed("default"):
        OrderLine.objects.filter(order_id=of.pk).order_by("id")[0].delete()


def owner_part_extra(of: Order) -> None:
    with capture_suppressed("default"):
        line(of)


def owner_missing(of: Order) -> None:
    with capture_suppressed("default"):
        PaymentAttempt.objects.filter(order_id=of.pk).delete()
        Order.objects.get(pk=of.pk).delete()


def owner_mark_lost(of: Order) -> None:
    Mark.objects.filter(key=str(of.pk)).delete()


def owner_mark_stale(of: Order) -> None:
    Mark.objects.filter(key=str(of.pk)).update(gen=1, acked=1)
