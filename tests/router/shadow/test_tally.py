"""Counts per field go from memory to the database, and come back as verdicts."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from router import metrics
from router.comparing import Rules
from router.conf import ShadowSettings
from router.metrics import Outcome
from router.models import ShadowFieldCount, ShadowRule
from router.routes import Route, Visitor
from router.shadow import applied, exclusions, findings, noise, tally
from router.shadow.compare import Difference
from router.shadow.noise import WARMING_UP, Sampler
from router.shadow.runner import Job, Verdict
from router.shadow.verdicts import Says
from router.testing import override_routes
from tests.router.shadow.recordings import answer

pytestmark = pytest.mark.django_db
SINCE = datetime.now(UTC) - timedelta(minutes=5)
JOB = Job(
    service="orders",
    store="shared",
    route="list",
    method="GET",
    path="/",
    given=answer({}),
    ask_copy=lambda: answer({}),
    ask_again=lambda: answer({}),
)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    metrics.reset()
    applied.forget()
    yield
    metrics.reset()
    applied.forget()


def verdict(outcome: Outcome, *stayed: str, raw: str = "", noisy: str | None = None, cause: str = "") -> Verdict:
    return Verdict(
        outcome=outcome,
        cause=cause,
        differences=tuple(Difference(path=path, kind="value") for path in stayed),
        raw=frozenset(raw.split()),
        noise=None if noisy is None else frozenset(noisy.split()),
    )


def test_what_was_counted_is_written_with_the_other_counts_and_read_by_field() -> None:
    for _ in range(3):
        tally.count(JOB, verdict(Outcome.MATCH, noisy=""))
    tally.count(JOB, verdict(Outcome.MISMATCH, "r[0].t", "r[1].t", raw="r[].t eta"))
    tally.count(JOB, verdict(Outcome.CHANGED, raw="eta", noisy="eta"))
    tally.count(JOB, verdict(Outcome.ERROR, cause="status_503"))
    tally.count(JOB, verdict(Outcome.DROPPED, cause="queue_full"))
    metrics.flush()
    tally.count(JOB, verdict(Outcome.MATCH))
    metrics.flush()
    [found] = findings.counts("orders", SINCE, store="shared")
    assert (found.compared, found.changed, found.differed, found.asked_twice, found.noisy) == (7, 1, 2, 4, 1)
    assert {one.field: (one.raw, one.stayed, one.noise) for one in found.fields} == {
        "r[].t": (1, 1, 0),
        "eta": (2, 0, 1),
        "(error status_503)": (0, 1, 0),
    }
    assert findings.counts("orders", SINCE, store="own") == ()
    assert findings.counts("orders", datetime.now(UTC) + timedelta(minutes=1)) == ()


def test_what_cannot_be_written_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    tally.count(JOB, verdict(Outcome.MATCH))
    monkeypatch.setattr(tally, "_write", lambda counts: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        tally.flush()
    monkeypatch.undo()
    tally.count(JOB, verdict(Outcome.MATCH))
    tally.flush()
    assert findings.counts("orders", SINCE)[0].compared == 2


def test_names_that_are_data_fill_no_table() -> None:
    for number in range(tally.MOST_FIELDS + 50):
        tally.count(JOB, verdict(Outcome.MISMATCH, f"prices.sku{number}"))
    tally.flush()
    assert ShadowFieldCount.objects.count() == tally.MOST_FIELDS + 2
    assert ShadowFieldCount.objects.get(field=tally.OTHERS).stayed == 50


def test_a_recorded_rule_holds_at_once_for_what_was_counted_and_what_comes() -> None:
    tally.count(JOB, verdict(Outcome.CHANGED, raw="eta"))
    tally.flush()
    rule = exclusions.ignore("orders", "eta", route="list", reason="an estimate", by="ann")
    assert [one.fields for one in findings.counts("orders", SINCE)] == [()]
    assert applied.prepared(JOB, ShadowSettings()).rules.ignores(("eta",))
    assert not applied.prepared(replace(JOB, route="detail"), ShadowSettings()).rules.ignores(("eta",))
    exclusions.remove(rule.pk, by="bob")
    assert not applied.prepared(JOB, ShadowSettings()).rules.ignores(("eta",))
    rule.refresh_from_db()
    assert (rule.made_by, rule.removed_by, rule.reason) == ("ann", "bob", "an estimate")


def test_rules_of_another_process_are_read_before_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(applied, "monotonic", lambda: now[0])
    assert not applied.rules_now("orders", "list").ignores(("eta",))
    ShadowRule.objects.create(service="orders", path="eta", reason="r", made_by="x", made_at=datetime.now(UTC))
    now[0] += applied.FRESH_SECONDS + 0.1
    assert applied.rules_now("orders", "list").ignores(("eta",))


def test_rules_that_cannot_be_read_hold_on_and_are_complained_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(applied, "monotonic", lambda: now[0])
    exclusions.ignore("orders", "eta", reason="r", by="x")
    assert applied.rules_now("orders", "list").ignores(("eta",))
    monkeypatch.setattr(applied, "read", lambda: (_ for _ in ()).throw(OSError("database gone")))
    for _ in range(3):
        now[0] += applied.FRESH_SECONDS + 0.1
        assert applied.rules_now("orders", "list").ignores(("eta",))
    assert [record.levelname for record in caplog.records if record.name == applied.__name__] == ["WARNING"]


def test_rules_declared_beside_the_route_are_used() -> None:
    declared = Rules(ignore=["etag"])
    with override_routes(Route(service="orders", name="list", pattern="/o/", key=Visitor(), compare=declared)):
        assert applied.prepared(JOB, ShadowSettings()).rules is declared
        exclusions.ignore("orders", "eta", reason="r", by="x")
        assert {"etag", "eta"} == set(applied.prepared(JOB, ShadowSettings()).rules.ignore)


@pytest.mark.parametrize(
    ("path", "route", "reason", "says"),
    [
        ("eta", "lst", "r", "Did you mean 'list'?"),
        ("a[0]", "", "r", "[] stands for all of them"),
        ("**", "", "r", "shadow=False"),
        ("(error status_503)", "", "r", "what became of an answer"),
        ("(status)", "", "r", "what became of an answer"),
        ("eta", "", " ", "Say why"),
    ],
)
def test_rules_that_make_no_sense_are_refused(path: str, route: str, reason: str, says: str) -> None:
    with pytest.raises(exclusions.Refused) as raised:
        exclusions.ignore("orders", path, route=route, reason=reason, by="x")
    assert says in str(raised.value)
    assert not ShadowRule.objects.exists()


def test_the_same_rule_twice_is_refused_until_the_first_is_removed() -> None:
    first = exclusions.ignore("orders", "eta", reason="r", by="x")
    with pytest.raises(exclusions.Refused, match="left out already"):
        exclusions.ignore("orders", "eta", reason="r", by="x")
    exclusions.remove(first.pk, by="x")
    exclusions.ignore("orders", "eta", reason="r", by="x")


def test_noise_is_sampled_by_request_and_alike_in_each_process() -> None:
    picks = [[sampler.picks(JOB, 0.05) for _ in range(4000)] for sampler in (Sampler(), Sampler())]
    assert picks[0] == picks[1]
    assert not any(picks[0][:WARMING_UP])
    assert 160 <= sum(picks[0]) <= 240
    gaps = {n for n, picked in enumerate(picks[0]) if picked}
    assert len({n % 20 for n in gaps}) == 20
    assert 0 <= noise.drawn("x") < 1


def test_nothing_compared_is_no_verdict_to_pass_on() -> None:
    assert findings.verdicts("orders", SINCE) == ()
    tally.count(JOB, verdict(Outcome.MATCH))
    tally.flush()
    assert findings.verdicts("orders", SINCE)[0].says is Says.INCONCLUSIVE
