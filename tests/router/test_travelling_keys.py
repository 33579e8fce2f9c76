"""Which answers are kept to change hands with the data, and with which bucket."""

import uuid
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpRequest
from django.test import RequestFactory, override_settings

from router.buckets import bucket
from router.idempotency import travelling
from router.idempotency.claims import Stored, claim, seize
from router.idempotency.conf import check_settings
from router.idempotency.errors import ClaimLost, KeyReused
from router.idempotency.guard import belongs_to, run_once
from router.idempotency.models import IdempotencyKey, TravellingKey
from router.routes import Key
from router.seam.operations import MONOLITH

KEY = {"subject": "7", "key": "K", "fingerprint": "f"}


def held(scope: str = "orders", **changed: str) -> Any:
    return claim(scope=scope, **{**KEY, **changed})


def answered(scope: str = "orders", **changed: str) -> None:
    held(scope, **changed).finish(status=201, content_type="text/plain", body=b"done")


@pytest.mark.any_database
class TestBuckets:
    """They have to be those of the data, or a fence would refuse what is ours to write."""

    def test_nobody_owns_data(self) -> None:
        assert MONOLITH in travelling.NOBODY
        assert [travelling.bucket_of("orders", subject) for subject in ("", MONOLITH)] == [None, None]

    @pytest.mark.parametrize("number", [0, 7, 12_345, 2**40])
    def test_a_number_as_text_has_the_bucket_of_the_number(self, number: int) -> None:
        assert travelling.bucket_of("orders", str(number)) == bucket("orders", number)

    @pytest.mark.parametrize("owner", [9, uuid.UUID(int=9), "nine"])
    def test_what_is_said_counts(self, owner: Key) -> None:
        assert travelling.bucket_of("orders", "7", owner) == bucket("orders", owner)
        assert travelling.bucket_of("orders", MONOLITH, owner) == bucket("orders", owner)

    def test_of_a_service_that_is_not_divided_nothing_travels(self) -> None:
        assert travelling.bucket_of("payments", "7", 9) is None


@pytest.mark.any_database
@pytest.mark.parametrize("value", [["orders", "payments"], "orders", [""], [7]])
def test_one_service_at_most(value: object) -> None:
    with override_settings(STRANGLER_IDEMPOTENCY={"TRAVELS": value}):
        assert [one.id for one in check_settings()] == ["strangler_idempotency.E001"]


@pytest.mark.django_db
class TestKept:
    def test_with_the_answer(self) -> None:
        answered()
        row, mine = TravellingKey.objects.get(), IdempotencyKey.objects.get()
        assert (row.scope, row.subject, row.key, row.fingerprint) == ("orders", "7", "K", "f")
        assert (row.status, row.content_type, bytes(row.body), row.location) == (201, "text/plain", b"done", None)
        assert (row.bucket, row.completed_at) == (bucket("orders", 7), mine.completed_at)

    def test_not_before_and_not_without_an_answer(self) -> None:
        mine = held()
        assert not TravellingKey.objects.exists()
        mine.release()
        held().lapse()
        assert not TravellingKey.objects.exists()

    @pytest.mark.parametrize("changed", [{"scope": "payments"}, {"subject": ""}, {"subject": MONOLITH}])
    def test_not_what_stays(self, changed: dict[str, str]) -> None:
        answered(**changed)
        assert IdempotencyKey.objects.count() == 1
        assert not TravellingKey.objects.exists()

    def test_with_what_it_belongs_to(self) -> None:
        request: HttpRequest = RequestFactory().post("/", headers={"Idempotency-Key": "K"})
        belongs_to(request, 9)
        run_once(request, scope="orders", subject="7", work=lambda: (200, None))
        assert TravellingKey.objects.get().bucket == bucket("orders", 9)

    def test_a_fresher_answer(self) -> None:
        mine = held()
        mine.finish(status=201, content_type="text/plain", body=b"done")
        mine.amend(status=200, content_type="text/html", body=b"paid")
        row = TravellingKey.objects.get()
        assert (row.status, row.content_type, bytes(row.body)) == (200, "text/html", b"paid")


@pytest.mark.django_db
class TestFound:
    @pytest.fixture(autouse=True)
    def came_by_sync(self, db: None) -> None:
        answered()
        IdempotencyKey.objects.all().delete()

    def test_whoever_asks(self) -> None:
        for ask in (claim, seize):
            found = ask(scope="orders", **KEY)
            assert found == Stored(status=201, content_type="text/plain", body=b"done")
        assert not IdempotencyKey.objects.exists()

    def test_another_payload_is_refused(self) -> None:
        with pytest.raises(KeyReused):
            held(fingerprint="g")

    def test_a_key_that_is_taken_whatever_it_was_used_for(self) -> None:
        assert isinstance(seize(scope="orders", subject="7", key="K", fingerprint=None), Stored)

    def test_it_counts_more_than_a_claim_of_this_side(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as blind:
            blind.setattr(travelling, "find", lambda **identity: None)
            mine = held()
        with pytest.raises(ClaimLost), transaction.atomic():
            mine.complete(status=200, content_type="", body=b"again")
        assert (mine.lost, mine.pending) == (True, False)
        assert isinstance(held(), Stored)

    def test_a_late_refusal_does_not_replace_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as blind:
            blind.setattr(travelling, "find", lambda **identity: None)
            mine = held()
        assert not mine.finish(status=409, content_type="", body=b"no")
        assert mine.lost
        assert held().body == b"done"
