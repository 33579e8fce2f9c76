"""A service whose work met a fence says so, whatever its views and frameworks make of the error."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from router.drf import IdempotentViewMixin, as_response
from router.drf_errors import exception_handler
from router.fences import NotOwner
from router.idempotency.claims import fingerprint_of, seize
from router.idempotency.guard import CLAIM_ATTRIBUTE, run_once
from router.idempotency.models import IdempotencyKey
from router.service.headers import NOT_OWNER_HEADER
from tests.router.fenced import fenced, names, put_up, take_down

pytestmark = pytest.mark.django_db(transaction=True)


@csrf_exempt
def plain(request: HttpRequest) -> HttpResponse:
    Group.objects.create(name="a")
    return HttpResponse("done")


@csrf_exempt
def swallowing(request: HttpRequest) -> HttpResponse:
    try:
        with transaction.atomic():
            Group.objects.create(name="a")
    except DatabaseError:
        return HttpResponse("all well")
    return HttpResponse("done")


@csrf_exempt
def taking_it_for_a_duplicate(request: HttpRequest) -> HttpResponse:
    try:
        Group.objects.create(name="a")
    except IntegrityError:
        return HttpResponse("there already", status=409)
    return HttpResponse("done")


class RestFramework(IdempotentViewMixin, APIView):
    authentication_classes = ()
    permission_classes = ()

    def get_exception_handler(self) -> Any:
        return exception_handler

    def post(self, request: Request) -> Any:
        def work() -> tuple[int, Any]:
            Group.objects.create(name="note 1")
            swallowing(request._request)
            return 201, {}

        return as_response(self.run_once(request, "orders", work))


class OtherHandler(RestFramework):
    """A framework that knows nothing of fences."""

    def get_exception_handler(self) -> Any:
        return lambda error, context: Response({"detail": "oops"}, status=418)


VIEWS: dict[str, Callable[..., Any]] = {
    "plain": plain,
    "swallowing": swallowing,
    "duplicate": taking_it_for_a_duplicate,
    "rest": RestFramework.as_view(),
    "other": OtherHandler.as_view(),
}
urlpatterns = [path(f"{name}/", view) for name, view in VIEWS.items()]


@pytest.fixture(autouse=True)
def service(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["router.service.middleware.NotOwnerMiddleware"]
    yield
    take_down()


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k1"}])
def test_it_answers_409_and_the_aggregate(name: str, key: dict[str, str]) -> None:
    client = Client(headers=key)
    with fenced():
        answer = client.post(f"/{name}/")
    assert (answer.status_code, answer[NOT_OWNER_HEADER], answer.json()["code"]) == (409, "orders", "not_owner")
    assert names() == []
    assert not IdempotencyKey.objects.exists(), "the key has to be free for whoever is asked next"


@pytest.mark.parametrize("name", VIEWS)
def test_without_a_fence_it_answers_as_always(name: str) -> None:
    answer = Client().post(f"/{name}/")
    assert answer.status_code in (200, 201)
    assert NOT_OWNER_HEADER not in answer


def test_a_key_that_was_taken_over_waits_for_a_retry() -> None:
    """The other side may have been at it: its token has to stay replaced."""
    request = RequestFactory().post("/plain/", headers={"Idempotency-Key": "k1"})
    held = seize(scope="orders", subject="", key="k1", fingerprint=fingerprint_of(request))
    setattr(request, CLAIM_ATTRIBUTE, held)
    put_up()
    with pytest.raises(NotOwner):
        run_once(request, scope="orders", subject="", work=lambda: (201, Group.objects.create(name="a").pk))
    row = IdempotencyKey.objects.get()
    assert (row.token, row.state) == (held.token, "claimed")


def test_rest_framework_answers_that_it_may_be_sent_again_and_rolls_back(settings: Any) -> None:
    error = NotOwner("not here", aggregate="orders")
    with transaction.atomic():
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        try:
            answer = exception_handler(error, {})
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = False
        assert connection.needs_rollback
        connection.set_rollback(False)
    assert answer is not None
    assert (answer.status_code, answer["Retry-After"], answer.data["code"]) == (503, "1", "not_owner")
