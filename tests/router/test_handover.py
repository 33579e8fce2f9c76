"""While data changes hands each write is carried out once, by whoever owns its data, or answered 503 in time."""

import copy
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test import AsyncClient, Client
from django.utils import timezone

from router import breaker, diversion, metrics
from router.api import handovers
from router.buckets import bucket
from router.handover import owners
from router.holders import Holder
from router.idempotency import views
from router.idempotency.claims import HEADER as KEY_HEADER
from router.idempotency.models import IdempotencyKey
from router.middleware import STALE_HEADER
from router.service.headers import NOT_OWNER_HEADER
from router.testing import override_envelope, override_killed, override_ownership, override_routes
from tests.processes import free_port
from tests.router.fenced import ROUTES, fenced, names, put_up, take_down
from tests.router.test_middleware import SECRET
from tests.router.upstreams import Received, Recorder, recording_upstream

pytestmark = pytest.mark.django_db(transaction=True)

OWNER = 7
BUCKET = bucket("orders", OWNER)
HOLD = {"SECONDS": 0.5, "MOST": 2, "POLL_SECONDS": 0.01}


def made(request: Received) -> tuple[int, dict[str, str], bytes]:
    return 201, {}, b"service made it"


def not_owner(request: Received) -> tuple[int, dict[str, str], bytes]:
    return 409, {NOT_OWNER_HEADER: "orders"}, b"{}"


def fail(request: Received) -> tuple[int, dict[str, str], bytes]:
    return 500, {}, b""


@pytest.fixture(autouse=True)
def site(settings: Any) -> Iterator[None]:
    """Have a site with groups in place of orders."""
    settings.ROOT_URLCONF = "tests.router.fenced"
    breaker.reset()
    metrics.reset()
    with override_routes(*ROUTES):
        yield
    breaker.reset()
    metrics.reset()
    take_down()


@pytest.fixture
def stores(settings: Any) -> Iterator[tuple[Recorder, Recorder]]:
    """Have a service with both of its stores, and the envelope of a cut-over."""
    with recording_upstream() as shared, recording_upstream() as own:
        point(settings, shared=shared.url, own=own.url)
        own.answer = shared.answer = made
        with override_envelope("orders", reads=100, writes=100, step="separate.cutover"):
            yield shared, own


@pytest.fixture
def own(stores: tuple[Recorder, Recorder]) -> Recorder:
    return stores[1]


@pytest.fixture
def shared(stores: tuple[Recorder, Recorder]) -> Recorder:
    return stores[0]


@pytest.fixture
def owned(stores: Any) -> Iterator[None]:
    with override_ownership("orders", extracted=[BUCKET]):
        yield


@pytest.fixture
def changing(stores: Any) -> Iterator[None]:
    with override_ownership("orders", changing=[BUCKET]):
        yield


