"""A dry-run leaves nothing behind, runs only where a view supports it, and cannot be asked for by a client."""

import base64
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.mail import send_mail
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from router.idempotency.guard import run_once
from router.idempotency.models import IdempotencyKey
from router.idempotency.views import once
from router.identity import HEADER, Identity
from router.identity.tokens import issue
from router.service.dryrun import audience, not_repeatable, refuse_outside, rehearsing, supports_dry_run
from router.service.headers import DRY_RUN_HEADER

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)

SECRET = "t" * 40
ANN = Identity(subject="42", kind="session")
committed: list[str] = []
listening: list[int] = []


def names() -> list[str]:
    return list(Group.objects.order_by("name").values_list("name", flat=True))


def writes(request: HttpRequest) -> HttpResponse:
    """Write a row and what belongs after the commit, and answer what is in the database."""
    Group.objects.create(name=f"group of {request.user.pk}")
    transaction.on_commit(lambda: committed.append("told"))
    return HttpResponse(json.dumps({"names": names(), "rehearsing": rehearsing()}), "application/json", status=201)


def written(answer: Any) -> Any:
    return {"rows": names(), "answered": answer["names"]}


def swallows(request: HttpRequest) -> HttpResponse:
    Group.objects.create(name="before")
    try:
        socket.create_connection(("127.0.0.1", listening[0]), timeout=5).close()
    except Exception:
        return HttpResponse("nothing has happened")
    return HttpResponse("connected")


def mails(request: HttpRequest) -> HttpResponse:
    send_mail("Your order", "Thank you", "shop@example.org", ["ann@example.org"])
    return HttpResponse("sent")


def pays(request: HttpRequest) -> HttpResponse:
    refuse_outside("the payment provider")
    return HttpResponse("paid")


def clashes(request: HttpRequest) -> HttpResponse:
    Group.objects.create(name="a")
    try:
        with transaction.atomic():
            Group.objects.create(name="a")
    except IntegrityError:
        return HttpResponse(status=409)
    return HttpResponse()


def keyed(request: HttpRequest) -> HttpResponse:
    done = run_once(
        request, scope="orders", subject="42", work=lambda: (201, {"names": [Group.objects.create(name="k").name]})
    )
    return HttpResponse(json.dumps(done.data), "application/json", status=done.status)


def consumed(request: HttpRequest) -> HttpResponse:
    not_repeatable("The cart is empty by now.")
    return HttpResponse("ordered")


@supports_dry_run()
class Marked(View):
    def post(self, request: HttpRequest) -> HttpResponse:
        return writes(request)


class NotMarkedAnew(Marked):
    """Says nothing of itself."""


def view(function: Callable[..., HttpResponse], **options: Any) -> Any:
    return csrf_exempt(supports_dry_run(**options)(function))


urlpatterns = [
    path("writes/", view(writes, written=written)),
    path("unmarked/", csrf_exempt(lambda request: writes(request))),
    path("not-now/", view(lambda request: writes(request), when=lambda: False)),
    path("swallows/", view(swallows)),
    path("mails/", view(mails)),
    path("pays/", view(pays)),
    path("clashes/", view(clashes)),
    path("keyed/", view(keyed)),
    path("once/", view(once("orders")(lambda request: writes(request)))),
    path("consumed/", view(consumed)),
    path("class/", csrf_exempt(Marked.as_view())),
    path("subclass/", csrf_exempt(NotMarkedAnew.as_view())),
]


@pytest.fixture(autouse=True)
def service(settings: Any) -> None:
    committed.clear()
    settings.ROOT_URLCONF = __name__
    settings.STRANGLER_SERVICE = {"NAME": "orders", "SECRET": SECRET}
    settings.MIDDLEWARE = [
        "router.service.middleware.NotOwnerMiddleware",
        "router.service.middleware.ServiceIdentityMiddleware",
        "router.service.middleware.ReadOnlyShadowMiddleware",
    ]


def ask(
    target: str, *, said: str = "1", meant_for: str = audience("orders"), method: str = "POST", **headers: str
) -> Any:
    token = issue(ANN, audience=meant_for, secret=SECRET)
    sent = {HEADER: token, DRY_RUN_HEADER: said, **headers}
    return Client(raise_request_exception=False).generic(method, target, headers=sent)


def refused(answer: Any) -> str:
    """Return why nothing was rehearsed; fail if something was, or has stayed."""
    assert (answer.status_code, answer[DRY_RUN_HEADER]) == (422, "refused"), answer.content
    assert names() == []
    code: str = answer.json()["code"]
    return code


def test_the_answer_and_the_document_come_back_and_nothing_stays() -> None:
    answer = ask("/writes/")
    assert (answer.status_code, answer[DRY_RUN_HEADER]) == (200, "done")
    envelope = answer.json()
    assert (envelope["status"], envelope["content_type"]) == (201, "application/json")
    given = {"names": ["group of 42"], "rehearsing": True}
    assert json.loads(base64.b64decode(envelope["body"])) == given
    assert envelope["written"] == {"rows": ["group of 42"], "answered": ["group of 42"]}
    assert names() == committed == []


