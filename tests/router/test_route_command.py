"""`route explain` says what the middleware would do, in sentences and in JSON, and exits 0, 1 or 2."""

import json
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.test import RequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from router import registry, seam
from router.buckets import bucket
from router.decide import Facts, decide
from router.exchange import Exchange
from router.explanation import Visitor as Asking
from router.explanation import explain
from router.holders import Ownership
from router.management.commands import route as command
from router.models import Flag
from router.routes import Asked, FromBody, FromPath, Lookup, Route, Scatter, Visitor
from router.shadow import sampling
from router.snapshot import Envelope, FlagRule, Snapshot
from router.testing import override_routes
from tests.router.seams import forgotten_afterwards

pytestmark = pytest.mark.django_db


def owner_of(order_id: int) -> int | None:
    return User.objects.filter(pk=order_id).values_list("pk", flat=True).first()


ROUTES = (
    Route(service="orders", name="list", pattern="/api/orders/", key=Visitor()),
    Route(service="orders", name="detail", pattern="/api/orders/<int:order_id>/", key=Visitor()),
    Route(
        service="orders", name="cancel", pattern="/api/orders/<int:order_id>/cancel/", methods=("POST",), key=Visitor()
    ),
    Route(service="orders", name="of", pattern="/api/customers/<int:customer>/orders/", key=FromPath("customer")),
    Route(service="orders", name="import", pattern="/api/import/", methods=("POST",), key=FromBody("customer")),
    Route(service="orders", name="public", pattern="/api/public/<int:order_id>/", key=Lookup(owner_of)),
    Route(service="orders", name="all", pattern="/api/staff/orders/", key=Scatter()),
    Route(service="orders", name="keyless", pattern="/api/keyless/"),
)
TEN = Snapshot(envelopes={"orders": Envelope(step="shared.reads@10", reads=10, writes=10, shadow=100)})


