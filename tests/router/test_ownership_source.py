"""Who owns what comes from the rows of sync, by the poller into the snapshot, and at once to a write that waits."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from migrations_plan import syncing
from migrations_plan.sync import aggregates
from migrations_plan.sync.models import Ownership as Row
from router import poller, snapshot
from router.handover.owners import owner_now
from router.holders import Ownership
from router.snapshot import OwnershipSource
from router.testing import forget_snapshot, override_ownership

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def rows(settings: Any) -> Any:
    """Let all be legacy's, but for two buckets."""
    settings.STRANGLER = {
        **settings.STRANGLER,
        "SNAPSHOT_SOURCE": "migrations_plan.source.PlanSnapshotSource",
    }
    Row.objects.all().delete()
    states = {3: "replica", 4: "frozen"}
    Row.objects.bulk_create(
        Row(aggregate="orders", bucket=number, state=states.get(number, "owner")) for number in range(100)
    )
    Row.objects.create(aggregate="nobody declares this", bucket=0, state="replica")
    with forget_snapshot():
        yield


def test_the_plans_source_offers_it() -> None:
    assert isinstance(poller.source(), OwnershipSource)


def test_the_snapshot() -> None:
    found = poller.load().ownership
    assert found["orders"] == Ownership(extracted=frozenset({3}), changing=frozenset({4}))
    assert "nobody declares this" not in found


def test_all_is_legacys_where_nobody_has_written_anything_down() -> None:
    Row.objects.all().delete()
    assert poller.load().ownership["orders"].wholly_legacy
    assert owner_now("orders", 3) == "legacy"


def test_one_query_more_and_few_rows() -> None:
    with CaptureQueriesContext(connection) as captured:
        syncing.holders()
    assert len(captured) == len({one.alias for one in aggregates.declared()} & {"default"})


def test_now() -> None:
    poller.refresh()
    Row.objects.filter(aggregate="orders", bucket=3).update(state="owner")
    Row.objects.filter(aggregate="orders", bucket=5).update(state="replica")
    assert [owner_now("orders", number) for number in (3, 4, 5, 6)] == ["legacy", "none", "extracted", "legacy"]
    assert snapshot.current().ownership["orders"].holder(3) == "extracted", "the snapshot is a moment old"
    assert owner_now("payments", 3) == "legacy"


def test_an_override_hides_the_database() -> None:
    with override_ownership("orders", extracted=[6]):
        assert [owner_now("orders", number) for number in (3, 6)] == ["legacy", "extracted"]


def test_a_change_of_hands_is_a_new_version() -> None:
    before = poller.refresh().version
    assert poller.refresh().version == before
    Row.objects.filter(aggregate="orders", bucket=4).update(state="replica")
    assert poller.refresh().version == before + 1


def test_without_the_app_there_is_no_ownership(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "installed", lambda: False)
    with CaptureQueriesContext(connection) as captured:
        assert (syncing.holders(), syncing.holder_now("orders", 3)) == ({}, "legacy")
    assert len(captured) == 0


def test_without_an_aggregate_there_is_none() -> None:
    with aggregates.replaced():
        assert json.dumps(syncing.holders()) == "{}"


def test_a_source_of_envelopes_only(settings: Any) -> None:
    settings.STRANGLER = {**settings.STRANGLER, "SNAPSHOT_SOURCE": "tests.router.test_poller.Ten"}
    assert poller.load().ownership == {}
    assert owner_now("orders", 3) == "legacy"
