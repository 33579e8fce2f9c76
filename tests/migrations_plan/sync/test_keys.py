"""Answered idempotency keys change hands with the orders: whoever owns them next gives the same answer again."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from celery import Task
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.http import HttpRequest, JsonResponse
from django.test import RequestFactory, override_settings
from django.utils import timezone

from extracted.orders.own_store.aggregates import KEYS as DECLARED_BY_THE_SERVICE
from legacy_shop.orders.aggregates import KEYS
from legacy_shop.orders.models import Order
from migrations_plan.sync import aggregates, backfill, operate, sides, tasks, verify
from migrations_plan.sync.aggregates import Aggregate, Rows
from migrations_plan.sync.buckets import BUCKETS, bucket
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.handover import moving
from migrations_plan.sync.keys import check_travelling_keys
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.messages import Side
from migrations_plan.sync.sides import Direction
from router.fences import NotOwner, watched
from router.idempotency import travelling
from router.idempotency.claims import claim
from router.idempotency.errors import ClaimLost, KeyReused
from router.idempotency.guard import Outcome, belongs_to, run_once, settle
from router.idempotency.models import IdempotencyKey, TravellingKey
from router.idempotency.retention import purge
from tests.migrations_plan.sync.houses import AT, LEGACY, OWN, as_extracted, contents, customer, order
from tests.migrations_plan.sync.verifying import customers_of_three_buckets
from tests.own import ALIAS
from tests.own.rows import OwnOrder

pytestmark = pytest.mark.django_db(databases=["default", ALIAS])


class OwnRows(Rows):
    """The same table in the service's database."""

    @property
    def alias(self) -> str:
        return ALIAS


OWN_KEYS = Aggregate(
    name=DECLARED_BY_THE_SERVICE.name,
    moves_with=DECLARED_BY_THE_SERVICE.moves_with,
    partition_key=DECLARED_BY_THE_SERVICE.partition_key,
    bucket=DECLARED_BY_THE_SERVICE.bucket,
    root=OwnRows(model=DECLARED_BY_THE_SERVICE.root.model, fields=DECLARED_BY_THE_SERVICE.root.fields),
)


class AtTheService:
    """A database router: idempotency keys are in the service's database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return ALIAS if model._meta.app_label == "strangler_idempotency" else None

    db_for_write = db_for_read


@contextmanager
def at_the_service() -> Iterator[None]:
    """Be the service for the length of the block, as far as idempotency keys are concerned."""
    routers = [f"{__name__}.AtTheService", "tests.own.databases.OwnSideRouter"]
    with override_settings(DATABASE_ROUTERS=routers):
        yield


@pytest.fixture
def declared() -> Iterator[None]:
    """Let the shop's orders and their keys be what is declared."""
    with aggregates.replaced(LEGACY, KEYS):
        yield


@pytest.fixture
def homes(declared: None) -> Mapping[str, Side]:
    """Install sync of both aggregates on both sides; nothing was there before."""
    operate.install("orders")
    for one in (LEGACY, KEYS):
        backfill.start(one)
        backfill.run(one, progress=lambda done: None, wait=lambda seconds: None)
    with as_extracted():
        for one in (OWN, OWN_KEYS):
            upkeep.start(one)
    return {"legacy": LocalSide("legacy", LEGACY, KEYS), "extracted": LocalSide("extracted", OWN, OWN_KEYS)}


def post(key: str = "K", body: object = "three pieces") -> HttpRequest:
    return RequestFactory().post(
        "/api/orders/", json.dumps(body), content_type="application/json", headers={"Idempotency-Key": key}
    )


def place(who: User, request: HttpRequest | None = None) -> Outcome:
    """Place an order with the shop."""

    def work() -> tuple[int, Any]:
        return 201, {"order": order(who).pk, "by": "the shop"}

    return run_once(request or post(), scope="orders", subject=str(who.pk), work=work)


def place_at_the_service(who: User, request: HttpRequest | None = None) -> Outcome:
    """Place an order with the service."""

    def work() -> tuple[int, Any]:
        made = OwnOrder.objects.using(ALIAS).create(
            pk=2**40 + OwnOrder.objects.using(ALIAS).count(),
            reference=f"S{OwnOrder.objects.using(ALIAS).count()}",
            buyer=who.pk,
            state="pending",
            family_name="Lee",
            street="1 Main Street",
            town="Springfield",
            postal_code="12345",
            country="US",
            currency="EUR",
            total_minor=1,
            ordered_at=AT,
        )
        return 201, {"order": made.pk, "by": "the service"}

    with at_the_service():
        return run_once(request or post(), scope="orders", subject=str(who.pk), work=work)


def move(homes: Mapping[str, Side], who: User, to: str) -> None:
    """Have a side own the customer's bucket."""
    done = moving.move("orders", to, [bucket("orders", who.pk)], between=homes)
    assert done.done, done


