"""Plain Django views that take effect once, on a project whose views all run in transactions."""

import json
import uuid
from typing import Any

import pytest
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import SimpleTemplateResponse
from django.test import Client, RequestFactory

from router.idempotency.errors import ClaimInTransaction
from router.idempotency.guard import run_once
from router.idempotency.models import IdempotencyKey
from router.idempotency.views import once
from tests.elsewhere.desk.models import Loan
from tests.elsewhere.library import Library

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)
CARD = "/cards/C-17/"


def borrow(client: Client, key: str | None = "k", book: str = "Emma") -> Any:
    return client.post(CARD, {"book": book}, headers={} if key is None else {"Idempotency-Key": key})


def post(key: str | None = "k") -> HttpRequest:
    headers = {} if key is None else {"Idempotency-Key": key}
    return RequestFactory().post("/x/", b"{}", content_type="application/json", headers=headers)


def lend(request: HttpRequest) -> None:
    Loan.objects.create(book="Emma")


class TestForms:
    def test_a_redirect_is_given_again_as_it_was(self) -> None:
        first, second = borrow(Client()), borrow(Client())
        assert [(answer.status_code, answer["Location"]) for answer in (first, second)] == [(302, CARD)] * 2
        assert (second["Idempotency-Replayed"], Loan.objects.count()) == ("true", 1)

    def test_without_a_key_each_counts(self) -> None:
        for _ in range(2):
            borrow(Client(), None)
        assert (Loan.objects.count(), IdempotencyKey.objects.count()) == (2, 0)

    def test_a_refusal_is_given_again(self) -> None:
        for number in range(3):
            borrow(Client(), f"k{number}")
        assert [borrow(Client(), "last").status_code for _ in range(2)] == [409, 409]
        Loan.objects.all().delete()
        assert borrow(Client(), "last").status_code == 409

    @pytest.mark.parametrize(("key", "book", "status"), [("k", "Persuasion", 422), ("ü", "Emma", 400)])
    def test_a_key_that_cannot_be_used(self, key: str, book: str, status: int) -> None:
        borrow(Client())
        answer = borrow(Client(), key, book)
        assert (answer.status_code, answer.json()["code"].startswith("idempotency_key")) == (status, True)
        assert Loan.objects.count() == 1

    def test_reads_are_as_they_were(self) -> None:
        borrow(Client())
        assert Client().get(CARD).json()["loans"] == ["Emma"]


class TestTransactions:
    @pytest.mark.parametrize("status", [500, 503, 429])
    def test_a_failure_takes_back_what_was_done_and_may_be_tried_again(self, status: int) -> None:
        answers = iter([status, 201])

        @once("loans")
        def view(request: HttpRequest) -> HttpResponse:
            lend(request)
            return HttpResponse(status=next(answers))

        assert (view(post()).status_code, Loan.objects.count()) == (status, 0)
        assert (view(post()).status_code, Loan.objects.count()) == (201, 1)

    def test_so_does_an_exception(self) -> None:
        @once("loans")
        def view(request: HttpRequest) -> HttpResponse:
            lend(request)
            raise ZeroDivisionError

        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                view(post())
        assert (Loan.objects.count(), IdempotencyKey.objects.count()) == (0, 0)

    def test_what_django_answers_for_the_view_is_an_answer(self) -> None:
        @once("loans")
        def view(request: HttpRequest) -> HttpResponse:
            lend(request)
            raise Http404("no such book")

        first, second = view(post()), view(post())
        assert (first.status_code, second.status_code, Loan.objects.count()) == (404, 404, 0)
        assert second["Idempotency-Replayed"] == "true"

    def test_a_rendered_template_is_kept_and_of_a_stream_that_it_was_given(self) -> None:
        class Rendered(SimpleTemplateResponse):
            @property
            def rendered_content(self) -> str:
                return "<p>lent</p>"

        kinds = {"page": lambda: Rendered(None), "stream": lambda: StreamingHttpResponse([b"a"])}
        for key, make in kinds.items():
            view = once("loans")(lambda request, make=make: make())  # type: ignore[misc]
            view(post(key))
        assert once("loans")(lambda request: HttpResponse())(post("page")).content == b"<p>lent</p>"  # type: ignore[attr-defined]
        assert once("loans")(lambda request: HttpResponse("never"))(post("stream")).content == b""  # type: ignore[attr-defined]

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_view_sees_the_transactions_the_project_asks_for(self, method: str) -> None:
        seen = {}

        @once("loans")
        def view(request: HttpRequest) -> HttpResponse:
            seen.update({alias: connections[alias].in_atomic_block for alias in connections})
            return HttpResponse()

        request = post() if method == "POST" else RequestFactory().get("/x/")
        view(request)
        assert seen == {"default": True, "library": True}

    def test_an_async_view_is_refused_at_once(self) -> None:
        async def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse()

        with pytest.raises(TypeError, match="async"):
            once("loans")(view)  # type: ignore[arg-type]

    def test_a_claim_inside_of_a_views_transaction_says_the_way_out(self, rf: RequestFactory) -> None:
        from django.core.handlers.wsgi import WSGIHandler

        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(run_once(request, scope="loans", subject="", work=lambda: (201, {})).status)

        with pytest.raises(ClaimInTransaction, match="library"):
            WSGIHandler().make_view_atomic(view)(post())


def test_text_subjects_are_the_uuids_of_people(project: Library) -> None:
    ann = project.person("ann")
    assert project.write(project.client_of(ann), **{"Idempotency-Key": "k"}).status_code == 201
    row = IdempotencyKey.objects.get()
    assert uuid.UUID(row.subject) == ann.pk
    assert json.loads(bytes(row.body))["loan"] == str(Loan.objects.get().pk)
    assert row._state.db == "library"