@pytest.fixture
def in_legacy(stores: Any) -> Iterator[None]:
    """Let legacy own everything and answer everything, as far as the snapshot knows."""
    with override_envelope("orders"), override_ownership("orders"):
        yield


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say who owns the data by the database, now and at each later look."""

    def say(*holders: Holder | Exception) -> None:
        left = list(holders)

        def owner_now(service: str, in_bucket: int) -> Holder:
            assert (service, in_bucket) == ("orders", BUCKET)
            said = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(said, Exception):
                raise said
            return said

        monkeypatch.setattr(owners, "owner_now", owner_now)

    return say


def point(settings: Any, **urls: str) -> None:
    strangler = copy.deepcopy(settings.STRANGLER)
    strangler["SERVICES"]["orders"] |= {"UPSTREAMS": urls, "SECRET": SECRET}
    settings.STRANGLER = {**strangler, "HOLD": HOLD, "DEBUG_HEADERS": True}


def post(name: str = "groups", body: str = "a", **headers: str) -> Any:
    client = Client(headers=headers, raise_request_exception=False)
    return client.post(f"/{name}/{OWNER}/", body, content_type="text/plain")


def refused(response: Any, cause: str) -> bool:
    return (response.status_code, response["Retry-After"], response.json()["code"]) == (503, "1", cause)


def counted() -> Any:
    metrics.flush()
    return handovers("orders", timezone.now() - timedelta(minutes=1))


class TestTheServiceOwnsIt:
    """Nothing but the service writes what it owns."""

    def test_writes_and_reads_go_to_its_own_store(self, owned: None, own: Recorder, shared: Recorder) -> None:
        assert post().status_code == 201
        assert Client().get(f"/show/{OWNER}/").status_code == 201
        assert (len(own.received), len(shared.received), names()) == (2, 0, [])

    def test_also_while_envelope_and_flags_let_nobody_in(self, owned: None, own: Recorder) -> None:
        with override_envelope("orders"):
            assert post().status_code == 201
        assert (len(own.received), names()) == (1, [])

    @pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k1"}])
    def test_a_write_that_fails_there_is_never_done_by_legacy(
        self, owned: None, own: Recorder, key: dict[str, str]
    ) -> None:
        own.answer = fail
        answer = post(**key)
        assert (answer.status_code, answer["Retry-After"], names()) == (503, "1", [])
        assert not IdempotencyKey.objects.exists()  # nor is the key taken: the service may be at it
        assert key or answer["Idempotency-Key"] == own.received[0].values("Idempotency-Key")[0]

    def test_nor_is_one_that_was_never_sent(self, owned: None, settings: Any) -> None:
        point(settings, own=f"http://127.0.0.1:{free_port()}")
        for _ in range(8):  # until the breaker is open, and after that
            answer = post()
            assert (answer.status_code, answer["Retry-After"], names()) == (503, "1", [])

    def test_what_came_home_a_moment_ago_is_done_there_if_it_was_never_sent(
        self, owned: None, settings: Any, now: Any
    ) -> None:
        """A service that owns nothing any more may be gone before every process knows."""
        point(settings, own=f"http://127.0.0.1:{free_port()}")
        now("legacy")
        assert post(body="hello").content == b"legacy made hello"
        assert names() == ["hello"]

    def test_but_nobody_does_what_may_have_been_sent(self, owned: None, own: Recorder, now: Any) -> None:
        own.answer = fail
        now("legacy")
        assert (post().status_code, names()) == (503, [])

    def test_nor_where_nobody_can_say_who_owns_it(self, owned: None, settings: Any, now: Any) -> None:
        point(settings, own=f"http://127.0.0.1:{free_port()}")
        now(DatabaseError("gone"))
        assert (post().json()["code"], names()) == ("unavailable", [])

    def test_a_write_is_waited_for_and_a_read_is_not(self, owned: None, own: Recorder, settings: Any) -> None:
        """The copy can show it instead; nobody else can do it."""
        strangler = copy.deepcopy(settings.STRANGLER)
        strangler["SERVICES"]["orders"]["TIMEOUTS"] = {"FIRST_BYTE": 0.05, "TOTAL": 5.0}
        settings.STRANGLER = strangler
        never = threading.Event()

        def slowly(request: Received) -> tuple[int, dict[str, str], bytes]:
            never.wait(0.3)
            return made(request)

        own.answer = slowly
        assert post().content == b"service made it"
        assert Client().get(f"/show/{OWNER}/").content == b"legacy shows"

    def test_a_read_that_fails_there_is_answered_by_the_copy_and_says_so(self, owned: None, own: Recorder) -> None:
        own.answer = fail
        answer = Client().get(f"/show/{OWNER}/")
        assert (answer.content, answer[STALE_HEADER]) == (b"legacy shows", "1")

    def test_under_the_kill_switch_reads_come_from_the_copy_and_writes_wait(self, owned: None, own: Recorder) -> None:
        with override_killed("orders.off"):
            answer = Client().get(f"/show/{OWNER}/")
            assert (answer.content, answer[STALE_HEADER]) == (b"legacy shows", "1")
            assert refused(post(), "killed")
        assert (own.received, names()) == ([], [])

    def test_lists_over_many_owners_stay_with_legacy_until_all_has_left(self, owned: None, own: Recorder) -> None:
        answer = Client().get("/all/")
        assert (answer.content, answer[STALE_HEADER]) == (b"legacy shows", "1")
        with override_ownership("orders", extracted=range(100)):
            answer = Client().get("/all/")
        assert (answer.status_code, answer.get(STALE_HEADER)) == (201, None)
        assert len(own.received) == 1

    def test_nobody_else_says_what_is_stale(self, owned: None, own: Recorder) -> None:
        own.answer = lambda request: (200, {STALE_HEADER: "1"}, b"")
        assert STALE_HEADER not in Client().get(f"/show/{OWNER}/", headers={STALE_HEADER: "1"})
        assert own.received[0].values(STALE_HEADER) == []


class TestRefusedByLegacy:
    """The snapshot is a moment old; the fence is not."""

    @pytest.mark.parametrize("name", ["groups", "swallow"])
    def test_the_owner_is_sent_it_once(self, in_legacy: None, own: Recorder, now: Any, name: str) -> None:
        """Whatever the view made of the error."""
        now("extracted")
        with fenced():
            answer = post(name, "hello")
        assert (answer.status_code, answer.content, names()) == (201, b"service made it", [])
        assert [request.body for request in own.received] == [b"hello"]
        assert counted().redispatched == 1

    def test_without_a_fence_legacy_does_it_and_nobody_is_asked(self, in_legacy: None, own: Recorder, now: Any) -> None:
        now(AssertionError("must not be asked"))
        assert post().content == b"legacy made a"
        assert own.received == []

    def test_what_cannot_be_sent_again_is_told_to_come_back(self, in_legacy: None, own: Recorder, now: Any) -> None:
        now("extracted")
        with fenced():
            assert refused(post("final"), "not_replayable")
        assert (own.received, counted().refused) == ([], {"not_replayable": 1})

    def test_so_is_one_whose_body_is_too_long(self, in_legacy: None, own: Recorder, now: Any, settings: Any) -> None:
        settings.STRANGLER = {**settings.STRANGLER, "MAX_BODY_BYTES": 3}
        now("extracted")
        with fenced():
            client = Client(raise_request_exception=False)
            assert refused(client.post(f"/groups/{OWNER}/", {"name": "longer"}), "body_not_kept")
        assert own.received == []

    def test_a_key_is_free_again_and_the_rest_is_rolled_back(self, in_legacy: None, own: Recorder, now: Any) -> None:
        now("extracted")
        with fenced():
            answer = post("once", **{"Idempotency-Key": "k1"})
        assert (answer.status_code, names(), IdempotencyKey.objects.count()) == (201, [], 0)
        assert own.received[0].values("Idempotency-Key") == ["k1"]

    @pytest.mark.parametrize("rule", [True, False])
    def test_nothing_stays_of_what_is_handed_on(
        self, in_legacy: None, own: Recorder, now: Any, monkeypatch: pytest.MonkeyPatch, rule: bool
    ) -> None:
        """Else half of it is done here, and all of it there."""
        if not rule:
            monkeypatch.setattr(views, "whole", lambda work: work())
        now("extracted")
        with fenced():
            post("once", **{"Idempotency-Key": "k1"})
        assert len(own.received) == 1
        assert names() == ([] if rule else ["note 1"])

    @pytest.mark.parametrize("rule", [True, False])
    def test_a_fence_that_the_view_swallows_counts(
        self, in_legacy: None, own: Recorder, now: Any, monkeypatch: pytest.MonkeyPatch, rule: bool
    ) -> None:
        """Else the client is told that all is well, and nobody has done anything."""
        if not rule:
            monkeypatch.setattr(diversion, "watched", lambda: nullcontext([]))
        now("extracted")
        with fenced():
            answer = post("swallow")
        assert (answer.status_code < 300, names()) == (True, [])
        assert (len(own.received) == 1) is rule

    def test_the_fence_of_another_service_cannot_be_got_round(self, in_legacy: None, own: Recorder, now: Any) -> None:
        now("extracted")
        with fenced(aggregate="payments"):
            assert refused(post(), "elsewhere")
        assert own.received == []

    def test_without_a_key_the_fence_says_whose_it_is(self, in_legacy: None, own: Recorder, now: Any) -> None:
        now("extracted")
        with fenced():
            assert Client(raise_request_exception=False).post("/batch/").status_code == 201
        with fenced("frozen"):
            assert refused(Client(raise_request_exception=False).post("/batch/"), "unknown_owner")
        assert len(own.received) == 1

    def test_two_sides_that_refuse_are_not_asked_for_ever(self, in_legacy: None, own: Recorder, now: Any) -> None:
        now("extracted", "legacy", "extracted", "legacy", "extracted")
        own.answer = not_owner
        started = time.monotonic()
        with fenced():
            assert refused(post(), "changing_hands")
        assert time.monotonic() - started < HOLD["SECONDS"] + 10
        assert len(own.received) <= 4


class TestRefusedByTheService:
    def test_legacy_does_it_where_it_has_become_the_owner(self, owned: None, own: Recorder, now: Any) -> None:
        own.answer = not_owner
        now("legacy")
        with override_ownership("orders", extracted=[BUCKET]), override_envelope("orders"):
            assert post(body="hello").content == b"legacy made hello"
        assert (len(own.received), names()) == (1, ["hello"])

    def test_the_store_on_the_monoliths_database_hands_on_to_the_other(
        self, stores: tuple[Recorder, Recorder], now: Any
    ) -> None:
        shared, own = stores
        shared.answer = not_owner
        now("extracted")
        assert post(body="hello").content == b"service made it"
        assert [len(shared.received), len(own.received)] == [1, 1]
        first, second = (store.received[0].values(KEY_HEADER) for store in stores)
        assert (len(first[0]), second) == (32, first), "the key that was minted for it stays the same"

    def test_its_client_never_sees_the_refusal(self, owned: None, own: Recorder, now: Any) -> None:
        own.answer = not_owner
        now("extracted")
        answer = post("final")
        assert refused(answer, "not_replayable")
        assert NOT_OWNER_HEADER not in answer
        assert len(own.received) == 1

    def test_it_is_asked_again_after_a_moment_since_legacy_learns_last(
        self, owned: None, own: Recorder, now: Any
    ) -> None:
        now("extracted")
        asked: list[float] = []

        def at_last(request: Received) -> tuple[int, dict[str, str], bytes]:
            asked.append(time.monotonic())
            return (not_owner if len(asked) < 3 else made)(request)

        own.answer = at_last
        assert post().status_code == 201
        first, second, third = asked
        assert second - first > 0.09
        assert third - second > 0.09

    def test_a_key_that_legacy_took_from_it_in_vain_is_free_for_a_retry(
        self, stores: tuple[Recorder, Recorder], now: Any
    ) -> None:
        """The store on the monolith's database failed, and the data moved before legacy could do it instead."""
        shared, own = stores
        shared.answer = fail
        now("extracted")
        with fenced():
            assert post(**{"Idempotency-Key": "k1"}).content == b"service made it"
        row = IdempotencyKey.objects.get(key="k1")
        assert (row.state, row.lease_until <= timezone.now()) == ("claimed", True)
        assert own.received[0].values("Idempotency-Key") == ["k1"]

    def test_without_a_clients_key_it_is_done_under_the_minted_one_or_not_at_all(
        self, stores: tuple[Recorder, Recorder], monkeypatch: Any, settings: Any
    ) -> None:
        """The store was asked and gave no answer; then a fence was met. That it cannot be reached now proves nothing:
        the first request may be waiting there still."""
        shared, own = stores
        shared.answer = fail

        def given_back(service: str, in_bucket: int) -> Holder:
            take_down()
            point(settings, shared=f"http://127.0.0.1:{free_port()}", own=own.url)
            return "legacy"

        monkeypatch.setattr(owners, "owner_now", given_back)
        put_up("frozen")
        assert post(body="hello").content == b"legacy made hello"
        asked = shared.received[0]
        row = IdempotencyKey.objects.get(key=asked.values(KEY_HEADER)[0])
        assert (row.state, names()) == ("done", ["hello"])

    def test_nobody_is_told_to_come_back_without_the_key_that_was_sent(
        self, stores: tuple[Recorder, Recorder], now: Any
    ) -> None:
        shared, _ = stores
        shared.answer = fail
        now("none")
        with fenced("frozen"):
            answer = post()
        assert refused(answer, "changing_hands")
        assert [answer[KEY_HEADER]] == shared.received[0].values(KEY_HEADER)

    def test_a_read_that_it_refuses_is_answered_by_legacy(self, owned: None, own: Recorder) -> None:
        own.answer = not_owner
        assert Client().get(f"/show/{OWNER}/").content == b"legacy shows"


