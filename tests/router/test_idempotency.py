"""A request with an idempotency key takes effect once, whoever carries it out and however late."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from rest_framework.authtoken.models import Token
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from legacy_shop.catalog.models import Category
from router.drf import IdempotentViewMixin, as_response
from router.idempotency import errors
from router.idempotency.claims import Claim, Stored, claim, fingerprint_of, seize
from router.idempotency.conf import check_settings
from router.idempotency.guard import CLAIM_ATTRIBUTE, has_pending_claim, held_for, run_once, settle
from router.idempotency.models import IdempotencyKey
from router.idempotency.views import once

SCOPE = {"scope": "orders", "subject": "7"}


def post(key: str | None = "key-1", body: object = None) -> HttpRequest:
    headers = {} if key is None else {"Idempotency-Key": key}
    return RequestFactory().post(
        "/api/things/", json.dumps(body or {"a": 1}), content_type="application/json", headers=headers
    )


def write(slug: str = "written") -> tuple[int, dict[str, str]]:
    Category.objects.create(name=slug, slug=slug)
    return 201, {"made": slug}


def written() -> int:
    return Category.objects.filter(slug__startswith="written").count()


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    result: list[object] = []

    def body() -> None:
        try:
            result.append(work())
        except errors.IdempotencyError as error:
            result.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=body)
    thread.start()
    return thread, result


@pytest.mark.django_db
class TestOneClient:
    def test_the_second_time_gives_the_first_answer(self) -> None:
        first = run_once(post(), **SCOPE, work=write)
        second = run_once(post(), **SCOPE, work=write)
        assert (first.status, first.data, first.replayed) == (201, {"made": "written"}, False)
        assert (second.status, second.data, second.replayed) == (201, {"made": "written"}, True)
        assert written() == 1

    def test_without_a_key_nothing_is_claimed(self) -> None:
        run_once(post(key=None), **SCOPE, work=write)
        assert written() == 1
        assert not IdempotencyKey.objects.exists()

    def test_another_payload_under_the_same_key_is_refused(self) -> None:
        run_once(post(), **SCOPE, work=write)
        with pytest.raises(errors.KeyReused):
            run_once(post(body={"a": 2}), **SCOPE, work=write)
        assert written() == 1

    def test_a_key_belongs_to_its_user_and_its_scope(self) -> None:
        run_once(post(), scope="orders", subject="7", work=lambda: write("written-1"))
        run_once(post(), scope="orders", subject="8", work=lambda: write("written-2"))
        run_once(post(), scope="payments", subject="7", work=lambda: write("written-3"))
        assert written() == 3

    @pytest.mark.parametrize("key", ["", "k" * 256, "two words", "tab\tinside", "ключ"])
    def test_a_malformed_key_is_refused_before_the_work(self, key: str) -> None:
        request = post()
        with pytest.raises(errors.KeyMalformed):
            claim(**SCOPE, key=key, fingerprint=fingerprint_of(request))

    def test_a_fresher_answer_is_what_retries_get(self) -> None:
        run_once(post(), **SCOPE, work=write).amend(201, {"made": "later"})
        assert run_once(post(), **SCOPE, work=write).data == {"made": "later"}

    def test_a_refused_request_is_refused_again_in_the_same_words(self) -> None:
        request = post()
        with pytest.raises(ZeroDivisionError):
            run_once(request, **SCOPE, work=lambda: 1 // 0)  # type: ignore[arg-type, return-value]
        assert has_pending_claim(request)
        settle(request, JsonResponse({"code": "out_of_stock"}, status=409))
        again = run_once(post(), **SCOPE, work=write)
        assert (again.status, again.data, written()) == (409, {"code": "out_of_stock"}, 0)

    def test_a_server_error_gives_the_key_back(self) -> None:
        request = post()
        with pytest.raises(ZeroDivisionError):
            run_once(request, **SCOPE, work=lambda: 1 // 0)  # type: ignore[arg-type, return-value]
        settle(request, HttpResponse(b"oops", status=500))
        assert run_once(post(), **SCOPE, work=write).status == 201

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_work_that_ends_without_an_answer_is_rolled_back_and_may_be_done_again(self, status: int) -> None:
        def work() -> tuple[int, dict[str, str]]:
            return status, write()[1]

        assert (run_once(post(), **SCOPE, work=work).status, written()) == (status, 0)
        assert (run_once(post(key=None), **SCOPE, work=work).status, written()) == (status, 0)
        assert (run_once(post(), **SCOPE, work=write).status, written()) == (201, 1)

    @pytest.mark.parametrize("status", [409, 503])
    def test_a_refusal_that_says_when_to_come_back_is_no_answer(self, status: int) -> None:
        """Such as that a key inside is in flight: who comes back then must not be told so for ever."""
        request = post()
        assert isinstance(held_for(request, **SCOPE), Claim)
        settle(request, JsonResponse({"code": "in_flight"}, status=status, headers={"Retry-After": "1"}))
        assert run_once(post(), **SCOPE, work=write).status == 201


class TestFingerprint:
    """Router and service see the same request through different servers."""

    def test_it_does_not_depend_on_where_a_side_is_mounted(self) -> None:
        here = RequestFactory().post("/api/things/?a=1")
        there = RequestFactory(SCRIPT_NAME="/orders").post("/api/things/?a=1")
        assert (there.path, there.path_info) == ("/orders/api/things/", here.path_info)
        assert fingerprint_of(here) == fingerprint_of(there)

    def test_it_does_not_depend_on_who_quotes_the_query(self) -> None:
        raw, quoted = (RequestFactory().post("/api/things/") for _ in range(2))
        raw.META["QUERY_STRING"] = "q=\u00c3\u00bc&a=%20b"
        quoted.META["QUERY_STRING"] = "q=%C3%BC&a=%20b"
        assert fingerprint_of(raw) == fingerprint_of(quoted)

    @pytest.mark.parametrize("target", ["/api/things/?a=1", "/api/other/", "/api/things/%0A"])
    def test_another_request_has_another(self, target: str) -> None:
        assert fingerprint_of(RequestFactory().post(target)) != fingerprint_of(RequestFactory().post("/api/things/"))


@pytest.mark.django_db(transaction=True)
class TestAtomicRequests:
    def test_a_claim_is_never_part_of_a_longer_transaction(self) -> None:
        with pytest.raises(errors.ClaimInTransaction, match=r"idempotency\.views\.once"), transaction.atomic():
            run_once(post(), **SCOPE, work=write)

    def test_idempotent_views_stay_out_of_it(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        token = Token.objects.create(user=User.objects.create_user("ann"))
        headers = {"Authorization": f"Token {token.key}", "Idempotency-Key": "key-1"}
        answers = [client.post("/api/orders/7/cancel/", headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[1]["Idempotency-Replayed"] == "true"

    def test_view_sets_are_idempotent_views_as_well(self) -> None:
        class Orders(IdempotentViewMixin, ViewSet):
            def create(self, request: Any) -> Any:
                return as_response(self.run_once(request, "orders", lambda: (201, {"made": 1})))

        view = Orders.as_view({"post": "create"}, authentication_classes=[], permission_classes=[])
        request = RequestFactory().post("/", headers={"Idempotency-Key": "k"})
        assert (view(request).status_code, view._non_atomic_requests) == (201, set(connections))


@pytest.mark.django_db(transaction=True)
class TestTwoSides:
    def key(self) -> dict[str, str]:
        return {**SCOPE, "key": "key-1", "fingerprint": fingerprint_of(post())}

    def test_while_one_works_another_is_told_to_wait(self) -> None:
        assert isinstance(claim(**self.key()), Claim)
        with pytest.raises(errors.KeyInFlight) as refused:
            claim(**self.key())
        assert refused.value.retry_after == 1

    def test_of_many_at_once_one_works(self) -> None:
        start = threading.Barrier(8)

        def attempt() -> object:
            start.wait(timeout=30)
            return run_once(post(), **SCOPE, work=write)

        threads = [in_thread(attempt) for _ in range(8)]
        for thread, _ in threads:
            thread.join(timeout=60)
        assert written() == 1
        assert all(len(result) == 1 for _, result in threads)

    def test_a_dead_holders_claim_is_free_after_its_lease(self) -> None:
        assert isinstance(claim(**self.key()), Claim)
        IdempotencyKey.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert run_once(post(), **SCOPE, work=write).status == 201

    def test_a_seized_claim_cannot_commit(self, settings) -> None:
        """The slow service finishes after legacy has taken the request over: its whole transaction must go."""
        settings.STRANGLER_IDEMPOTENCY = {"HOLDER": "extracted"}
        slow = claim(**self.key())
        settings.STRANGLER_IDEMPOTENCY = {"HOLDER": "legacy"}
        taken = seize(**self.key())
        assert isinstance(slow, Claim)
        assert isinstance(taken, Claim)
        late = post()
        late.strangler_claim = slow  # type: ignore[attr-defined]
        with pytest.raises(errors.ClaimLost):
            run_once(late, **SCOPE, work=lambda: write("written-late"))
        mine = post()
        mine.strangler_claim = taken  # type: ignore[attr-defined]
        run_once(mine, **SCOPE, work=lambda: write("written-by-legacy"))
        assert list(Category.objects.values_list("slug", flat=True)) == ["written-by-legacy"]

    def test_seizing_before_the_service_began_shuts_the_service_out(self, settings) -> None:
        mine = post()
        mine.strangler_claim = seize(**self.key())  # type: ignore[attr-defined]
        run_once(mine, **SCOPE, work=write)
        settings.STRANGLER_IDEMPOTENCY = {"HOLDER": "extracted"}
        assert run_once(post(), **SCOPE, work=write).replayed
        assert written() == 1

    @pytest.mark.parametrize(("key", "status"), [("k", 409), (None, 409), (None, 500)])
    def test_an_answer_after_seizing_is_the_last_word(self, settings, key: str | None, status: int) -> None:
        """The client was told "out of stock"; the request still queued at the service must not order after all.

        Nor may it after a server error that was told to a client who has no key to ask again with.
        """
        mine = post(key=key)
        mine.strangler_claim = seize(**self.key())  # type: ignore[attr-defined]
        settle(mine, JsonResponse({}, status=status))
        settings.STRANGLER_IDEMPOTENCY = {"HOLDER": "extracted"}
        assert run_once(post(), **SCOPE, work=write).status == status
        assert written() == 0

    def test_a_server_error_after_seizing_is_none_to_a_client_with_a_key(self, settings) -> None:
        """Else it would be told so for ever. Whoever is asked first now does it, and once."""
        mine = post()
        mine.strangler_claim = seize(**self.key())  # type: ignore[attr-defined]
        settle(mine, JsonResponse({}, status=500))
        assert run_once(post(), **SCOPE, work=write).status == 201
        settings.STRANGLER_IDEMPOTENCY = {"HOLDER": "extracted"}
        assert run_once(post(), **SCOPE, work=write).replayed
        assert written() == 1

    def test_a_healthy_claim_of_the_same_side_is_not_seized(self) -> None:
        claim(**self.key())
        with pytest.raises(errors.KeyInFlight):
            seize(**self.key())

    def test_seizing_finds_the_answer_of_a_service_that_commits_at_that_moment(self, settings) -> None:
        """Completed and not yet committed: the seizure waits for the commit, then gives that answer."""
        settings.STRANGLER_IDEMPOTENCY = {"HOLDER": "extracted"}
        completed, go = threading.Event(), threading.Event()

        def finish_slowly() -> object:
            request = post()

            def work() -> tuple[int, dict[str, str]]:
                answer = write()
                held = request.strangler_claim  # type: ignore[attr-defined]
                held.complete(status=201, content_type="application/json", body=b'{"made":"written"}')
                held.complete = lambda **_: None
                completed.set()
                assert go.wait(timeout=30)
                return answer

            return run_once(request, **SCOPE, work=work)

        service, _ = in_thread(finish_slowly)
        assert completed.wait(timeout=30)
        settings.STRANGLER_IDEMPOTENCY = {"HOLDER": "legacy", "LOCK_TIMEOUT_SECONDS": 20}
        router, found = in_thread(lambda: seize(**self.key()))
        go.set()
        service.join(timeout=30)
        router.join(timeout=30)
        assert found == [Stored(status=201, content_type="application/json", body=b'{"made":"written"}')]
        assert written() == 1


@pytest.mark.django_db
def test_purging_forgets_old_keys_only(capsys) -> None:
    for key, days in (("old", 9), ("new", 1)):
        run_once(post(key=key), **SCOPE, work=lambda key=key: write(f"written-{key}"))
        IdempotencyKey.objects.filter(key=key).update(created_at=timezone.now() - timedelta(days=days))
    call_command("idempotency", "purge", "--dry-run")
    assert IdempotencyKey.objects.count() == 2
    call_command("idempotency", "purge")
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["new"]
    said = capsys.readouterr().out.splitlines()
    assert said == [f"1 idempotency keys older than 7 days {verb}." for verb in ("would be forgotten", "forgotten")]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"LEASE": 3}, "has a key 'LEASE', which means nothing. Known: LEASE_SECONDS"),
        ({"LEASE_SECONDS": 0}, "['LEASE_SECONDS'] is 0, which is not a number above zero"),
        ({"LEASE_SECONDS": "5"}, "['LEASE_SECONDS'] is '5', which is not a number above zero"),
        ({"HOLDER": ""}, "['HOLDER'] is '', which is not a text"),
    ],
)
def test_wrong_settings_are_found_by_check(settings, given: dict[str, object], says: str) -> None:
    settings.STRANGLER_IDEMPOTENCY = given
    (found,) = check_settings()
    assert says in found.msg


def test_right_settings_pass_the_check(settings) -> None:
    settings.STRANGLER_IDEMPOTENCY = {"HOLDER": "extracted", "LEASE_SECONDS": 2.5, "KEEP_DAYS": 3}
    assert check_settings() == []


@pytest.mark.django_db(transaction=True)
class TestCrashes:
    """Whoever is answered 500 asks again at once, and is not told to wait for somebody who is not there any more."""

    def rest_framework(self, work: Callable[[], object]) -> Callable[[HttpRequest], Any]:
        class Things(IdempotentViewMixin, APIView):
            authentication_classes = permission_classes = ()

            def post(self, request: Any) -> Any:
                return as_response(self.run_once(request, "orders", work))  # type: ignore[arg-type]

        return Things.as_view()

    def decorated(self, work: Callable[[], object]) -> Callable[[HttpRequest], Any]:
        def view(request: HttpRequest) -> HttpResponse:
            work()
            return HttpResponse(status=201)

        return once("orders")(view)

    @pytest.mark.parametrize("kind", ["rest_framework", "decorated"])
    def test_a_bug(self, kind: str) -> None:
        with pytest.raises(ZeroDivisionError):
            getattr(self, kind)(lambda: 1 // 0)(post())
        assert (getattr(self, kind)(write)(post()).status_code, written()) == (201, 1)

    @pytest.mark.postgres
    @pytest.mark.parametrize("kind", ["rest_framework", "decorated"])
    def test_a_commit_that_fails(self, kind: str) -> None:
        """Constraints are checked there that can be deferred, after the key was completed."""

        def refer_to_nobody() -> tuple[int, dict[str, str]]:
            Token.objects.create(user_id=999_999)
            return write()

        with pytest.raises(IntegrityError):
            getattr(self, kind)(refer_to_nobody)(post())
        assert (getattr(self, kind)(write)(post()).status_code, written()) == (201, 1)

    @pytest.mark.postgres
    @pytest.mark.parametrize("kind", ["rest_framework", "decorated"])
    def test_a_lost_connection(self, kind: str) -> None:
        def lose() -> None:
            write()
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        with pytest.raises(OperationalError):
            getattr(self, kind)(lose)(post())
        assert (getattr(self, kind)(write)(post()).status_code, written()) == (201, 1)

    def test_a_key_that_was_taken_from_the_other_side_is_left_to_the_router(self) -> None:
        request = post()
        held = seize(**SCOPE, key="key-1", fingerprint=fingerprint_of(request))
        setattr(request, CLAIM_ATTRIBUTE, held)
        with pytest.raises(ZeroDivisionError):
            self.decorated(lambda: 1 // 0)(request)
        assert has_pending_claim(request)
