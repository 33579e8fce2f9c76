"""Whoever has written something reads it, or is told that the answer may be stale, whichever copy answers."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from router import poller, seam
from router.handover import own_writes
from router.handover.owners import waiting
from router.middleware import REASON_HEADER, STALE_HEADER, StranglerMiddleware
from router.service.headers import WROTE_HEADER
from router.service.versions import read, spelled
from router.testing import override_envelope, override_ownership
from tests.processes import wait_until
from tests.router import test_handover
from tests.router.seams import forgotten_afterwards
from tests.router.test_handover import BUCKET, OWNER, fail, post
from tests.router.upstreams import Recorder

pytestmark = pytest.mark.django_db(transaction=True)

site, stores, own = test_handover.site, test_handover.stores, test_handover.own
WRITTEN = {("orders", "17"): 3}


class Copy:
    """A snapshot source that knows what has arrived in legacy's copy."""

    def __init__(self) -> None:
        self.here: dict[tuple[str, str], int] = {}
        self.asked: list[Mapping[tuple[str, str], int]] = []

    def envelopes(self) -> Mapping[str, Any]:
        return {}

    def arrived(self, written: Mapping[tuple[str, str], int]) -> bool:
        self.asked.append(written)
        return all(self.here.get(one, 0) >= gen for one, gen in written.items())


@pytest.fixture
def legacy_copy(monkeypatch: pytest.MonkeyPatch) -> Copy:
    found = Copy()
    monkeypatch.setattr(poller, "source", lambda: found)
    return found


@pytest.fixture(autouse=True)
def owned(stores: Any) -> Iterator[None]:
    with override_ownership("orders", extracted=[BUCKET]):
        yield


@pytest.fixture
def tells(own: Recorder) -> Recorder:
    """Let the service name the version that it has written."""
    own.answer = lambda request: (201, {WROTE_HEADER: "orders:17:3"}, b"")
    return own


def listed(client: Client, **headers: str) -> Any:
    """Look at a list over many owners, which legacy's copy answers."""
    return client.get("/all/", headers=headers)


def wrote(client: Client | None = None) -> Client:
    client = client or Client()
    assert client.post(f"/groups/{OWNER}/", "a", content_type="text/plain").status_code == 201
    return client


