"""Seams: one function, two sides, decided as requests are. Reads, and what every operation promises."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from router import breaker, metrics, seam
from router.comparing import Rules, within
from router.identity import HEADER as IDENTITY_HEADER
from router.identity import Identity
from router.identity.tokens import verify
from router.models.traffic import ShadowMismatch, TrafficCount
from router.seam.checks import check_operations
from router.service.headers import SHADOW_HEADER
from router.shadow import pool
from router.testing import override_envelope, override_flag, override_killed, override_ownership
from tests.processes import free_port, wait_until
from tests.router.seams import NotThere, Refused, forgotten_afterwards, raise_for, refusal_of
from tests.router.test_middleware import SECRET, point_to
from tests.router.upstreams import Received, Recorder, recording_upstream

JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Begin and end with closed breakers and the project's own operations."""
    breaker.reset()
    with forgotten_afterwards():
        yield
    breaker.reset()


@pytest.fixture
def detail() -> Any:
    """Return an operation that reads."""

    @seam.read("orders.peek", key=lambda customer, order: customer, refusal=refusal_of)
    def peek(customer: int, order: int) -> dict[str, Any]:
        """Show an order."""
        if order == 404:
            raise NotThere("no such order")
        return {"by": "legacy", "order": order}

    @peek.remote
    def _ask(service: seam.Client, customer: int, order: int) -> dict[str, Any]:
        answer = service.get(f"/api/orders/{order}/", {"as": customer})
        raise_for(answer)
        return answer.json()

    return peek


@pytest.fixture
def upstream(settings) -> Iterator[Recorder]:
    with recording_upstream() as recorder, override_envelope("orders", reads=100, writes=100):
        point_to(settings, recorder.url)
        yield recorder


@pytest.fixture
def down(settings) -> Iterator[None]:
    point_to(settings, f"http://127.0.0.1:{free_port()}")
    with override_envelope("orders", reads=100, writes=100):
        yield


class TestWhoAnswers:
    """The decision is the router's: envelope, flag, kill switch, bucket of the owner."""

    def test_without_a_plan_legacy_does(self, detail: Any) -> None:
        assert detail(7, 1) == {"by": "legacy", "order": 1}

    def test_the_service_does_where_the_plan_says_so(self, detail: Any, upstream: Recorder) -> None:
        assert detail(7, 1) == {"by": "it"}
        assert upstream.received[0].target == "/api/orders/1/?as=7"

    def test_the_kill_switch_counts(self, detail: Any, upstream: Recorder) -> None:
        with override_killed("orders.off"):
            assert detail(7, 1)["by"] == "legacy"
        assert upstream.received == []

    def test_in_part_the_owner_s_bucket_decides_and_stays(self, detail: Any) -> None:
        with override_envelope("orders", reads=50):
            first = {customer: detail.decision(customer, 1).side for customer in range(400)}
        with override_envelope("orders", reads=60):
            later = {customer: detail.decision(customer, 1).side for customer in range(400)}
        assert {"legacy", "extracted"} == set(first.values())
        assert all(later[customer] == "extracted" for customer, side in first.items() if side == "extracted")

    def test_a_flag_that_names_the_owner_counts(self, detail: Any) -> None:
        with override_envelope("orders", reads=100), override_flag("orders.reads", percent=0, users={"7"}):
            assert (detail.decision(7, 1).side, detail.decision(8, 1).side) == ("extracted", "legacy")

    def test_what_has_no_owner_moves_last(self) -> None:
        @seam.read("orders.all")
        def everything() -> list[int]:
            return []

        with override_envelope("orders", reads=99):
            assert everything.decision().reason == "no-key"
        with override_envelope("orders", reads=100):
            assert everything.decision().side == "extracted"

    def test_the_function_keeps_its_name_and_words(self, detail: Any) -> None:
        assert (detail.__name__, detail.__doc__, detail.label) == ("peek", "Show an order.", "orders.peek")


class TestIdentity:
    """The service is told who the client is by a signed token and nothing else."""

    def said(self, upstream: Recorder) -> Identity:
        (token,) = upstream.received[-1].values(IDENTITY_HEADER)
        return verify(token, audience="orders", secret=SECRET)

    def test_by_default_the_monolith_asks_for_the_owner(self, detail: Any, upstream: Recorder) -> None:
        detail(7, 1)
        assert self.said(upstream) == Identity(subject="7", kind="service")

    def test_an_operation_may_say_who_acts(self, upstream: Recorder) -> None:
        @seam.read("orders.seen_by", key=lambda user: user, identity=lambda user: Identity(str(user), "session", True))
        def seen_by(user: int) -> Any:
            return None

        seen_by.remote(lambda service, user: service.get("/").json())
        seen_by(3)
        assert self.said(upstream) == Identity(subject="3", kind="session", staff=True)