class TestThereAndBack:
    def test_whoever_owns_the_orders_gives_the_same_answers(self, homes: Mapping[str, Side]) -> None:
        who = customer()
        first = place(who)
        move(homes, who, "extracted")
        again = place_at_the_service(who)
        assert (again.replayed, again.status, again.data) == (True, 201, first.data)
        assert OwnOrder.objects.using(ALIAS).filter(buyer=who.pk).count() == 1
        second = place_at_the_service(who, post("L"))
        assert not second.replayed
        move(homes, who, "legacy")
        assert (place(who).data, place(who, post("L")).data) == (first.data, second.data)
        assert Order.objects.filter(customer=who).count() == 2
        assert contents(LEGACY) == contents(OWN)
        assert contents(KEYS) == contents(OWN_KEYS)

    def test_who_looked_too_early_is_stopped_by_the_row(
        self, homes: Mapping[str, Side], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer arrives between the claim and the work."""
        who = customer()
        first = place(who)
        move(homes, who, "extracted")
        with monkeypatch.context() as blind:
            blind.setattr(travelling, "find", lambda **identity: None)
            with pytest.raises(ClaimLost), at_the_service():
                place_at_the_service(who)
        assert OwnOrder.objects.using(ALIAS).filter(buyer=who.pk).count() == 1
        assert place_at_the_service(who).data == first.data

    def test_without_either_rule_there_would_be_two_orders(
        self, homes: Mapping[str, Side], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        who = customer()
        place(who)
        move(homes, who, "extracted")
        monkeypatch.setattr(travelling, "find", lambda **identity: None)
        monkeypatch.setattr(travelling, "keep", lambda *args, **answer: None)
        assert not place_at_the_service(who).replayed
        assert OwnOrder.objects.using(ALIAS).filter(buyer=who.pk).count() == 2

    def test_another_payload_is_refused_there_as_well(self, homes: Mapping[str, Side]) -> None:
        who = customer()
        place(who)
        move(homes, who, "extracted")
        with pytest.raises(KeyReused):
            place_at_the_service(who, post(body="four pieces"))

    def test_a_fresher_answer_travels_too(self, homes: Mapping[str, Side]) -> None:
        who = customer()
        place(who).amend(201, {"paid": True})
        move(homes, who, "extracted")
        assert place_at_the_service(who).data == {"paid": True}

    def test_bytes_arrive_as_they_were(self, homes: Mapping[str, Side]) -> None:
        who = customer()
        held = claim(scope="orders", subject=str(who.pk), key="K", fingerprint="f")
        body = bytes(range(256))
        assert held.finish(status=302, content_type="application/pdf", body=body, location="/there/")  # type: ignore[union-attr]
        move(homes, who, "extracted")
        with at_the_service():
            found = claim(scope="orders", subject=str(who.pk), key="K", fingerprint="f")
        assert (found.body, found.location, found.status) == (body, "/there/", 302)  # type: ignore[union-attr]
        found_by_verifying = verify.run(KEYS, homes["legacy"], homes["extracted"])
        assert (found_by_verifying.compared, found_by_verifying.corrupt) == (1, 0)


class TestAfterItHasLeft:
    @pytest.fixture
    def who(self, homes: Mapping[str, Side]) -> User:
        found = customer()
        move(homes, found, "extracted")
        return found

    def test_the_work_is_rolled_back_and_the_key_is_free(self, who: User) -> None:
        request = post()
        with pytest.raises(NotOwner):  # also where the work itself touches nothing that is fenced
            run_once(request, scope="orders", subject=str(who.pk), work=lambda: (200, customer().pk))
        assert User.objects.count() == 1
        assert not IdempotencyKey.objects.exists()
        assert not place_at_the_service(who).replayed

    def test_a_refusal_is_not_the_last_word(self, who: User) -> None:
        request = post()
        with pytest.raises(ZeroDivisionError):
            run_once(request, scope="orders", subject=str(who.pk), work=lambda: (1 // 0, None))
        with watched() as met:
            settle(request, JsonResponse({}, status=404))
        assert [one.aggregate for one in met] == ["orders"]
        assert not IdempotencyKey.objects.exists()
        assert not TravellingKey.objects.exists()

    def test_the_first_answer_stays_where_it_cannot_be_made_fresher(
        self, homes: Mapping[str, Side], caplog: pytest.LogCaptureFixture
    ) -> None:
        """The request is done, so nobody hears of the fence: who heard of it would have it done once more."""
        who = customer()
        placed = place(who)
        move(homes, who, "extracted")
        with watched() as met, caplog.at_level("INFO"):
            placed.amend(201, {"paid": True})
        assert met == []
        assert "the data has moved, and its first answer with it" in caplog.text
        assert place(who).data == placed.data == place_at_the_service(who).data

    def test_whose_data_it_is_may_be_said(self, homes: Mapping[str, Side], who: User) -> None:
        """A member of staff whose own orders have left may still write for a customer whose orders have not."""
        numbers = (pk for pk in range(10_000, 11_000) if bucket("orders", pk) != bucket("orders", who.pk))
        request = post()

        def work() -> tuple[int, Any]:
            belongs_to(request, next(numbers))
            return 200, "done"

        assert run_once(request, scope="orders", subject=str(who.pk), work=work).data == "done"
        assert run_once(post(), scope="orders", subject=str(who.pk), work=work).replayed


class TestRetention:
    def test_each_side_forgets_what_it_owns(self, homes: Mapping[str, Side]) -> None:
        who, other, _ = customers_of_three_buckets()
        for one in (who, other):
            place(one)
        move(homes, who, "extracted")
        long_ago = timezone.now() - timedelta(days=60)
        for alias in ("default", ALIAS):
            with_fences_down = TravellingKey.objects.using(alias)
            upkeep.install.remove(KEYS if alias == "default" else OWN_KEYS)
            with_fences_down.update(completed_at=long_ago)
            upkeep.install.put(KEYS if alias == "default" else OWN_KEYS)
        assert purge(dry_run=True) == 1
        assert purge() == 1
        assert list(TravellingKey.objects.values_list("subject", flat=True)) == [str(who.pk)]
        with override_settings(STRANGLER_IDEMPOTENCY={"TRAVELS": ["orders"]}):  # the fence says the same
            assert purge() == 0
        assert TravellingKey.objects.count() == 1

    def test_what_the_owner_forgets_is_forgotten_here(self, homes: Mapping[str, Side]) -> None:
        who = customer()
        place(who)
        way = Direction(source=homes["legacy"], target=homes["extracted"])
        sent = operate.relaying.relay(KEYS, way)
        assert sent.sent == 1
        TravellingKey.objects.all().delete()
        operate.relaying.relay(KEYS, way)
        assert not TravellingKey.objects.using(ALIAS).exists()


class TestTogether:
    def test_what_is_done_to_the_leader_is_done_to_all(self, declared: None) -> None:
        put = operate.install("orders")
        assert {name.split("_")[2] for name in put} == {"orders"}
        assert operate.to_install("orders.keys") == ()
        assert upkeep.installed(KEYS)
        place(customer())
        operate.start_backfill("orders")
        done = operate.run_backfill("orders", lambda done: None, lambda seconds: None)
        assert (done.marked, done.total, done.finished) == (2, 2, True)
        assert operate.owned_buckets("orders") == frozenset(range(BUCKETS))
        operate.uninstall("orders")
        assert not upkeep.installed(KEYS)

    def test_both_are_relayed_and_compared(self, homes: Mapping[str, Side], monkeypatch: pytest.MonkeyPatch) -> None:
        out = Direction(source=homes["legacy"], target=homes["extracted"])
        ways = (out, Direction(source=out.target, target=out.source))
        monkeypatch.setattr(operate, "directions", lambda name: ways)
        place(customer())
        assert [report.sent for report in operate.relay_once("orders")] == [2, 0]
        found = operate.run_verification("orders", lambda text: None)
        assert (found.aggregate, found.compared, found.clean) == ("orders", 2, True)
        assert operate.latest_verification("orders.keys") is not None

    def test_one_task_relays_both_in_turn(self, homes: Mapping[str, Side], monkeypatch: pytest.MonkeyPatch) -> None:
        """So that a worker needs no more threads than there are services and ways."""
        hints: list[tuple[str, ...]] = []
        monkeypatch.setattr(Task, "apply_async", lambda self, args, **options: hints.append((self.name, *args)))
        tasks.sweep()
        assert [hint for hint in hints if hint[0] == "strangler_sync.relay"] == [
            ("strangler_sync.relay", "orders", 0),
            ("strangler_sync.relay", "orders", 1),
        ]
        way = Direction(source=homes["legacy"], target=homes["extracted"])
        monkeypatch.setattr(tasks, "directions", lambda name: (way, Direction(source=way.target, target=way.source)))
        monkeypatch.setattr(tasks, "RELAY_SECONDS", 0.0)
        place(customer())
        assert tasks.relay("orders", 0) == "legacy->extracted: 2 applied"
        assert contents(KEYS) == contents(OWN_KEYS)

    def test_the_other_side_of_the_keys_is_that_of_the_orders(self, declared: None) -> None:
        assert sides.peer_of("orders.keys") == sides.peer_of("orders") is not None
        assert sides.peer_of("users") is None


class TestChecks:
    def test_all_is_well(self, declared: None) -> None:
        assert check_travelling_keys(None) == []

    @pytest.mark.parametrize(
        ("known", "travels", "code"),
        [
            ((LEGACY,), ["orders"], "E011"),
            ((LEGACY, KEYS), [], "E012"),
            ((KEYS,), ["orders"], "E013"),
        ],
    )
    def test_what_is_wrong(self, known: tuple[Aggregate, ...], travels: list[str], code: str) -> None:
        with aggregates.replaced(*known), override_settings(STRANGLER_IDEMPOTENCY={"TRAVELS": travels}):
            assert [one.id for one in check_travelling_keys(None)] == [f"strangler_sync.{code}"]


def test_a_row_that_came_by_sync_is_no_duplicate_of_itself(homes: Mapping[str, Side]) -> None:
    who = customer()
    place(who)
    kept = TravellingKey.objects.get()
    with pytest.raises(IntegrityError):
        TravellingKey.objects.create(
            scope=kept.scope,
            subject=kept.subject,
            key=kept.key,
            bucket=kept.bucket,
            fingerprint="f",
            status=200,
            body=b"",
            completed_at=kept.completed_at,
        )