def test_a_request_that_is_meant_is_done_as_ever() -> None:
    token = issue(ANN, audience="orders", secret=SECRET)
    answer = Client(headers={HEADER: token}).post("/writes/")
    assert (answer.status_code, answer.json()["rehearsing"]) == (201, False)
    assert (names(), committed) == (["group of 42"], ["told"])


@pytest.mark.parametrize("target", ["/unmarked/", "/not-now/", "/subclass/"])
def test_a_view_that_does_not_say_that_it_supports_it_is_not_run(target: str) -> None:
    assert refused(ask(target)) == "unsupported"
    assert refused(ask(target, said="ask", method="OPTIONS")) == "unsupported"


def test_classes_say_it_as_functions_do() -> None:
    assert ask("/class/").json()["status"] == 201
    assert names() == []


def test_whoever_asks_is_told_and_nothing_is_run() -> None:
    answer = ask("/writes/", said="ask", method="OPTIONS")
    assert (answer.status_code, answer[DRY_RUN_HEADER]) == (204, "able")
    assert names() == []


@pytest.mark.parametrize(("method", "said"), [("GET", "1"), ("POST", "ask"), ("POST", "yes"), ("OPTIONS", "1")])
def test_nothing_else_is_a_dry_run(method: str, said: str) -> None:
    assert refused(ask("/writes/", method=method, said=said)) == "unsupported"


def test_a_dry_run_without_its_token_is_refused() -> None:
    for answer in (ask("/writes/", meant_for="orders"), Client().post("/writes/", headers={DRY_RUN_HEADER: "1"})):
        assert (answer.status_code, answer["X-Strangler-Refused"]) == (401, "identity")
    assert names() == []


def test_a_dry_run_whose_header_was_lost_is_refused_as_by_a_service_that_knows_of_none() -> None:
    token = issue(ANN, audience=audience("orders"), secret=SECRET)
    assert Client(headers={HEADER: token}).post("/writes/").status_code == 401
    assert names() == []


def test_what_reaches_for_the_outside_is_no_dry_run_even_if_it_is_swallowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        listening[:] = [server.getsockname()[1]]
        assert refused(ask("/swallows/")) == "outside"
        with pytest.raises(BlockingIOError):
            server.accept()
        token = issue(ANN, audience="orders", secret=SECRET)
        assert Client(headers={HEADER: token}).post("/swallows/").content == b"connected"


def test_no_mail_and_no_provider(settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.getsockname()
        assert refused(ask("/mails/")) == "outside"
    assert refused(ask("/pays/")) == "outside"


def test_others_reach_the_outside_meanwhile() -> None:
    """Only the thread of the dry-run is kept in."""
    done: list[bool] = []

    def elsewhere() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
            done.append(True)

    def waits(request: HttpRequest) -> HttpResponse:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(10)
        return HttpResponse()

    urlpatterns.append(path("waits/", view(waits)))
    try:
        assert ask("/waits/").json()["status"] == 200
    finally:
        urlpatterns.pop()
    assert done == [True]


@pytest.mark.parametrize("target", ["/keyed/", "/once/"])
def test_no_idempotency_key_is_claimed_kept_or_answered_from(target: str) -> None:
    for _ in range(2):
        assert ask(target, **{"Idempotency-Key": "k1"}).json()["status"] == 201
    assert names() == []
    assert not IdempotencyKey.objects.exists()


def test_a_savepoint_of_the_views_own_is_no_matter() -> None:
    assert ask("/clashes/").json()["status"] == 409
    assert names() == []


def test_what_cannot_be_repeated_says_so() -> None:
    assert refused(ask("/consumed/")) == "not_repeatable"


def test_it_waits_for_nobody_for_long(settings: Any) -> None:
    """A dry-run that meets a writer gives up, so that no request waits behind it."""
    settings.STRANGLER_SERVICE = {**settings.STRANGLER_SERVICE, "DRY_RUN_SECONDS": 0.1}
    Group.objects.create(name="group of 42")
    held, go = threading.Event(), threading.Event()

    def holds() -> None:
        try:
            with transaction.atomic():
                Group.objects.select_for_update().get(name="group of 42")
                Group.objects.filter(name="group of 42").update(name="another")
                held.set()
                go.wait(20)
        finally:
            connection.close()

    thread = threading.Thread(target=holds)
    thread.start()
    try:
        assert held.wait(10)
        answer = ask("/writes/")
        assert (answer.status_code, answer.json()["code"]) == (422, "busy")
    finally:
        go.set()
        thread.join(10)
    assert names() == ["another"]
