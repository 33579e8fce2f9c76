"""The middleware on an event loop: the same answers, and nobody waits for somebody else's."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory
from django.utils.decorators import sync_only_middleware

from router import metrics
from router.identity import HEADER, Identity
from router.identity.tokens import verify
from router.middleware import StranglerMiddleware
from router.models import TrafficCount
from router.shadow import pool
from router.steps import carry_out_on_loop, in_database, to_the_end
from router.testing import override_envelope
from tests.core.fixtures import SECRET
from tests.core.port import Project
from tests.router.raw_server import Line, raw_server
from tests.router.upstreams import Received, Recorder

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.filterwarnings("error:StreamingHttpResponse must consume"),
]

WAIT = 10.0
resolved_on: list[threading.Thread] = []


def nobody(request: HttpRequest) -> None:
    """Stand in for a resolver, and say where it ran."""
    resolved_on.append(threading.current_thread())


@sync_only_middleware
def knows_no_async(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Make Django run whatever stands before it on threads."""
    return get_response


@pytest.fixture
def browser(project: Project, ann: Any) -> AsyncClient:
    """Return Ann's browser at a site with an event loop."""
    project.prepare()
    client = AsyncClient()
    client.force_login(ann)
    return client


def get(client: AsyncClient, path: str) -> Any:
    return async_to_sync(client.get)(path)


def write(project: Project, client: AsyncClient, **headers: str) -> Any:
    """Write as the project does, at a site with an event loop."""

    class Sync:
        def post(self, *args: Any, **kwargs: Any) -> Any:
            return async_to_sync(client.post)(*args, **kwargs)

    return project.write(Sync(), **headers)  # type: ignore[arg-type]


class TestThreads:
    def test_what_belongs_to_no_route_is_handed_on_without_leaving_the_loop(self, project: Project) -> None:
        handed_on, threads = HttpResponse("legacy"), [threading.get_ident()]

        async def legacy(request: HttpRequest) -> HttpResponse:
            threads.append(threading.get_ident())
            return handed_on

        visit = StranglerMiddleware(legacy)(AsyncRequestFactory().get(project.outside))
        assert asyncio.run(visit) is handed_on
        assert len(set(threads)) == 1
        assert list(handed_on.headers) == ["Content-Type"]

    @pytest.mark.parametrize(("envelope", "looked_up"), [({}, 0), ({"reads": 50}, 1), ({"shadow": 100}, 1)])
    def test_only_who_has_to_be_known_is_looked_up_and_on_the_requests_thread(
        self,
        project: Project,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        envelope: dict[str, int],
        looked_up: int,
    ) -> None:
        monkeypatch.setattr(pool, "submit", lambda job: True)
        settings.STRANGLER = {**settings.STRANGLER, "IDENTITY_RESOLVERS": [f"{__name__}.nobody"]}
        resolved_on.clear()
        with override_envelope(project.service, **envelope):
            get(AsyncClient(), project.path)
        assert resolved_on == [threading.current_thread()] * looked_up

    def test_two_wait_for_the_service_at_once(
        self, project: Project, upstream: Recorder, diverted: None, browser: AsyncClient
    ) -> None:
        """The service answers none of them before it has both."""
        both = threading.Barrier(2)

        def together(request: Received) -> tuple[int, dict[str, str], bytes]:
            both.wait(WAIT)
            return 200, {}, b"together"

        async def ask_twice() -> list[Any]:
            return await asyncio.gather(browser.get(project.path), browser.get(project.path))

        upstream.answer = together
        assert [answer.content for answer in async_to_sync(ask_twice)()] == [b"together"] * 2