class TestTheToken:
    def test_a_writer_gets_what_it_wrote_signed_and_nothing_else(self, tells: Recorder) -> None:
        answer = post()
        assert signing.loads(answer[WROTE_HEADER], salt=own_writes.SALT) == [["orders", "17", 3]]
        cookie = answer.cookies[own_writes.COOKIE]
        assert (cookie.value, cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (
            answer[WROTE_HEADER],
            True,
            "Lax",
            60,
        )

    def test_what_was_written_before_is_kept_and_the_latest_version_counts(self, own: Recorder) -> None:
        client = Client()
        for said in ("orders:17:3", "orders:18:1", "orders:17:5"):
            own.answer = lambda request, said=said: (201, {WROTE_HEADER: said}, b"")  # type: ignore[misc]
            wrote(client)
        request = RequestFactory().get("/")
        request.COOKIES[own_writes.COOKIE] = client.cookies[own_writes.COOKIE].value
        assert own_writes.told(request) == {("orders", "17"): 5, ("orders", "18"): 1}

    def test_it_does_not_grow_without_end(self, own: Recorder) -> None:
        client = Client()
        for number in range(40):
            own.answer = lambda request, number=number: (201, {WROTE_HEADER: f"orders:{number}:1"}, b"")  # type: ignore[misc]
            wrote(client)
        assert len(client.cookies[own_writes.COOKIE].value) < 600

    def test_what_was_written_last_is_not_what_is_forgotten(self, own: Recorder) -> None:
        client = Client()
        for number in (*range(16), 0, 16):
            own.answer = lambda request, number=number: (201, {WROTE_HEADER: f"orders:{number}:1"}, b"")  # type: ignore[misc]
            wrote(client)
        request = RequestFactory().get("/")
        request.COOKIES[own_writes.COOKIE] = client.cookies[own_writes.COOKIE].value
        assert {key for _, key in own_writes.told(request)} == {"0", *map(str, range(2, 17))}

    def test_reads_and_refused_writes_leave_none(self, own: Recorder) -> None:
        assert WROTE_HEADER not in post()
        own.answer = fail
        assert WROTE_HEADER not in post()

    @pytest.mark.parametrize(
        "token",
        [
            *("", "x", "eyJhIjoxfQ:1:abc"),
            # Named, since the signature holds the time, and every worker has to collect the same tests.
            pytest.param(signing.dumps([["orders", "17", 3]], salt="other"), id="signed for something else"),
        ],
    )
    def test_what_we_did_not_sign_is_nothing(self, legacy_copy: Copy, token: str) -> None:
        assert listed(Client(), **{WROTE_HEADER: token}).content == b"legacy shows"
        assert legacy_copy.asked == []

    def test_an_old_one_is_nothing(self, tells: Recorder, legacy_copy: Copy, settings: Any) -> None:
        client = wrote()
        settings.STRANGLER = {**settings.STRANGLER, "OWN_WRITES_SECONDS": 1e-6}
        assert listed(client).content == b"legacy shows"
        assert legacy_copy.asked == []

    def test_no_service_sees_it(self, tells: Recorder) -> None:
        client = wrote()
        client.get(f"/show/{OWNER}/", headers={WROTE_HEADER: client.cookies[own_writes.COOKIE].value})
        assert tells.received[-1].values(WROTE_HEADER) == []


class TestReadsFromTheCopy:
    def test_what_has_arrived_is_shown_at_once(self, tells: Recorder, legacy_copy: Copy) -> None:
        client = wrote()
        legacy_copy.here = {("orders", "17"): 4}
        assert listed(client).content == b"legacy shows"
        assert legacy_copy.asked == [WRITTEN]

    def test_what_is_on_its_way_is_waited_for(self, tells: Recorder, legacy_copy: Copy) -> None:
        client, answers = wrote(), []
        reader = threading.Thread(target=lambda: answers.append(listed(client)))
        reader.start()
        wait_until(lambda: waiting() == 1, "the read waits", 5)
        assert answers == []
        legacy_copy.here = dict(WRITTEN)
        reader.join(5)
        assert (answers[0].content, "behind" in answers[0][REASON_HEADER]) == (b"legacy shows", False)

    def test_but_not_for_ever(self, tells: Recorder, legacy_copy: Copy) -> None:
        answer = listed(wrote())
        assert (answer.content, answer[STALE_HEADER]) == (b"legacy shows", "1")
        assert answer[REASON_HEADER].endswith("; behind-own-writes")
        assert len(legacy_copy.asked) > 2

    def test_a_client_without_cookies_gives_the_header_back(self, tells: Recorder, legacy_copy: Copy) -> None:
        token = post()[WROTE_HEADER]
        listed(Client(), **{WROTE_HEADER: token})
        assert legacy_copy.asked[0] == WRITTEN

    def test_a_read_that_falls_back_waits_as_well(self, tells: Recorder, legacy_copy: Copy) -> None:
        client = wrote()
        tells.answer = fail
        answer = client.get(f"/show/{OWNER}/")
        assert (answer.content, answer[STALE_HEADER]) == (b"legacy shows", "1")
        assert legacy_copy.asked[0] == WRITTEN

    def test_whoever_wrote_nothing_waits_for_nothing(self, tells: Recorder, legacy_copy: Copy) -> None:
        wrote()
        assert listed(Client()).content == b"legacy shows"
        assert legacy_copy.asked == []

    def test_where_legacy_owns_the_data_nothing_is_asked(self, tells: Recorder, legacy_copy: Copy) -> None:
        client = wrote()
        with override_envelope("orders"), override_ownership("orders"):
            assert client.get(f"/show/{OWNER}/").content == b"legacy shows"
        assert legacy_copy.asked == []

    def test_too_many_do_not_wait(self, tells: Recorder, legacy_copy: Copy, settings: Any) -> None:
        client = wrote()
        settings.STRANGLER = {**settings.STRANGLER, "HOLD": {**test_handover.HOLD, "MOST": 1, "SECONDS": 5}}
        first = threading.Thread(target=lambda: listed(client))
        first.start()
        wait_until(lambda: waiting() == 1, "one read waits", 5)
        assert listed(client)[STALE_HEADER] == "1"
        legacy_copy.here = dict(WRITTEN)
        first.join(5)


class TestThroughASeam:
    """A page of the monolith's own, of no route, whose code writes and reads through operations."""

    @pytest.fixture(autouse=True)
    def operations(self) -> Iterator[None]:
        with forgotten_afterwards():

            @seam.write("orders.make", key=lambda owner: owner)
            def make(owner: int) -> str:
                return "legacy"

            @make.remote
            def _make(service: seam.Client, owner: int) -> str:
                return "service" if service.post("/groups/").ok else "refused"

            @seam.read("orders.peek", key=lambda owner: owner)
            def peek(owner: int) -> str:
                return "legacy"

            @peek.remote
            def _peek(service: seam.Client, owner: int) -> str:
                return service.get("/groups/").body.decode()

            @seam.read("orders.everybodys")
            def everybodys() -> str:
                return "legacy"

            self.make, self.peek, self.everybodys = make, peek, everybodys
            yield

    def visit(self, work: Callable[[], str], cookie: str = "", *, on_loop: bool = False) -> Any:
        """Have a page answer with what ``work`` returns; return the answer."""
        request = RequestFactory().get("/of-no-route/")
        if cookie:
            request.COOKIES[own_writes.COOKIE] = cookie
        if not on_loop:
            return StranglerMiddleware(lambda request: HttpResponse(work()))(request)

        async def page(request: HttpRequest) -> HttpResponse:
            return HttpResponse(await sync_to_async(work)())

        return async_to_sync(StranglerMiddleware(page))(request)

    @pytest.mark.parametrize("on_loop", [False, True])
    def test_what_a_page_has_written_goes_to_its_client(self, tells: Recorder, on_loop: bool) -> None:
        answer = self.visit(lambda: self.make(OWNER), on_loop=on_loop)
        assert (answer.content, answer.headers.get(STALE_HEADER)) == (b"service", None)
        assert signing.loads(answer.cookies[own_writes.COOKIE].value, salt=own_writes.SALT) == [["orders", "17", 3]]

    def test_with_what_was_written_before(self, tells: Recorder) -> None:
        before = signing.dumps([["orders", "16", 9], ["orders", "17", 1]], salt=own_writes.SALT, compress=True)
        answer = self.visit(lambda: self.make(OWNER), before)
        told = signing.loads(answer[WROTE_HEADER], salt=own_writes.SALT)
        assert told == [["orders", "16", 9], ["orders", "17", 3]]

    @pytest.mark.parametrize("read", ["peek", "everybodys"])
    @pytest.mark.parametrize("on_loop", [False, True])
    def test_what_it_reads_from_the_copy_waits_for_that(
        self, tells: Recorder, legacy_copy: Copy, read: str, on_loop: bool
    ) -> None:
        """One falls back since the service fails, the other is of many customers."""
        cookie = self.visit(lambda: self.make(OWNER)).cookies[own_writes.COOKIE].value
        tells.answer = fail
        work, answers = {"peek": lambda: self.peek(OWNER), "everybodys": self.everybodys}[read], list[Any]()
        reader = threading.Thread(target=lambda: answers.append(self.visit(work, cookie, on_loop=on_loop)))
        reader.start()
        wait_until(lambda: waiting() == 1, "the read waits", 5)
        legacy_copy.here = dict(WRITTEN)
        reader.join(5)
        assert (answers[0].content, answers[0][STALE_HEADER]) == (b"legacy", "1")

    def test_inside_a_transaction_nothing_waits_but_the_answer_says_that_it_may_be_stale(
        self, tells: Recorder, legacy_copy: Copy
    ) -> None:
        def in_a_transaction() -> str:
            with transaction.atomic():
                return self.peek(OWNER)

        answer = self.visit(in_a_transaction)
        assert (answer.content, answer[STALE_HEADER], tells.received) == (b"legacy", "1", [])

    def test_and_for_what_the_same_request_has_written(self, tells: Recorder, legacy_copy: Copy) -> None:
        self.visit(lambda: self.make(OWNER) + self.everybodys())
        assert legacy_copy.asked[0] == WRITTEN

    def test_what_its_owner_answers_waits_for_nothing(self, tells: Recorder, legacy_copy: Copy) -> None:
        answer = self.visit(lambda: self.make(OWNER) + self.peek(OWNER))
        assert (legacy_copy.asked, answer.headers.get(STALE_HEADER)) == ([], None)

    def test_outside_of_a_request_nobody_is_told_and_nothing_waits(self, tells: Recorder, legacy_copy: Copy) -> None:
        assert (self.make(OWNER), self.everybodys(), legacy_copy.asked) == ("service", "legacy", [])


class TestTheHeader:
    def test_there_and_back(self) -> None:
        versions = {("orders", "17"): 3, ("orders.keys", "a,b:c/ä"): 12}
        assert read(spelled(versions)) == versions

    @pytest.mark.parametrize("header", ["", "x", "orders:17", "orders:17:x", ":17:3", "orders:17:-1", ",,"])
    def test_nonsense_is_nothing(self, header: str) -> None:
        assert read(header) == {}

    def test_the_rest_of_it_counts(self) -> None:
        assert read("nonsense, orders:17:3") == WRITTEN
