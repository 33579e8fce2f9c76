"""Events of data that changes hands are numbered on at its new home, and arrive in the order in which they happened."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from legacy_shop.orders.aggregates import NUMBERS
from migrations_plan.sync import aggregates, backfill, operate
from migrations_plan.sync.aggregates import Aggregate, Rows
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.events import outbox
from migrations_plan.sync.events.api import EventError, event_type, publish
from migrations_plan.sync.events.conf import conf
from migrations_plan.sync.events.envelopes import Envelope
from migrations_plan.sync.events.errors import NoOwner
from migrations_plan.sync.events.models import AggregateSequence, OutboxEvent, TravellingSequence
from migrations_plan.sync.events.runs import work
from migrations_plan.sync.handover import moving
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.messages import Side
from migrations_plan.sync.numbers import check_travelling_numbers
from router.fences import NotOwner
from tests.migrations_plan.sync.events.conftest import Happened, World, bring
from tests.migrations_plan.sync.houses import LEGACY, OWN, as_extracted, contents
from tests.own import ALIAS

pytestmark = [pytest.mark.django_db(databases=["default", ALIAS]), pytest.mark.usefixtures("world", "travelling")]

CUSTOMER = 42
TRAVELS = {"orders.tested": "orders"}
GETS_ALL, GETS_SOME = {"shop": ["orders.#"]}, {"shop": ["orders.tested.happened"]}


class OwnRows(Rows):
    """The same table in the service's database."""

    @property
    def alias(self) -> str:
        return ALIAS


OWN_NUMBERS = Aggregate(
    name=NUMBERS.name,
    moves_with=NUMBERS.moves_with,
    partition_key=NUMBERS.partition_key,
    bucket=NUMBERS.bucket,
    root=OwnRows(model=NUMBERS.root.model, fields=NUMBERS.root.fields),
)


class Other(Happened):
    """Something else that happens to the same things."""


class AtTheService:
    """A database router: the outbox is in the service's database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return ALIAS if model._meta.app_label == "strangler_events" else None

    db_for_write = db_for_read


@contextmanager
def at_the_service() -> Iterator[None]:
    """Be the service for the length of the block, as far as events are concerned."""
    with override_settings(DATABASE_ROUTERS=[f"{__name__}.AtTheService", "tests.own.databases.OwnSideRouter"]):
        yield


@pytest.fixture
def travelling(settings: Any) -> None:
    settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "TRAVELS": TRAVELS, "CONSUMERS": GETS_ALL}


@pytest.fixture
def homes() -> Iterator[Mapping[str, Side]]:
    """Install sync of orders and of their events' numbers on both sides; nothing was there before."""
    with aggregates.replaced(LEGACY, NUMBERS):
        operate.install("orders")
        for one in (LEGACY, NUMBERS):
            backfill.start(one)
            backfill.run(one, progress=lambda done: None, wait=lambda seconds: None)
        with as_extracted():
            for one in (OWN, OWN_NUMBERS):
                upkeep.start(one)
        yield {"legacy": LocalSide("legacy", LEGACY, NUMBERS), "extracted": LocalSide("extracted", OWN, OWN_NUMBERS)}


def tell(number: int, payload: type[Happened] = Happened) -> None:
    with transaction.atomic(using=outbox.alias()):
        publish(payload(number=number), key=7, owner=CUSTOMER)


def move(homes: Mapping[str, Side], to: str) -> None:
    done = moving.move("orders", to, [bucket("orders", CUSTOMER)], between=homes)
    assert done.done, done


def brought(stream: str) -> list[Any]:
    """Return what the broker would bring from the outbox of whoever we are."""
    outbox.fan_out()
    found = []
    for event in OutboxEvent.objects.using(outbox.alias()).order_by("pk"):
        after = dict(event.deliveries.values_list("consumer", "after"))
        found.append(json.loads(json.dumps(Envelope.of(event, stream=stream, after=after).as_json())))
    return found