@pytest.mark.usefixtures("diverted")
class TestAnswers:
    def test_the_service_answers_and_learns_who_asks(
        self, project: Project, upstream: Recorder, browser: AsyncClient, ann: Any
    ) -> None:
        answer = get(browser, project.path)
        assert (answer.json(), answer["X-Strangler-Side"]) == ({"by": "it"}, "extracted")
        (token,) = upstream.received[0].values(HEADER)
        assert verify(token, audience=project.service, secret=SECRET) == Identity(subject=str(ann.pk), kind="session")

    def test_a_cookie_needs_its_csrf_token(self, project: Project, upstream: Recorder, ann: Any) -> None:
        browser = AsyncClient(enforce_csrf_checks=True)
        browser.force_login(ann)
        project.prepare()
        assert write(project, browser).status_code == 403
        assert upstream.received == []

    def test_legacy_answers_what_was_not_sent(self, project: Project, down: None, browser: AsyncClient) -> None:
        assert get(browser, project.path).status_code == 200
        answers = [write(project, browser, **{"Idempotency-Key": "mine"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert (project.written(), answers[1]["Idempotency-Replayed"]) == (1, "true")

    def test_a_write_without_an_answer_is_claimed_first(
        self, project: Project, upstream: Recorder, browser: AsyncClient
    ) -> None:
        upstream.answer = lambda _: (500, {}, b"")
        answer = write(project, browser)
        assert (answer.status_code, project.written()) == (201, 1)
        assert answer["X-Strangler-Reason"] == "everyone; fallback:status-500"

    @pytest.mark.parametrize("behind", [[], [f"{__name__}.knows_no_async"]], ids=["on the loop", "on a thread"])
    def test_an_answer_arrives_in_parts(
        self, project: Project, point_to: Any, browser: AsyncClient, settings: Any, behind: list[str]
    ) -> None:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, *behind]
        first_came = threading.Event()

        def in_parts(line: Line) -> None:
            line.request()
            line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            assert first_came.wait(WAIT)
            line.send(b"3\r\ntwo\r\n0\r\n\r\n")

        async def read() -> list[bytes]:
            answer = await browser.get(project.path)
            parts = []
            async for part in answer:
                parts.append(part)
                first_came.set()
            return parts

        with raw_server(in_parts) as server:
            point_to(f"http://127.0.0.1:{server.port}")
            assert async_to_sync(read)() == [b"one", b"two"]


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize(
    ("body", "outcome"), [(None, "match"), (b'{"other": 1}', "mismatch")], ids=["equal", "different"]
)
def test_comparisons(
    project: Project, upstream: Recorder, browser: AsyncClient, body: bytes | None, outcome: str
) -> None:
    """A difference makes legacy answer a second time, on a thread without a loop."""
    same = get(browser, project.path)
    upstream.answer = lambda _: (200, {"Content-Type": same["Content-Type"]}, body or same.content)
    with override_envelope(project.service, shadow=100):
        assert get(browser, project.path).content == same.content
    assert pool.current().drain(20)
    metrics.flush()
    assert dict(TrafficCount.objects.filter(side="shadow").values_list("outcome", "count")) == {outcome: 1}


class TestToTheEnd:
    def run(self, scenario: Callable[[], Any]) -> Any:
        return async_to_sync(scenario)()

    def test_who_hangs_up_stops_nothing(self) -> None:
        ended: list[str] = []

        async def scenario() -> None:
            begun, go_on = asyncio.Event(), asyncio.Event()

            async def work() -> str:
                begun.set()
                await go_on.wait()
                ended.append("worked")
                return "result"

            waiting = asyncio.create_task(to_the_end(work(), lambda result: ended.append(f"let go of {result}")))
            await begun.wait()
            waiting.cancel()
            await asyncio.sleep(0)
            assert not waiting.done()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        self.run(scenario)
        assert ended == ["worked", "let go of result"]

    def test_what_legacy_leaves_in_the_context_stays(self) -> None:
        language = contextvars.ContextVar("language", default="en")

        async def work() -> None:
            language.set("de")

        async def scenario() -> str:
            await to_the_end(work(), lambda result: None)
            return language.get()

        assert self.run(scenario) == "de"

    def test_an_error_reaches_the_rules(self) -> None:
        def fail() -> None:
            raise LookupError("gone")

        def steps() -> Any:
            try:
                yield from in_database(fail)
            except LookupError as error:
                return f"handled {error}"

        async def legacy(request: HttpRequest) -> HttpResponse:
            return HttpResponse()

        async def scenario() -> Any:
            return await carry_out_on_loop(steps(), legacy)

        assert self.run(scenario) == "handled gone"
