"""Operations while data changes hands: by whoever owns it, once, and never by legacy for what the service owns."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, OperationalError, transaction
from django.test import RequestFactory

from router import breaker, metrics, seam
from router.handover import own_writes, owners
from router.holders import Holder
from router.idempotency.claims import HEADER
from router.idempotency.models import IdempotencyKey
from router.testing import override_envelope, override_killed, override_ownership
from tests.processes import free_port
from tests.router.fenced import fenced, names, put_up, take_down
from tests.router.seams import forgotten_afterwards
from tests.router.test_handover import BUCKET, OWNER, fail, not_owner, point
from tests.router.upstreams import Received, Recorder, recording_upstream

pytestmark = pytest.mark.django_db(transaction=True)


def made(request: Received) -> tuple[int, dict[str, str], bytes]:
    return 201, {"Content-Type": "application/json"}, json.dumps("service").encode()


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    breaker.reset()
    metrics.reset()
    with forgotten_afterwards():
        yield
    breaker.reset()
    metrics.reset()
    take_down()


@pytest.fixture
def make() -> Any:
    """Return an operation that makes a group and a note; a fence refuses groups and no notes."""

    @seam.write("orders.make", key=lambda owner, name: owner, answer=lambda made: (201, made))
    def make(owner: int, name: str) -> str:
        Group.objects.create(name=f"note {name}")
        if name != "swallowed":
            Group.objects.create(name=name)
            return "legacy"
        with suppress(DatabaseError), transaction.atomic():  # as legacy code does that expects a duplicate
            Group.objects.create(name=name)
        return "legacy"

    @make.remote
    def _make(service: seam.Client, owner: int, name: str) -> str:
        return service.post("/groups/", {"name": name}).json()

    return make


@pytest.fixture
def peek() -> Any:
    @seam.read("orders.peek", key=lambda owner: owner)
    def peek(owner: int) -> str:
        return "legacy"

    @peek.remote
    def _peek(service: seam.Client, owner: int) -> str:
        return service.get("/groups/").json()

    return peek


@pytest.fixture
def own(settings: Any) -> Iterator[Recorder]:
    """Have a service with its own store only, and legacy in charge as far as the envelope goes."""
    with recording_upstream() as recorder, override_envelope("orders"):
        point(settings, shared=f"http://127.0.0.1:{free_port()}", own=recorder.url)
        recorder.answer = made
        yield recorder


@pytest.fixture
def owned(own: Recorder) -> Iterator[None]:
    with override_ownership("orders", extracted=[BUCKET]):
        yield


def say(monkeypatch: pytest.MonkeyPatch, *holders: Holder) -> None:
    left = list(holders)
    monkeypatch.setattr(owners, "owner_now", lambda service, number: left.pop(0) if len(left) > 1 else left[0])


class TestOwned:
    def test_the_service_does_it_whatever_the_flags_say(self, make: Any, peek: Any, own: Recorder, owned: None) -> None:
        assert (make(OWNER, "a"), peek(OWNER), names()) == ("service", "service", [])
        assert make.decision(OWNER, "a").store == "own"

    @pytest.mark.parametrize("key", [None, "k1"])
    def test_legacy_never_does_it(self, make: Any, own: Recorder, owned: None, key: str | None) -> None:
        own.answer = fail
        with pytest.raises(seam.Unavailable) as told:
            (make.once(key) if key else make)(OWNER, "a")
        assert names() == []
        assert told.value.key == own.received[0].values(HEADER)[0]
        assert not IdempotencyKey.objects.exists()

    def test_nor_what_was_never_sent(self, make: Any, owned: None, settings: Any) -> None:
        point(settings, own=f"http://127.0.0.1:{free_port()}")
        for _ in range(8):
            with pytest.raises(seam.Unavailable):
                make(OWNER, "a")
        assert names() == []

    @pytest.mark.parametrize("key", [None, "k1"])
    def test_but_what_came_home_a_moment_ago_is_done_there(
        self, make: Any, owned: None, settings: Any, monkeypatch: Any, key: str | None
    ) -> None:
        point(settings, own=f"http://127.0.0.1:{free_port()}")
        say(monkeypatch, "legacy")
        assert (make.once(key) if key else make)(OWNER, "a") == "legacy"
        assert names() == ["a", "note a"]

    def test_a_read_comes_from_the_copy(self, peek: Any, own: Recorder, owned: None) -> None:
        own.answer = fail
        assert peek(OWNER) == "legacy"

    def test_under_the_kill_switch(self, make: Any, peek: Any, own: Recorder, owned: None) -> None:
        with override_killed("orders.off"):
            assert peek(OWNER) == "legacy"
            with pytest.raises(seam.Unavailable, match="switched off"):
                make(OWNER, "a")
        assert (names(), own.received) == ([], [])

    def test_something_has_moved(self, owned: None) -> None:
        assert seam.moved("orders")


class TestRefused:
    @pytest.mark.parametrize("name", ["a", "swallowed"])
    @pytest.mark.parametrize("key", [None, "k1"])
    def test_by_legacy(self, make: Any, own: Recorder, monkeypatch: Any, name: str, key: str | None) -> None:
        """All of it is rolled back, whatever the function made of the error, and the owner does it."""
        say(monkeypatch, "extracted")
        with fenced():
            assert (make.once(key) if key else make)(OWNER, name) == "service"
        assert (names(), len(own.received), IdempotencyKey.objects.count()) == ([], 1, 0)
        assert key is None or own.received[0].values(HEADER) == [key]

    @pytest.mark.parametrize("key", [None, "k1"])
    def test_by_the_service(self, make: Any, own: Recorder, owned: None, monkeypatch: Any, key: str | None) -> None:
        say(monkeypatch, "legacy")
        own.answer = not_owner
        assert (make.once(key) if key else make)(OWNER, "a") == "legacy"
        assert (names(), len(own.received)) == (["a", "note a"], 1)

    def test_whoever_is_asked_next_is_asked_under_the_same_key(
        self, make: Any, own: Recorder, settings: Any, monkeypatch: Any
    ) -> None:
        """A service that refuses has done nothing; if it has all the same, its answer is found under the key."""
        say(monkeypatch, "extracted")
        with recording_upstream() as shared, override_envelope("orders", reads=100, writes=100):
            point(settings, shared=shared.url, own=own.url)
            shared.answer = not_owner
            assert make(OWNER, "a") == "service"
        (first,), (second,) = (one.received[0].values(HEADER) for one in (shared, own))
        assert first == second

    def test_what_may_have_reached_the_service_is_done_under_its_key_or_not_at_all(
        self, make: Any, own: Recorder, settings: Any, monkeypatch: Any
    ) -> None:
        """A fence was met in between, and now the service cannot be reached: the first request may wait there still."""

        def given_back(service: str, number: int) -> Holder:
            take_down()
            point(settings, shared=f"http://127.0.0.1:{free_port()}", own=own.url)
            return "legacy"

        monkeypatch.setattr(owners, "owner_now", given_back)
        with recording_upstream() as shared, override_envelope("orders", reads=100, writes=100):
            point(settings, shared=shared.url, own=own.url)
            shared.answer = fail
            put_up("frozen")
            assert make(OWNER, "a") == "legacy"
        row = IdempotencyKey.objects.get(key=shared.received[0].values(HEADER)[0])
        assert (row.state, names()) == ("done", ["a", "note a"])

    def test_who_cannot_be_served_is_told_the_key_that_was_sent(
        self, make: Any, own: Recorder, settings: Any, monkeypatch: Any
    ) -> None:
        say(monkeypatch, "none")
        with recording_upstream() as shared, override_envelope("orders", reads=100, writes=100), fenced("frozen"):
            point(settings, shared=shared.url, own=own.url)
            shared.answer = fail
            with pytest.raises(seam.Unavailable) as told:
                make(OWNER, "a")
        assert [told.value.key] == shared.received[0].values(HEADER)

    def test_legacy_too(self, make: Any, own: Recorder, owned: None, monkeypatch: Any) -> None:
        say(monkeypatch, "legacy")
        own.answer = not_owner
        assert make(OWNER, "a") == "legacy"
        assert [IdempotencyKey.objects.get().key] == own.received[0].values(HEADER)

    def test_by_the_fence_of_another_service(self, make: Any, own: Recorder, monkeypatch: Any) -> None:
        say(monkeypatch, "extracted")
        with fenced(aggregate="payments"), pytest.raises(seam.Unavailable, match="moved to another service"):
            make(OWNER, "a")
        assert (names(), own.received) == ([], [])

    def test_a_read(self, peek: Any, own: Recorder, owned: None) -> None:
        own.answer = not_owner
        assert peek(OWNER) == "legacy"


class TestHeld:
    @pytest.fixture(autouse=True)
    def changing(self, own: Recorder) -> Iterator[None]:
        with override_ownership("orders", changing=[BUCKET]):
            yield

    def test_until_the_service_owns_it(self, make: Any, own: Recorder, monkeypatch: Any) -> None:
        say(monkeypatch, "none", "none", "extracted")
        assert (make(OWNER, "a"), len(own.received), names()) == ("service", 1, [])

    def test_until_legacy_owns_it(self, make: Any, own: Recorder, monkeypatch: Any) -> None:
        say(monkeypatch, "none", "legacy")
        assert (make(OWNER, "a"), names()) == ("legacy", ["a", "note a"])

    def test_until_its_deadline(self, make: Any, own: Recorder, monkeypatch: Any) -> None:
        say(monkeypatch, "none")
        with pytest.raises(seam.Unavailable, match="changing hands") as told:
            make.once("k1")(OWNER, "a")
        assert (told.value.key, names(), own.received) == ("k1", [], [])

    def test_a_read_is_answered_by_who_owns_an_announced_bucket_now(
        self, peek: Any, own: Recorder, monkeypatch: Any
    ) -> None:
        say(monkeypatch, "extracted")
        with override_ownership("orders", announced=[BUCKET]):
            peek(OWNER)
        assert len(own.received) == 1

    def test_where_the_database_cannot_say_it_the_rules_hold(
        self, peek: Any, own: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(service: str, bucket: int) -> Holder:
            raise OperationalError("gone")

        monkeypatch.setattr(owners, "owner_now", gone)
        for known, side in (([BUCKET], "service"), ([], "legacy")):
            moving, request = (
                override_ownership("orders", extracted=known, announced=[BUCKET]),
                RequestFactory().get("/"),
            )
            with moving, own_writes.carrying(request) as carried:
                assert (peek(OWNER), carried.stale) == (side, True)

    def test_reads_go_on(self, peek: Any, own: Recorder) -> None:
        assert (peek(OWNER), own.received) == ("legacy", [])