def numbers(messages: list[Any]) -> list[tuple[int, dict[str, int]]]:
    return [(one["sequence"], one["after"]) for one in messages]


def there_and_back(homes: Mapping[str, Side]) -> tuple[list[Any], list[Any]]:
    """Have something happen at legacy, at the service, and at legacy again; return what either tells."""
    tell(1)
    tell(2)
    move(homes, "extracted")
    with at_the_service():
        tell(3)
        there = brought("orders")
    move(homes, "legacy")
    tell(4)
    return brought("default"), there


def test_numbers_go_on_where_they_stopped(homes: Mapping[str, Side]) -> None:
    here, there = there_and_back(homes)
    assert numbers(here) == [(1, {"shop": 0}), (2, {"shop": 1}), (4, {"shop": 3})]
    assert numbers(there) == [(3, {"shop": 2})]
    move(homes, "extracted")
    assert contents(NUMBERS) != {}
    assert contents(NUMBERS) == contents(OWN_NUMBERS)


def test_what_happened_later_waits_for_what_comes_from_the_former_home(homes: Mapping[str, Side], world: World) -> None:
    (first, second, fourth), (third,) = there_and_back(homes)
    assert bring(third, fourth, first) == ["new"] * 3
    work()
    assert world.numbers() == [1]
    bring(second)
    work()
    assert world.numbers() == world.numbers("test.outside") == [1, 2, 3, 4]


def test_nobody_waits_for_what_it_does_not_get(homes: Mapping[str, Side], settings: Any) -> None:
    event_type("orders.tested.other")(Other)
    settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "CONSUMERS": GETS_SOME}
    tell(1)
    tell(2, Other)
    move(homes, "extracted")
    with at_the_service():
        tell(3)
        assert numbers(brought("orders")) == [(3, {"shop": 1})]


def test_who_does_not_own_the_data_has_nothing_to_tell(homes: Mapping[str, Side]) -> None:
    tell(1)
    move(homes, "extracted")
    with pytest.raises(NotOwner), transaction.atomic():
        tell(2)
    assert numbers(brought("default")) == [(1, {"shop": 0})]


def test_without_an_owner_nothing_is_published() -> None:
    with pytest.raises(NoOwner, match=r"orders\.tested\.happened .*owner=") as error, transaction.atomic():
        publish(Happened(number=1), key=7)
    assert isinstance(error.value, EventError)
    assert not OutboxEvent.objects.exists()


def test_numbers_that_were_counted_before_they_travelled_are_not_given_again(settings: Any) -> None:
    settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "TRAVELS": {}}
    tell(1)
    tell(2)
    settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "TRAVELS": TRAVELS}
    tell(3)
    assert AggregateSequence.objects.get().last == 2
    assert TravellingSequence.objects.get().last == 3


class TestChecks:
    def test_all_is_well(self) -> None:
        with aggregates.replaced(LEGACY, NUMBERS):
            assert check_travelling_numbers(None) == []

    @pytest.mark.parametrize(
        ("known", "travels", "code"),
        [
            ((LEGACY,), TRAVELS, "E014"),
            ((LEGACY, NUMBERS), {}, "E015"),
            ((NUMBERS,), TRAVELS, "E013"),
        ],
    )
    def test_what_is_wrong(
        self, known: tuple[Aggregate, ...], travels: dict[str, str], code: str, settings: Any
    ) -> None:
        settings.STRANGLER_EVENTS = {"TRAVELS": travels}
        with aggregates.replaced(*known):
            assert [one.id for one in check_travelling_numbers(None)] == [f"strangler_sync.{code}"]

    @pytest.mark.parametrize("value", ["orders", {"orders.order": ""}, {"orders.order": 3}])
    def test_a_setting_that_means_nothing(self, value: Any, settings: Any) -> None:
        settings.STRANGLER_EVENTS = {"TRAVELS": value}
        with pytest.raises(Exception, match="TRAVELS"):
            conf()