class TestFallback:
    """Legacy answers a read that the service does not."""

    def test_service_down(self, detail: Any, down: None) -> None:
        assert detail(7, 1)["by"] == "legacy"

    def test_server_error(self, detail: Any, upstream: Recorder) -> None:
        upstream.answer = lambda request: (500, JSON, b"{}")
        assert detail(7, 1)["by"] == "legacy"

    def test_an_answer_nobody_can_read(self, detail: Any, upstream: Recorder) -> None:
        upstream.answer = lambda request: (200, {}, b"<html>")
        assert detail(7, 1)["by"] == "legacy"

    def test_a_remote_function_that_swallows_the_failure(self, down: None) -> None:
        @seam.read("orders.optimist")
        def optimist() -> str:
            return "legacy"

        @optimist.remote
        def _(service: seam.Client) -> str:
            try:
                return service.get("/").json()
            except Exception:
                return "made up"

        assert optimist() == "legacy"

    def test_a_refusal_is_an_answer(self, detail: Any, upstream: Recorder) -> None:
        upstream.answer = lambda request: (404, JSON, b'{"detail": "gone"}')
        with pytest.raises(NotThere, match="gone"):
            detail(7, 1)

    def test_the_breaker_is_the_router_s(self, detail: Any, upstream: Recorder) -> None:
        upstream.answer = lambda request: (500, JSON, b"{}")
        for _ in range(20):
            detail(7, 1)
        assert len(upstream.received) < 10

    @pytest.mark.django_db(transaction=True)
    def test_in_a_transaction_nobody_waits_for_a_service(self, detail: Any, upstream: Recorder) -> None:
        with transaction.atomic():
            assert detail(7, 1)["by"] == "legacy"
        assert upstream.received == []

    @pytest.mark.django_db
    def test_the_transaction_of_a_test_case_is_none(self, detail: Any, upstream: Recorder) -> None:
        assert detail(7, 1)["by"] == "it"


@pytest.mark.django_db(transaction=True)
class TestComparison:
    """Reads that stay in legacy are compared off the path of the call, result by result."""

    @pytest.fixture
    def compared(self, settings) -> Iterator[Recorder]:
        with recording_upstream() as recorder, override_envelope("orders", shadow=100):
            point_to(settings, recorder.url)
            yield recorder
            assert pool.current().drain(20)  # else the example is stored when the next test looks
            pool.reset()

    def verdicts(self) -> dict[str, int]:
        metrics.flush()
        rows = TrafficCount.objects.filter(side="shadow", route="seam:peek")
        return {row.outcome: row.count for row in rows}

    def wait_for(self, outcome: str) -> None:
        wait_until(lambda: outcome in self.verdicts(), what=f"a comparison that came to {outcome}")

    def test_the_same_result_matches(self, detail: Any, compared: Recorder) -> None:
        compared.answer = lambda request: (200, JSON, b'{"order": 1, "by": "legacy"}')
        assert detail(7, 1)["by"] == "legacy"
        self.wait_for("match")
        assert compared.received[0].values(SHADOW_HEADER) == ["1"]

    def test_another_result_is_kept_as_a_mismatch(self, detail: Any, compared: Recorder) -> None:
        compared.answer = lambda request: (200, JSON, b'{"order": 2, "by": "legacy"}')
        detail(7, 1)
        self.wait_for("mismatch")
        wait_until(lambda: ShadowMismatch.objects.exists(), what="the example is stored")
        assert ShadowMismatch.objects.get().fields == ["order"]

    def test_rules_hold_for_results_as_for_answers(self, compared: Recorder) -> None:
        @seam.read("orders.peek", compare=Rules(tolerances={"total": within("0.01")}, ignore=["by"]))
        def peek(order: int) -> dict[str, Any]:
            return {"by": "legacy", "total": "1.00"}

        @peek.remote
        def _ask(service: seam.Client, order: int) -> dict[str, Any]:
            return service.get(f"/api/orders/{order}/").json()

        compared.answer = lambda request: (200, JSON, b'{"by": "service", "total": "1.01"}')
        assert peek(1)["total"] == "1.00"
        self.wait_for("match")

    def test_refusals_are_compared_too(self, detail: Any, compared: Recorder) -> None:
        compared.answer = lambda request: (404, JSON, b'{"code": "no", "detail": "no such order"}')
        with pytest.raises(NotThere):
            detail(7, 404)
        self.wait_for("match")

    def test_what_a_transaction_shows_only_to_itself_is_not_compared(self, detail: Any, compared: Recorder) -> None:
        with transaction.atomic():
            detail(7, 1)
        detail(7, 2)
        compared.answer = lambda request: (200, JSON, b'{"order": 2, "by": "legacy"}')
        wait_until(lambda: self.verdicts(), what="one comparison")
        assert {request.target for request in compared.received} == {"/api/orders/2/?as=7"}

    def test_a_failing_service_is_an_error_and_nothing_else(self, detail: Any, compared: Recorder) -> None:
        compared.answer = lambda request: (500, JSON, b"{}")
        assert detail(7, 1)["by"] == "legacy"
        self.wait_for("error")


