"""Writes through a seam take effect once, whichever side does them and whatever fails on the way."""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import RequestFactory
from django.utils import timezone

from router import breaker, seam
from router.idempotency.claims import HEADER, fingerprint_of
from router.idempotency.errors import KeyInFlight, KeyMalformed, KeyReused
from router.idempotency.guard import run_once
from router.idempotency.models import IdempotencyKey
from router.testing import override_envelope
from tests.processes import free_port
from tests.router.seams import Refused, forgotten_afterwards, raise_for, refusal_of
from tests.router.test_middleware import point_to
from tests.router.upstreams import Received, Recorder, recording_upstream

JSON = {"Content-Type": "application/json"}
LATE = b'{"name": "late", "by": "service"}'


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Begin and end with closed breakers and the project's own operations."""
    breaker.reset()
    with forgotten_afterwards():
        yield
    breaker.reset()


@pytest.fixture
def make() -> Any:
    """Return an operation that makes a group: a row is the effect that must be there once."""

    @seam.write("orders.make", key=lambda owner, name: owner, refusal=refusal_of, answer=lambda made: (201, made))
    def make(owner: int, name: str) -> dict[str, Any]:
        if name == "crash":
            raise ZeroDivisionError
        Group.objects.create(name=name)
        if name == "refused":
            raise Refused("not that one")
        return {"name": name, "by": "legacy"}

    @make.remote
    def _make(service: seam.Client, owner: int, name: str) -> dict[str, Any]:
        answer = service.post("/groups/", {"name": name})
        raise_for(answer)
        return answer.json()

    return make


@pytest.fixture
def upstream(settings) -> Iterator[Recorder]:
    with recording_upstream() as recorder, override_envelope("orders", writes=100):
        point_to(settings, recorder.url)
        recorder.answer = lambda request: (201, JSON, json.dumps({"by": "service"}).encode())
        yield recorder


@pytest.fixture
def down(settings) -> Iterator[None]:
    point_to(settings, f"http://127.0.0.1:{free_port()}")
    with override_envelope("orders", writes=100):
        yield


def fail(request: Received) -> tuple[int, dict[str, str], bytes]:
    return 500, JSON, b"{}"


def arrive_late(request: Received) -> Any:
    """Do what the service does with a request it was sent before: claim its key, work, commit."""
    (key,) = request.values(HEADER)
    late = RequestFactory().post(
        request.target, request.body, content_type="application/json", headers={"Idempotency-Key": key}
    )

    def work() -> tuple[int, Any]:
        Group.objects.create(name="late")
        return 201, json.loads(LATE)

    return run_once(late, scope="orders", subject="7", work=work)


def names() -> list[str]:
    return sorted(Group.objects.values_list("name", flat=True))


@pytest.mark.django_db
class TestOnce:
    """One effect."""

    def test_legacy(self, make: Any) -> None:
        assert make(7, "a") == {"name": "a", "by": "legacy"}
        assert names() == ["a"]

    def test_the_service(self, make: Any, upstream: Recorder) -> None:
        assert make(7, "a") == {"by": "service"}
        assert names() == []
        assert len(upstream.received[0].values(HEADER)[0]) == 32

    def test_what_was_never_sent_is_done_by_legacy(self, make: Any, down: None) -> None:
        assert make(7, "a")["by"] == "legacy"
        assert not IdempotencyKey.objects.exists()

    def test_what_was_sent_is_done_by_legacy_and_never_again_by_a_late_service(
        self, make: Any, upstream: Recorder
    ) -> None:
        upstream.answer = fail
        assert make(7, "a")["by"] == "legacy"
        outcome = arrive_late(upstream.received[0])
        assert (outcome.replayed, outcome.data) == (True, {"name": "a", "by": "legacy"})
        assert names() == ["a"]

    def test_a_refusal_by_legacy_refuses_the_late_service_too(self, make: Any, upstream: Recorder) -> None:
        upstream.answer = fail
        with pytest.raises(Refused):
            make(7, "refused")
        assert arrive_late(upstream.received[0]).status == 409
        assert names() == []  # what legacy had done before it refused is rolled back

    def test_a_crash_of_legacy_is_the_last_word_too(self, make: Any, upstream: Recorder) -> None:
        upstream.answer = fail
        with pytest.raises(ZeroDivisionError):
            make(7, "crash")
        assert arrive_late(upstream.received[0]).status == 500
        assert names() == []

    def test_the_service_s_refusal_is_raised(self, make: Any, upstream: Recorder) -> None:
        upstream.answer = lambda request: (409, JSON, b'{"code": "no", "detail": "sold out"}')
        with pytest.raises(Refused, match="sold out"):
            make(7, "a")
        assert names() == []

    def test_a_remote_function_that_swallows_the_failure(self, upstream: Recorder) -> None:
        @seam.write("orders.optimist", key=lambda: 7)
        def optimist() -> str:
            Group.objects.create(name="a")
            return "legacy"

        @optimist.remote
        def _(service: seam.Client) -> str:
            try:
                return str(service.post("/").status)
            except Exception:
                return "made up"

        upstream.answer = fail
        assert optimist() == "legacy"
        assert arrive_late(upstream.received[0]).replayed

    def test_half_of_legacy_s_work_is_none(self, make: Any) -> None:
        with pytest.raises(Refused):
            make(7, "refused")
        assert names() == []