@pytest.fixture(autouse=True)
def ten_percent(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let ten percent be diverted, on routes of every kind of key."""
    monkeypatch.setattr(command, "load", lambda: TEN)
    with override_routes(*ROUTES):
        yield


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("route", "explain", *arguments, stdout=out)
    return out.getvalue()


def as_json(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json"))
    return found


def customer(in_bucket: int, **values: Any) -> User:
    pk = next(n for n in range(100_000, 200_000) if bucket("orders", n) == in_bucket)
    return User.objects.create(pk=pk, username=f"customer-{pk}", **values)


def exit_code(*arguments: str) -> tuple[int, str]:
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    return refused.value.returncode, str(refused.value)


def test_a_customer_outside() -> None:
    user = customer(57)
    text = run("GET", "/api/orders/7/", "--user", str(user.pk))

    assert f"GET /api/orders/7/ by user {user.pk}\n" in text
    for line in (
        "  route     orders.detail (GET, HEAD /api/orders/<int:order_id>/), a read, declared in ",
        f"  key       {user.pk} (the visitor)\n",
        "  bucket    57\n",
        "  envelope  10 % of reads, by shared.reads@10\n",
        "  flag      orders.reads: none, so no limit inside of the envelope\n",
        "  percent   requested 100 %, effective 10 %: there is no flag orders.reads, ",
        "  shadow    yes (100 % of reads are shadowed)\n",
        "  answer    legacy [outside-envelope]: bucket 57 is outside of the 10 % that shared.reads@10 diverts\n",
    ):
        assert line in text
    assert f"{__file__.rsplit('/', 1)[1]}:" in text


def test_a_customer_inside_as_json() -> None:
    user = customer(9)
    found = as_json("post", "/api/orders/7/cancel/", "--user", str(user.pk))

    assert {
        key: found[key] for key in ("method", "service", "route", "kind", "key", "bucket", "step", "side", "reason")
    } == {
        "method": "POST",
        "service": "orders",
        "route": "cancel",
        "kind": "write",
        "key": str(user.pk),
        "bucket": 9,
        "step": "shared.reads@10",
        "side": "extracted",
        "reason": "in-envelope",
    }
    assert found["detail"] == "bucket 9 is inside of the 10 % that shared.reads@10 diverts"
    assert (found["requested_percent"], found["effective_percent"], found["flag"], found["shadow"]) == (
        100,
        10,
        None,
        False,
    )


def test_an_anonymous_visitor_has_no_key() -> None:
    found = as_json("GET", "/api/orders/")

    assert (found["key"], found["bucket"], found["reason"]) == (None, None, "no-key")
    assert "by an anonymous visitor" in run("GET", "/api/orders/")


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (FlagRule(name="orders.reads", everyone=True), "orders.reads: on for everyone"),
        (FlagRule(name="orders.reads", everyone=False), "orders.reads: off for everyone"),
        (FlagRule(name="orders.reads", percent=5), "orders.reads: 5 %\n"),
        (
            FlagRule(name="orders.reads", percent=5, staff=True, superusers=True, users=frozenset({"1", "2"})),
            "orders.reads: 5 %, and 2 named users, superusers, staff\n",
        ),
    ],
)
def test_flags(monkeypatch: pytest.MonkeyPatch, rule: FlagRule, text: str) -> None:
    rules = Snapshot(envelopes=TEN.envelopes, flags={rule.name: rule})
    monkeypatch.setattr(command, "load", lambda: rules)

    assert text in run("GET", "/api/orders/")


def test_a_key_from_the_path() -> None:
    assert as_json("GET", "/api/customers/42/orders/")["bucket"] == bucket("orders", 42)


def test_a_key_from_the_body() -> None:
    assert as_json("POST", "/api/import/", "--body", '{"customer": 42}')["bucket"] == bucket("orders", 42)
    assert as_json("POST", "/api/import/")["key"] is None


def test_a_key_that_is_looked_up_is_looked_up_and_counted() -> None:
    user = customer(3)
    found = as_json("GET", f"/api/public/{user.pk}/")

    assert (found["bucket"], found["key_queries"]) == (3, 1)
    assert "looked up with 1 SQL read in " in run("GET", f"/api/public/{user.pk}/")
    assert as_json("GET", "/api/public/999999/")["reason"] == "no-key"
    assert as_json("GET", "/api/orders/")["key_queries"] == 0


def test_scattered_and_keyless_routes() -> None:
    assert "none (many owners)" in run("GET", "/api/staff/orders/")
    assert "the route declares no key" in run("GET", "/api/keyless/")


def test_a_key_that_no_request_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "load", Snapshot)
    user = customer(3)

    assert "envelope and flag decide for everyone" in run("GET", "/api/orders/", "--user", str(user.pk))


def test_query_strings_and_whole_urls_are_their_path() -> None:
    for path in ("/api/orders/?page=2", "https://shop.example.com/api/orders/"):
        assert as_json("GET", path)["path"] == "/api/orders/"


def test_paused_plans_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    paused = Snapshot(envelopes={"orders": Envelope(step="shared.reads@10", reads=10, paused=True)})
    monkeypatch.setattr(command, "load", lambda: paused)

    assert "by shared.reads@10 (paused)" in run("GET", "/api/orders/")


# --- exit codes ----------------------------------------------------------------------------------------------
def test_an_unknown_path_names_the_routes_near_it() -> None:
    code, text = exit_code("GET", "/api/order/7/")

    assert code == 1
    assert "No route is declared for GET /api/order/7/" in text
    assert text.splitlines()[1].strip().startswith("orders.detail ")


def test_a_known_path_with_another_method_names_that_first() -> None:
    code, text = exit_code("DELETE", "/api/orders/7/cancel/")

    assert code == 1
    assert text.splitlines()[1].strip().startswith("orders.cancel (POST ")


def test_an_unknown_path_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("route", "explain", "GET", "/api/order/7/", "--json", stdout=out)
    found = json.loads(out.getvalue())

    assert (found["route"], len(found["near"])) == (None, 3)


def test_no_routes_at_all() -> None:
    with override_routes():
        assert "No routes are declared at all" in exit_code("GET", "/api/orders/")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("GET", "/api/orders/", "--user", "999999"), 1, "There is no user 999999."),
        (("GET", "/api/orders/", "--user", "alice"), 2, "'alice' is no primary key"),
        (("GET", "api/orders/"), 2, "begins with a slash: /api/orders/"),
        (("POST", "/api/import/", "--body", "{"), 2, "--body is no JSON"),
        (("POST", "/api/import/", "--body", "[1]"), 2, "no JSON object"),
    ],
)
def test_what_cannot_be_explained(arguments: tuple[str, ...], code: int, says: str) -> None:
    found, text = exit_code(*arguments)

    assert (found, says in text) == (code, True), text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explian"], "'explain'"),
        ([], "explain"),
        (["explain"], "METHOD, PATH"),
        (["explain", "GET", "/", "--usr", "1"], "--usr"),
    ],
)
def test_a_wrong_command_line_exits_2_with_the_valid_ones(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made: BaseCommand = command.Command()
    with pytest.raises(SystemExit) as ended:
        made.run_from_argv(["manage.py", "route", *arguments])

    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_exit_codes_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    made = command.Command()
    with pytest.raises(SystemExit) as ended:
        made.run_from_argv(["manage.py", "route", "--skip-checks", "explain", "GET", "/nowhere/"])

    assert ended.value.code == 1
    assert "No route is declared" in capsys.readouterr().err


# --- one decision everywhere ---------------------------------------------------------------------------------
@settings(deadline=None, max_examples=60)
@given(
    subject=st.none() | st.integers(min_value=1, max_value=2_000).map(str),
    asked=st.sampled_from([("GET", "/api/orders/"), ("POST", "/api/orders/7/cancel/"), ("GET", "/api/staff/orders/")]),
    staff=st.booleans(),
    percent=st.integers(min_value=0, max_value=100),
)
def test_explaining_decides_as_a_request_is_decided(
    subject: str | None, asked: tuple[str, str], staff: bool, percent: int
) -> None:
    rules = Snapshot(
        envelopes={"orders": Envelope(step="a", reads=percent, writes=percent, shadow=50)},
        flags={"orders.reads": FlagRule(name="orders.reads", percent=percent // 2, staff=True)},
    )
    match = registry.match(*asked)
    assert match is not None
    key = match.route.partition_key(Asked(subject=subject, arguments=match.kwargs))
    facts = Facts(
        method=asked[0], route=match.route, key=key, subject=subject, staff=staff, authenticated=subject is not None
    )
    explained = explain(*asked, snapshot=rules, visitor=Asking(subject=subject, staff=staff))

    assert explained.decision == decide(facts, rules)


@pytest.mark.parametrize("reads", [0, 10, 50, 100])
@pytest.mark.parametrize("percent", [None, 0, 5, 100])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/orders/7/"), ("POST", "/api/orders/7/cancel/"), ("GET", "/api/staff/orders/")]
)
def test_the_middleware_decides_as_explained(
    rf: RequestFactory, monkeypatch: pytest.MonkeyPatch, reads: int, percent: int | None, method: str, path: str
) -> None:
    rules = Snapshot(
        envelopes={"orders": Envelope(step="a", reads=reads, writes=10, shadow=100)},
        flags={} if percent is None else {"orders.reads": FlagRule(name="orders.reads", percent=percent, staff=True)},
    )
    match = registry.match(method, path)
    assert match is not None
    for user in (customer(4), customer(7, is_staff=True), customer(60), AnonymousUser()):
        request = rf.generic(method, path)
        request.user = user
        visitor = Asking() if user.pk is None else Asking.of(str(user.pk))
        explained = explain(method, path, snapshot=rules, visitor=visitor)
        copies = 0
        for place in range(100):  # each that chance may give a request without a bucket
            monkeypatch.setattr(sampling, "of_request", lambda *_, place=place: place)
            decided = Exchange(request=request, match=match, snapshot=rules).decision
            assert (decided.side, decided.reason) == (explained.decision.side, explained.decision.reason)
            copies += decided.shadow

        assert copies == explained.shadow_share


def test_it_says_how_many_of_the_requests_without_a_bucket_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = Envelope(step="separate.shadow", reads=100, writes=100, shadow=30, shadow_store="own")
    monkeypatch.setattr(command, "load", lambda: Snapshot(envelopes={"orders": envelope}))
    said = run("GET", "/api/keyless/")
    assert "  shadow    30 % of such requests, by chance (30 % of reads are shadowed to the store own)\n" in said
    found = as_json("GET", "/api/keyless/")
    assert (found["shadow"], found["shadow_share"], found["shadow_store"]) == (False, 30, "own")


def test_the_store_that_copies_go_to_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = Envelope(step="separate.shadow", reads=100, writes=100, shadow=100, shadow_store="own")
    monkeypatch.setattr(command, "load", lambda: Snapshot(envelopes={"orders": envelope}))
    assert "  shadow    yes (100 % of reads are shadowed to the store own)\n" in run("GET", "/api/keyless/")
    assert as_json("GET", "/api/keyless/")["shadow_store"] == "own"
    assert as_json("POST", "/api/import/")["shadow_store"] is None


def test_it_reads_the_database_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    Flag.objects.create(name="orders.reads", percent=3)

    assert as_json("GET", "/api/orders/")["requested_percent"] == 3


class TestOperations:
    """What seams call is explained like requests."""

    @pytest.fixture(autouse=True)
    def touch(self) -> Any:
        with forgotten_afterwards():
            operation = seam.write("orders.touch", key=lambda owner: owner)(lambda owner: None)
            operation.remote(lambda service, owner: None)
            yield operation

    def test_who_would_carry_it_out(self) -> None:
        User.objects.bulk_create(User(pk=pk, username=f"u{pk}") for pk in range(1, 60))
        inside = next(pk for pk in range(1, 60) if bucket("orders", pk) < 10)
        said = run("SEAM", "orders.touch", "--user", str(inside))
        assert "the operation orders.touch, a write" in said
        assert f"{inside} (the owner)" in said
        assert "extracted [in-envelope]" not in run("SEAM", "orders.touch")

    def test_it_is_what_a_call_decides(self, touch: Any) -> None:
        User.objects.bulk_create(User(pk=pk, username=f"u{pk}") for pk in range(1, 60))
        for pk in range(1, 60):
            said = json.loads(run("SEAM", "orders.touch", "--user", str(pk), "--json"))
            assert said["side"] == touch.decide(TEN, (pk,), {}).side

    def test_one_that_there_is_not(self) -> None:
        with pytest.raises(
            CommandError, match=r"No operation is called orders\.tuch\. There are: orders\.touch"
        ) as error:
            run("SEAM", "orders.tuch")
        assert error.value.returncode == 1

    def test_the_list(self) -> None:
        out = StringIO()
        call_command("route", "operations", stdout=out)
        (line,) = [line for line in out.getvalue().splitlines() if line.startswith("orders.touch")]
        assert "10 %" in line
        out = StringIO()
        call_command("route", "operations", "--json", stdout=out)
        assert {"orders.touch"} <= {row["operation"] for row in json.loads(out.getvalue())}


def test_the_owner_is_told_and_what_it_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    owned = replace(
        TEN, ownership={"orders": Ownership(extracted=frozenset(range(100)) - {3}, changing=frozenset({3}))}
    )
    monkeypatch.setattr(command, "load", lambda: owned)
    customer = next(number for number in range(1, 500) if bucket("orders", number) == 50)
    text = run("GET", f"/api/customers/{customer}/orders/")
    assert "owner     orders, which overrides envelope and flag (the service owns 99 of 100 buckets, 1 are" in text
    assert "requested 100 %, effective 10 %" in text
    assert "answer    extracted [owned-by-service]" in text
    told = json.loads(run("GET", f"/api/customers/{customer}/orders/", "--json"))
    assert (told["owner"], told["owned_percent"], told["store"], told["held"]) == ("extracted", 99, "own", False)


def test_where_data_cannot_move_nothing_is_said_of_owners() -> None:
    assert "  owner " not in run("GET", "/api/customers/1/orders/")