class TestClient:
    """What a remote function may do, and what it is told if it may not."""

    def ask(self, remote: Any, kind: Any = seam.read) -> Any:
        operation = kind("orders.asked")(lambda: "legacy")
        operation.remote(remote)
        return operation()

    def test_values_are_sent_as_json(self, db: None, upstream: Recorder) -> None:
        self.ask(lambda service: service.post("/a/", {"total": Decimal("1.50")}).json(), seam.write)
        request = upstream.received[0]
        assert (request.method, json.loads(request.body)) == ("POST", {"total": "1.50"})

    def test_a_path_is_encoded_and_a_query_is_not_smuggled(self, upstream: Recorder) -> None:
        self.ask(lambda service: service.get("/über uns/", {"q": "a&b=c"}).json())
        assert upstream.received[0].target == "/%C3%BCber%20uns/?q=a%26b%3Dc"

    @pytest.mark.parametrize("path", ["api/orders/", "/api/?x=1", "/api/#x"])
    def test_a_path_that_is_none(self, upstream: Recorder, path: str) -> None:
        with pytest.raises(seam.SeamMisused, match="give a path from the root"):
            self.ask(lambda service: service.get(path))

    def test_a_read_writes_nothing(self, upstream: Recorder) -> None:
        with pytest.raises(seam.SeamMisused, match="declared as a read"):
            self.ask(lambda service: service.post("/"))

    def test_a_write_makes_one_request(self, db: None, upstream: Recorder) -> None:
        with pytest.raises(seam.SeamMisused, match="second request"):
            self.ask(lambda service: (service.post("/"), service.post("/")), seam.write)
        assert len(upstream.received) == 1

    def test_a_write_reads_nothing(self, db: None, upstream: Recorder) -> None:
        with pytest.raises(seam.SeamMisused, match="one request"):
            self.ask(lambda service: service.get("/"), seam.write)

    def test_long_answers_arrive_whole(self, upstream: Recorder) -> None:
        upstream.answer = lambda request: (200, JSON, json.dumps(["x" * 100] * 5000).encode())
        assert len(self.ask(lambda service: service.get("/").json())) == 5000

    def test_headers_are_had_in_any_case(self, upstream: Recorder) -> None:
        upstream.answer = lambda request: (200, {"X-Kind": "a"}, b"{}")
        assert self.ask(lambda service: service.get("/").header("x-KIND")) == "a"


class TestDeclarations:
    """Mistakes are found when the program starts."""

    def test_an_operation_without_a_second_side(self) -> None:
        @seam.read("orders.lonely")
        def lonely() -> None:
            return None

        (problem,) = [message for message in check_operations(None) if "lonely" in message.msg]
        assert (problem.id, "@lonely.remote" in (problem.hint or "")) == ("strangler.E101", True)
        with override_envelope("orders", reads=100), pytest.raises(seam.SeamMisused, match="no remote function"):
            lonely()

    def test_an_operation_of_nobody(self) -> None:
        operation = seam.read("cargo.list")(lambda: None)
        operation.remote(lambda service: None)
        (problem,) = [message for message in check_operations(None) if "cargo.list" in message.msg]
        assert (problem.id, "orders" in (problem.hint or "")) == ("strangler.E102", True)

    def test_the_shop_s_own_operations_are_in_order(self) -> None:
        assert check_operations(None) == []

    def test_two_operations_of_one_name(self) -> None:
        seam.read("orders.twice")(lambda: 1)
        with pytest.raises(seam.SeamMisused, match="declared twice"):
            seam.read("orders.twice")(lambda: 2)

    def test_two_remote_functions(self, detail: Any) -> None:
        with pytest.raises(seam.SeamMisused, match="two remote functions"):
            detail.remote(lambda service, customer, order: None)

    @pytest.mark.parametrize("label", ["", "orders", ".place", "orders."])
    def test_a_name_that_is_none(self, label: str) -> None:
        with pytest.raises(seam.SeamMisused, match="names no operation"):
            seam.read(label)(lambda: None)