@pytest.mark.django_db
class TestKeysOfTheCaller:
    """The same key gives the same result, on either side and across both."""

    def test_legacy_twice(self, make: Any, settings) -> None:
        assert make.once("k")(7, "a") == make.once("k")(7, "a") == {"name": "a", "by": "legacy"}
        assert names() == ["a"]

    def test_a_refusal_twice(self, make: Any) -> None:
        for _ in range(2):
            with pytest.raises(Refused, match="not that one"):
                make.once("k")(7, "refused")

    def test_a_crash_gives_the_key_back(self, make: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            make.once("k")(7, "crash")
        assert not IdempotencyKey.objects.exists()

    def test_begun_by_legacy_and_asked_again_after_the_move(self, make: Any, upstream: Recorder) -> None:
        with override_envelope("orders"):
            make.once("k")(7, "a")
        upstream.answer = fail
        assert make.once("k")(7, "a")["by"] == "legacy"
        assert arrive_late(upstream.received[0]).replayed
        assert names() == ["a"]

    def test_it_is_the_key_that_the_service_gets(self, make: Any, upstream: Recorder) -> None:
        make.once("k")(7, "a")
        assert upstream.received[0].values(HEADER) == ["k"]

    def test_never_sent_but_perhaps_before_on_a_request_under_way(self, make: Any, down: None) -> None:
        """The key is taken even though this very request was not sent: an earlier one may have been."""
        request = RequestFactory().post("/groups/", b'{"name":"a"}', content_type="application/json")
        hold("k", fingerprint_of(request), holder="extracted")
        assert make.once("k")(7, "a")["by"] == "legacy"
        assert IdempotencyKey.objects.get(key="k").holder == "legacy"

    def test_another_call_under_the_same_key(self, make: Any) -> None:
        make.once("k")(7, "a")
        with pytest.raises(KeyReused):
            make.once("k")(7, "b")

    def test_somebody_else_s_key_is_another_one(self, make: Any) -> None:
        make.once("k")(7, "a")
        make.once("k")(8, "b")
        assert names() == ["a", "b"]

    def test_under_way(self, make: Any) -> None:
        request = RequestFactory().post("/groups/", b'{"name":"a"}', content_type="application/json")
        hold("k", fingerprint_of(request), holder="legacy")
        with pytest.raises(KeyInFlight):
            make.once("k")(7, "a")
        assert names() == []

    def test_under_way_at_the_service(self, make: Any, upstream: Recorder) -> None:
        body = json.dumps({"code": KeyInFlight.code, "detail": "under way"}).encode()
        upstream.answer = lambda request: (409, JSON, body)
        with pytest.raises(KeyInFlight):
            make.once("k")(7, "a")

    def test_a_crash_after_the_service_gave_no_answer_is_no_last_word(
        self, make: Any, upstream: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The database was away, say. Whoever asks again has it done, once, whichever side is at it by then."""
        upstream.answer = fail
        with monkeypatch.context() as patch:
            patch.setattr(Group.objects, "create", lambda **values: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                make.once("k")(7, "a")
        assert make.once("k")(7, "a") == {"name": "a", "by": "legacy"}
        assert arrive_late(upstream.received[0]).replayed
        assert names() == ["a"]

    @pytest.mark.parametrize("key", ["", "a b", "k" * 256, "line\nbreak"])
    def test_one_that_is_none(self, make: Any, key: str) -> None:
        with pytest.raises(KeyMalformed):
            make.once(key)(7, "a")
        assert names() == []

    def test_a_remote_function_without_a_request(self) -> None:
        idle = seam.write("orders.idle", key=lambda: 7)(lambda: {})
        idle.remote(lambda service: {})
        with pytest.raises(seam.SeamMisused, match="makes no request"):
            idle.once("k")()


def hold(key: str, fingerprint: str, *, holder: str) -> None:
    """Let a side be at work on a key."""
    now = timezone.now()
    IdempotencyKey.objects.create(
        scope="orders",
        subject="7",
        key=key,
        fingerprint=fingerprint,
        holder=holder,
        token=uuid.uuid4(),
        lease_until=now + timedelta(seconds=30),
        created_at=now,
    )


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    """No transaction stays open over a call to another process, and each write has one of its own."""

    @pytest.mark.parametrize("percent", [0, 100])
    def test_a_write_is_refused_inside_of_one_whoever_would_answer(
        self, make: Any, upstream: Recorder, percent: int
    ) -> None:
        inside = pytest.raises(seam.SeamInTransaction, match=r"orders\.make was called inside a transaction")
        with override_envelope("orders", writes=percent), transaction.atomic(), inside:
            make(7, "a")
        assert (names(), upstream.received) == ([], [])

    def test_after_the_commit_is_fine(self, make: Any) -> None:
        with transaction.atomic():
            transaction.on_commit(lambda: make(7, "a"))
        assert names() == ["a"]

    def test_a_service_that_committed_before_it_failed_is_believed(self, make: Any, upstream: Recorder) -> None:
        def commit_then_fail(request: Received) -> tuple[int, dict[str, str], bytes]:
            with closing(connection):  # of this thread
                arrive_late(request)
            return fail(request)

        upstream.answer = commit_then_fail
        assert make(7, "a") == json.loads(LATE)
        assert names() == ["late"]

    @pytest.mark.postgres
    def test_legacy_that_outlives_its_lease_takes_the_other_s_word(self, upstream: Recorder, settings) -> None:
        """The service comes back and takes the expired claim while legacy is still at it: one of both commits."""
        settings.STRANGLER_IDEMPOTENCY = {"HOLDER": "legacy", "LEASE_SECONDS": 1e-6}

        @seam.write("orders.slow", key=lambda: 7)
        def slow() -> dict[str, Any]:
            Group.objects.create(name="slow")
            in_another_thread(lambda: arrive_late(upstream.received[0]))
            return {"by": "legacy"}

        slow.remote(lambda service: service.post("/groups/").json())
        upstream.answer = fail
        assert slow() == json.loads(LATE)
        assert names() == ["late"]


def in_another_thread(work: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def run() -> None:
        with closing(connection):
            work()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result(timeout=30)
