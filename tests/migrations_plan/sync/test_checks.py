"""What is wrong with settings and declarations is said at start-up, with the way out."""

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from legacy_shop.orders.models import Order
from migrations_plan.sync import checks
from migrations_plan.sync.aggregates import Aggregate, Part, Rows, replaced
from migrations_plan.sync.capture import install, upkeep
from migrations_plan.sync.fields import Column
from tests.migrations_plan.sync.houses import LEGACY, OWN, as_extracted

ROOT = LEGACY.root


def test_the_shops_and_the_services_own_are_right() -> None:
    assert checks.check_settings(None) == []
    assert checks.check_aggregates(None) == []
    with as_extracted(), replaced(OWN):
        assert checks.check_settings(None) == []
        assert checks.check_aggregates(None) == []


PEER = {"URL": "http://127.0.0.1:1/", "SECRET": "s"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"SIED": "legacy"}, "has a key 'SIED'"),
        ({"SIDE": "left"}, "['SIDE'] is 'left'. Use one of: legacy, extracted."),
        ({"SECRET": 7}, "['SECRET'] is 7"),
        ({"BATCH_DOCUMENTS": 0}, "['BATCH_DOCUMENTS'] is 0, which is not a whole number above zero"),
        ({"BATCH_DOCUMENTS": True}, "['BATCH_DOCUMENTS'] is True"),
        ({"LEASE_SECONDS": -1}, "['LEASE_SECONDS'] is -1, which is not a number above zero"),
        ({"CAPTURE": 1}, "['CAPTURE'] is 1. Use True or False."),
        ({"PEERS": []}, "['PEERS'] is a list. Use a dictionary"),
        ({"PEERS": {"orders": "http://x/"}}, "['PEERS.orders'] is a str. Use: "),
        ({"PEERS": {"orders": {"URL": "http://x/"}}}, "['PEERS.orders'] has URL. Use: "),
        ({"PEERS": {"orders": {**PEER, "PORT": 1}}}, "['PEERS.orders'] has PORT, "),
        ({"PEERS": {"orders": {**PEER, "URL": "http://x"}}}, "ends with a slash"),
        ({"PEERS": {"orders": {**PEER, "URL": "ftp://x/"}}}, "Use an http(s) address"),
        ({"PEERS": {"orders": {**PEER, "SECRET": None}}}, "['PEERS.orders']['SECRET'] is empty or no text"),
        ({"PEERS": {"orders": {**PEER, "SECRET": ""}}}, "['PEERS.orders']['SECRET'] is empty or no text"),
    ],
)
def test_settings_that_mean_nothing(settings: Any, given: dict[str, Any], says: str) -> None:
    settings.STRANGLER_SYNC = given
    (error,) = checks.check_settings(None)
    assert error.id == "strangler_sync.E001"
    assert says in error.msg
    assert "STRANGLER_SYNC" in error.msg


def test_what_is_wrong_with_a_peer_is_told_without_its_secret(settings: Any) -> None:
    settings.STRANGLER_SYNC = {"PEERS": {"orders": {**PEER, "SECRET": "hush-hush", "PORT": 1}}}
    (error,) = checks.check_settings(None)
    assert "hush-hush" not in error.msg


@pytest.mark.parametrize("lacking", ["AUDIENCE", "SECRET"])
def test_a_service_has_to_know_its_tokens(settings: Any, lacking: str) -> None:
    settings.STRANGLER_SYNC = {"SIDE": "extracted", "AUDIENCE": "orders", "SECRET": "s", lacking: ""}
    assert [error.id for error in checks.check_settings(None)] == ["strangler_sync.E002"]


def without(*names: str) -> Rows:
    """Return the root without the fields of some columns."""
    return replace(ROOT, fields=tuple(field for field in ROOT.fields if not set(field.columns) & set(names)))


def declared(**values: Any) -> Aggregate:
    return replace(LEGACY, **values)


LINES = LEGACY.parts[0]
TWICE = Part(name="again", model="orders.Order", parent="customer_id", fields=without("customer_id").fields)


@pytest.mark.parametrize(
    ("wrong", "code", "says"),
    [
        (declared(root=replace(ROOT, model="orders.Oder")), "E003", "There is no model 'orders.Oder'"),
        (declared(root=replace(ROOT, fields=(*ROOT.fields, Column("colour")))), "E003", "colour"),
        (declared(root=replace(ROOT, fields=(*ROOT.fields, Column("note")))), "E003", "a field of the document twice"),
        (declared(parts=(replace(LINES, name="note"),)), "E003", "two fields or parts of one name"),
        (declared(root=without("note")), "E004", "says nothing about the column orders.Order.note"),
        (declared(root=replace(ROOT, unsynced=("colour",))), "E005", "names orders.Order.colour as unsynced"),
        (declared(partition_key="number"), "E006", "partitioned by the text number"),
        (declared(parts=(OWN.parts[0],)), "E007", "in several databases: default, own"),
        (declared(parts=(TWICE,)), "E009", "orders.Order is root and part of the aggregate orders"),
    ],
)
def test_declarations_that_cannot_work(wrong: Aggregate, code: str, says: str) -> None:
    with replaced(wrong):
        errors = checks.check_aggregates(None)
    assert (f"strangler_sync.{code}", True) in [(error.id, says in error.msg) for error in errors], errors


def test_an_unsynced_column_is_spoken_for() -> None:
    with replaced(declared(root=replace(without("note"), unsynced=("note",)))):
        assert checks.check_aggregates(None) == []


def test_a_text_partition_key_with_a_stored_bucket() -> None:
    with replaced(declared(partition_key="number", bucket="status")):
        assert checks.check_aggregates(None) == []


@isolate_apps("legacy_shop.orders")
def test_columns_in_the_tables_of_parents() -> None:
    class Gift(Order):
        wish = models.CharField(max_length=10)

        class Meta:
            app_label = "orders"

    rows = replace(ROOT, fields=(*ROOT.fields, Column("wish")), unsynced=("id",))
    rows.__dict__["model_class"] = Gift  # what looking its name up would give
    with replaced(declared(root=rows, parts=())):
        (error,) = checks.check_aggregates(None)
    assert error.id == "strangler_sync.E008"
    assert "orders.Order of the aggregate orders keeps columns in the tables of orders.Order" in error.msg


@pytest.mark.django_db
class TestTriggers:
    def test_not_installed_is_no_fault(self) -> None:
        assert checks.check_triggers(databases=["default"]) == []

    def test_missing(self, captured: None) -> None:
        assert checks.check_triggers(databases=["default"]) == []
        trigger = install.triggers(LEGACY)[0]
        with connection.cursor() as cursor:
            cursor.execute(trigger.drop[0])
        assert checks.check_triggers(databases=["own"]) == []
        assert checks.check_triggers() == []
        (error,) = checks.check_triggers(databases=["default"])
        assert error.id == "strangler_sync.E010"
        assert f"{trigger.name} (missing)" in error.msg
        assert "`sync install orders`" in error.hint
        upkeep.start(LEGACY)
        assert checks.check_triggers(databases=["default"]) == []

    def test_removed_by_somebody_is_no_fault(self, captured: None) -> None:
        upkeep.stop(LEGACY)
        assert checks.check_triggers(databases=["default"]) == []

    def test_before_the_first_migration(self, captured: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(install, "tables_exist", lambda aggregate: False)
        monkeypatch.setattr(upkeep, "installed", pytest.fail)
        assert checks.check_triggers(databases=["default"]) == []