def test_calls_are_counted_like_requests(db: None, detail: Any, upstream: Recorder) -> None:
    from router import metrics

    metrics.flush()
    TrafficCount.objects.all().delete()
    detail(7, 1)
    upstream.answer = refuse
    with pytest.raises(Refused):
        detail(7, 2)
    upstream.answer = fail
    detail(7, 3)
    metrics.flush()
    counted = TrafficCount.objects.filter(route="seam:peek").values_list("kind", "side", "outcome")
    assert set(counted) == {
        ("read", "extracted", "ok"),
        ("read", "extracted", "client_error"),
        ("read", "legacy", "fallback_failed"),
    }


def refuse(request: Received) -> tuple[int, dict[str, str], bytes]:
    return 409, JSON, b'{"detail": "no"}'


def fail(request: Received) -> tuple[int, dict[str, str], bytes]:
    return 500, JSON, b"{}"


@pytest.mark.django_db(transaction=True)
class TestComparisonOfStores:
    """Reads that the service answers are compared with another of its stores, which follows a moment later."""

    @pytest.fixture
    def own(self, settings, upstream: Recorder) -> Iterator[Recorder]:
        envelope = override_envelope("orders", reads=100, writes=100, shadow=100, shadow_store="own")
        with recording_upstream() as recorder, envelope:
            settings.STRANGLER["SERVICES"]["orders"]["UPSTREAMS"]["own"] = recorder.url
            settings.STRANGLER = {**settings.STRANGLER, "SHADOW": {"LAG_SECONDS": 0.02}}
            for forget in (pool.reset, metrics.reset):
                forget()
            yield recorder
            for forget in (pool.reset, metrics.reset):
                forget()

    def verdicts(self) -> dict[tuple[str, str], int]:
        assert pool.current().drain(20)
        metrics.flush()
        rows = TrafficCount.objects.filter(side="shadow", route="seam:peek", store="own")
        return {(row.outcome, row.cause): row.count for row in rows}

    def test_the_same_result_matches(self, detail: Any, upstream: Recorder, own: Recorder) -> None:
        assert detail(7, 1) == {"by": "it"}
        assert self.verdicts() == {("match", ""): 1}
        assert own.received[0].values(SHADOW_HEADER) == ["1"]
        assert upstream.received[0].values(SHADOW_HEADER) == []

    def test_a_difference_is_asked_again_of_the_store_that_has_answered(
        self, detail: Any, upstream: Recorder, own: Recorder
    ) -> None:
        own.answer = lambda request: (200, JSON, b'{"by": "another"}')
        assert detail(7, 1) == {"by": "it"}
        assert self.verdicts() == {("mismatch", ""): 1}
        assert [request.values(SHADOW_HEADER) for request in upstream.received] == [[], ["1"]]
        assert ShadowMismatch.objects.get().answered_by == "shared"

    def test_refusals_are_compared_too(self, detail: Any, upstream: Recorder, own: Recorder) -> None:
        upstream.answer = own.answer = lambda request: (404, JSON, b'{"detail": "no such order"}')
        with pytest.raises(NotThere):
            detail(7, 1)
        assert self.verdicts() == {("match", ""): 1}

    def test_a_fallback_is_counted_and_not_compared(self, detail: Any, upstream: Recorder, own: Recorder) -> None:
        upstream.answer = lambda request: (500, JSON, b"{}")
        assert detail(7, 1)["by"] == "legacy"
        assert self.verdicts() == {("dropped", "fallback"): 1}
        assert own.received == []


@pytest.mark.django_db(databases="__all__", transaction=True)
def test_what_the_service_owns_is_compared_with_what_legacy_would_have_returned(
    detail: Any, upstream: Recorder, settings: Any
) -> None:
    settings.STRANGLER["SERVICES"]["orders"]["UPSTREAMS"]["own"] = upstream.url
    settings.STRANGLER = {**settings.STRANGLER, "SHADOW": {"LAG_SECONDS": 0.02}}
    upstream.answer = lambda request: (200, JSON, b'{"order": 1, "by": "legacy"}')
    pool.reset()
    metrics.reset()
    with (
        override_envelope("orders", reads=100, shadow=100, shadow_store="legacy"),
        override_ownership("orders", extracted=range(100)),
    ):
        assert detail(7, 1)["by"] == "legacy"
        assert pool.current().drain(20)
    metrics.flush()
    rows = TrafficCount.objects.filter(side="shadow", route="seam:peek")
    assert [(row.outcome, row.store, row.count) for row in rows] == [("match", "legacy", 1)]
    pool.reset()