class TestHeld:
    """A held write is carried out once, or answered 503 by its deadline."""

    @pytest.mark.parametrize("name", ["groups", "final"])
    def test_until_the_service_owns_it(self, changing: None, own: Recorder, now: Any, name: str) -> None:
        now("none", "none", "none", "extracted")
        assert post(name).content == b"service made it"
        assert (len(own.received), names(), counted().held) == (1, [], 1)

    def test_until_legacy_owns_it_again(self, changing: None, own: Recorder, now: Any) -> None:
        now("none", "none", "legacy")
        with override_envelope("orders"), override_ownership("orders", changing=[BUCKET]):
            assert post().content == b"legacy made a"
        assert (own.received, names()) == ([], ["a"])

    def test_the_deadline(self, changing: None, own: Recorder, now: Any) -> None:
        now("none")
        started = time.monotonic()
        assert refused(post(), "changing_hands")
        assert 0.4 < time.monotonic() - started < 10
        assert (own.received, names(), counted().refused) == ([], [], {"changing_hands": 1})

    @pytest.mark.parametrize("rule", [True, False])
    def test_nothing_is_begun_after_it(
        self, changing: None, own: Recorder, now: Any, monkeypatch: pytest.MonkeyPatch, rule: bool
    ) -> None:
        """There is an owner at last, after more looks than fit into the time."""
        if not rule:
            monkeypatch.setattr(owners, "monotonic", lambda: 0.0)
        looks = round(HOLD["SECONDS"] / HOLD["POLL_SECONDS"]) + 10
        now(*["none"] * looks, "extracted")
        assert post().status_code == (503 if rule else 201)
        assert (own.received == []) is rule

    def test_the_deadline_holds_while_the_database_does_not_answer(self, changing: None, now: Any) -> None:
        now(OperationalError())
        assert refused(post(), "changing_hands")

    def test_only_so_many_wait(self, changing: None, own: Recorder, now: Any, settings: Any) -> None:
        settings.STRANGLER = {**settings.STRANGLER, "HOLD": {**HOLD, "SECONDS": 60.0}}
        now("none")
        with ExitStack() as stack:
            for _ in range(HOLD["MOST"]):
                stack.enter_context(owners._slots.taken())
            started = time.monotonic()
            assert refused(post(), "too_many")
            assert time.monotonic() - started < 20
        assert owners.waiting() == 0

    def test_a_place_is_given_back(self, changing: None, now: Any) -> None:
        now("none")
        for _ in range(HOLD["MOST"] + 1):
            assert refused(post(), "changing_hands")

    def test_no_transaction_stays_open_meanwhile(self, changing: None, now: Any, settings: Any) -> None:
        settings.STRANGLER = {**settings.STRANGLER, "HOLD": {**HOLD, "SECONDS": 60.0}}
        now("none")
        with transaction.atomic():
            started = time.monotonic()
            assert refused(post(), "in_transaction")
            assert time.monotonic() - started < 20

    def test_a_forged_form_is_not_held(self, changing: None, now: Any) -> None:
        now(AssertionError("must not be asked"))
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(User.objects.create_user("ann"))
        assert browser.post(f"/groups/{OWNER}/").status_code == 403

    def test_a_frozen_fence_is_waited_for(self, in_legacy: None, own: Recorder, monkeypatch: Any) -> None:
        """The bucket was frozen after the snapshot was taken, and the change was called off."""
        looks: list[int] = []

        def owner_now(service: str, in_bucket: int) -> Holder:
            looks.append(in_bucket)
            if len(looks) < 3:
                return "none"
            take_down()
            return "legacy"

        monkeypatch.setattr(owners, "owner_now", owner_now)
        put_up("frozen")
        assert post(body="hello").content == b"legacy made hello"
        assert (own.received, names()) == ([], ["hello"])

    def test_reads_go_on(self, changing: None, shared: Recorder) -> None:
        answer = Client().get(f"/show/{OWNER}/")
        assert (answer.content, answer.get(STALE_HEADER)) == (b"service made it", None)
        assert len(shared.received) == 1

    def test_a_read_is_answered_by_who_owns_an_announced_bucket_now(
        self, stores: tuple[Recorder, Recorder], now: Any
    ) -> None:
        """The rules are as old as the last poll; the copy that was left behind may be older than what was written."""
        shared, own = stores
        for known, at_present, asked in (((), "extracted", own), ([BUCKET], "legacy", shared)):
            now(at_present)
            with override_ownership("orders", extracted=known, announced=[BUCKET]):
                answer = Client().get(f"/show/{OWNER}/")
            assert (answer.get(STALE_HEADER), len(asked.received)) == (None, 1)

    def test_of_other_buckets_nobody_is_asked(self, stores: Any, own: Recorder, now: Any) -> None:
        now(AssertionError("asked"))
        with override_ownership("orders", announced=[(BUCKET + 1) % 100]):
            Client().get(f"/show/{OWNER}/")
        assert own.received == []

    @pytest.mark.parametrize("known", ["legacy", "extracted"])
    def test_where_the_database_cannot_say_it_reads_go_on_by_the_rules_and_say_so(
        self, stores: tuple[Recorder, Recorder], now: Any, known: str
    ) -> None:
        """That nobody owned the data would mean that legacy had it last, and has all that was written."""
        shared, own = stores
        now(OperationalError("gone"))
        with override_ownership("orders", extracted=[BUCKET] if known == "extracted" else [], announced=[BUCKET]):
            answer = Client().get(f"/show/{OWNER}/")
        asked, other = (own, shared) if known == "extracted" else (shared, own)
        assert (answer.get(STALE_HEADER), len(asked.received), other.received) == ("1", 1, [])

    def test_a_lost_connection_is_no_reason_not_to_know(self, stores: tuple[Recorder, Recorder], now: Any) -> None:
        shared, own = stores
        now(OperationalError("terminated"), "extracted")
        with override_ownership("orders", announced=[BUCKET]):
            answer = Client().get(f"/show/{OWNER}/")
        assert (answer.get(STALE_HEADER), len(own.received), shared.received) == (None, 1, [])

    def test_on_an_event_loop(self, changing: None, own: Recorder, now: Any) -> None:
        now("none", "none", "extracted")
        answer = async_to_sync(AsyncClient().post)(f"/groups/{OWNER}/", "hello", content_type="text/plain")
        assert answer.content == b"service made it"

    def test_refused_on_an_event_loop(self, in_legacy: None, own: Recorder, now: Any) -> None:
        now("none", "extracted")
        with fenced(bucket=str(BUCKET) if connection.vendor == "postgresql" else "?"):
            client = AsyncClient(raise_request_exception=False)
            answer = async_to_sync(client.post)(f"/swallow/{OWNER}/", "hello", content_type="text/plain")
        assert (answer.content, names()) == (b"service made it", [])
