"""``manage.py shadow``: tables, JSON, exit codes, and nothing done that was not confirmed."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.http import HttpRequest, JsonResponse
from django.test import override_settings
from django.urls import path as url

from router import metrics
from router.metrics import Outcome
from router.models import ShadowFieldCount, ShadowMismatch, ShadowRule, TrafficCount
from router.shadow import applied
from tests.router.raw_server import answering, ok, raw_server

pytestmark = pytest.mark.django_db


def whoami(request: HttpRequest) -> JsonResponse:
    """Answer with who asks."""
    return JsonResponse({"user": request.user.get_username(), "page": request.GET.get("page")})


urlpatterns = [url("who/", whoami)]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    metrics.reset()
    applied.forget()
    yield
    metrics.reset()
    applied.forget()


def shadow(*arguments: str) -> str:
    out = StringIO()
    call_command("shadow", *arguments, stdout=out)
    return out.getvalue()


def refused(*arguments: str) -> tuple[str, int]:
    with pytest.raises(CommandError) as raised:
        shadow(*arguments)
    return str(raised.value), raised.value.returncode


def counted(field: str, raw: int = 0, stayed: int = 0, noise: int = 0, route: str = "list") -> None:
    ShadowFieldCount.objects.create(
        at=datetime.now(UTC),
        process="p",
        service="orders",
        store="shared",
        route=route,
        field=field,
        raw=raw,
        stayed=stayed,
        noise=noise,
    )


def example(**changes: Any) -> ShadowMismatch:
    values: dict[str, Any] = {
        "at": datetime.now(UTC),
        "service": "orders",
        "store": "shared",
        "route": "list",
        "method": "GET",
        "path": "/who/?page=2",
        "outcome": "mismatch",
        "fields": ["r[].t"],
        "differences": [{"path": "r[0].t", "field": "r[].t", "kind": "value", "legacy": "1", "extracted": "2"}],
    }
    return ShadowMismatch.objects.create(**{**values, **changes})


@pytest.fixture
def measured() -> None:
    """Two routes: one with a defect and a noisy field, one that agrees."""
    counted("", raw=20_000, stayed=40, noise=1000)
    counted("total", raw=40, stayed=40)
    counted("eta", raw=15_000, noise=800)
    counted("(changed)", raw=15_000)
    counted("", raw=900, noise=40, route="detail")


@pytest.mark.usefixtures("measured")
class TestReport:
    def test_for_people(self) -> None:
        text = shadow("report", "orders")
        lines = {line.split()[0]: line for line in text.splitlines() if "  shared  " in line}
        assert "fail" in lines["list"]
        assert "pass" in lines["detail"]
        assert "proposal, not applied: shadow ignore orders 'eta' --route list" in text
        assert not ShadowRule.objects.exists()

    def test_for_machines(self) -> None:
        found = {one["route"]: one for one in json.loads(shadow("report", "orders", "--json"))["routes"]}
        assert (found["list"]["says"], found["detail"]["says"]) == ("fail", "pass")
        assert {one["field"]: one["says"] for one in found["list"]["fields"]} == {
            "total": "fail",
            "eta": "inconclusive",
        }
        assert found["list"]["proposals"] == ["eta"]

    def test_checked(self) -> None:
        assert refused("report", "orders", "--check") == ("Not every route passes.", 1)
        shadow("report", "orders", "--route", "detail", "--check")
        assert refused("report", "orders", "--min-rate", "2")[1] == 2


def test_examples() -> None:
    first, second = example(), example(route="detail", fields=["x"])
    listed = shadow("show", "orders", "--field", "r[].t")
    assert f"{first.pk}  " in listed
    assert f"\n{second.pk}  " not in listed
    assert "'1'" in shadow("show", "orders", str(first.pk))
    assert json.loads(shadow("show", "orders", str(first.pk), "--json"))["differences"][0]["extracted"] == "2"
    assert refused("show", "orders", "999999")[1] == 1


class TestIgnoring:
    def test_nothing_is_recorded_unconfirmed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", StringIO())
        assert "give --yes" in refused("ignore", "orders", "eta", "--why", "an estimate")[0]
        assert "Would: Leave eta" in shadow("ignore", "orders", "eta", "--why", "an estimate", "--dry-run")
        assert not ShadowRule.objects.exists()

    def test_recorded_listed_and_removed(self) -> None:
        made = json.loads(shadow("ignore", "orders", "eta", "--why", "an estimate", "--by", "ann", "--yes", "--json"))
        assert (made["path"], made["made_by"], made["reason"]) == ("eta", "ann", "an estimate")
        assert "an estimate" in shadow("ignore", "orders", "--list")
        shadow("ignore", "orders", "--remove", str(made["id"]), "--by", "bob", "--yes")
        assert "No rule was recorded." in shadow("ignore", "orders", "--list")
        assert "by bob" in shadow("ignore", "orders", "--list", "--all")

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [((), 2), (("eta", "--remove", "1"), 2), (("eta", "--yes"), 1), (("--remove", "99", "--yes"), 1)],
    )
    def test_refused(self, arguments: tuple[str, ...], code: int) -> None:
        assert refused("ignore", "orders", *arguments)[1] == code


@pytest.mark.usefixtures("measured")
def test_clearing_begins_anew_and_keeps_other_counts() -> None:
    example()
    for side in ("shadow", "legacy"):
        TrafficCount.objects.create(
            at=datetime.now(UTC),
            process="p",
            service="orders",
            route="list",
            kind="read",
            side=side,
            outcome="match",
            count=1,
        )
    assert refused("clear", "orders", "--yes")[1] == 2
    assert "Would: Delete 1 examples, 5 counts of fields, 1 counts" in shadow(
        "clear", "orders", "--why", "w", "--dry-run"
    )
    assert ShadowMismatch.objects.count() == 1
    shadow("clear", "orders", "--route", "list", "--why", "repaired", "--yes")
    assert set(ShadowFieldCount.objects.values_list("route", flat=True)) == {"detail"}
    assert [row.side for row in TrafficCount.objects.all()] == ["legacy"]


class TestReplay:
    @pytest.fixture(autouse=True)
    def ann(self) -> User:
        return User.objects.create_user("ann", password="x")

    def replayed(self, body: bytes, row: ShadowMismatch, *arguments: str) -> dict[str, Any]:
        with raw_server(answering(ok(body, "Content-Type: application/json"))) as upstream:
            service = {"UPSTREAMS": {"shared": f"http://127.0.0.1:{upstream.port}"}, "SECRET": "s" * 40}
            with override_settings(ROOT_URLCONF=__name__, STRANGLER={"SERVICES": {"orders": service}, "POLLER": False}):
                out = StringIO()
                with suppress(CommandError):  # it still differs
                    call_command("shadow", "replay", "orders", str(row.pk), "--json", *arguments, stdout=out)
                return json.loads(out.getvalue())  # type: ignore[no-any-return]

    def test_as_the_client_whose_key_was_stored(self, ann: User) -> None:
        row = example(subject=str(ann.pk))
        assert self.replayed(b'{"user": "ann", "page": "2"}', row)["outcome"] == Outcome.MATCH
        found = self.replayed(b'{"user": "bob", "page": "2"}', row)
        assert (found["outcome"], found["fields"]) == (Outcome.MISMATCH, ["user"])
        assert ShadowMismatch.objects.count() == 1

    def test_as_somebody_else_or_nobody(self, ann: User) -> None:
        assert self.replayed(b'{"user": "", "page": "2"}', example())["outcome"] == Outcome.MATCH
        assert (
            self.replayed(b'{"user": "ann", "page": "2"}', example(), "--user", str(ann.pk))["outcome"] == Outcome.MATCH
        )

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"method": "SEAM"}, "only GET and HEAD"),
            ({"path": "/who/?token=[redacted]"}, "was redacted"),
            ({"subject": "999999"}, "--user"),
        ],
    )
    def test_refused(self, changes: dict[str, Any], says: str) -> None:
        message, code = refused("replay", "orders", str(example(**changes).pk))
        assert code == 1
        assert says in message
