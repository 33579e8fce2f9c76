"""What the toolkit writes on each request does not grow for ever."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from legacy_shop.backoffice.tasks import forget_old_rows
from router.idempotency.models import IdempotencyKey
from router.models import TrafficCount

pytestmark = pytest.mark.django_db


def key(name: str, days: int) -> None:
    at = timezone.now() - timedelta(days=days)
    IdempotencyKey.objects.create(
        scope="orders", key=name, fingerprint="f", holder="legacy", token=uuid4(), created_at=at, lease_until=at
    )


def count(route: str, days: int) -> None:
    at = timezone.now() - timedelta(days=days)
    TrafficCount.objects.create(
        at=at, process="p", service="orders", route=route, kind="read", side="legacy", outcome="ok", count=1
    )


def test_old_rows_go_and_new_ones_stay() -> None:
    for make in (key, count):
        make("old", 60)
        make("new", 1)
    assert forget_old_rows() == "forgot 1 idempotency keys, 1 rows of traffic and 0 reservations"
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["new"]
    assert list(TrafficCount.objects.values_list("route", flat=True)) == ["new"]
