"""Event types: declared once, checked when they are published, read in any version that was ever published."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from migrations_plan.sync.events import types
from migrations_plan.sync.events.api import DeclarationError, FutureVersion, Unfit, UnknownType, event_type, upcasts
from migrations_plan.sync.events.testing import override_declarations


@pytest.fixture(autouse=True)
def own() -> Any:
    with override_declarations():
        yield


@dataclass(frozen=True, kw_only=True)
class Part:
    sku: str
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class Placed:
    order: int
    at: datetime
    by: UUID
    parts: list[Part]
    note: str | None = None


WHOLE = Placed(
    order=7,
    at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    by=UUID(int=1),
    parts=[Part(sku="A", amount=Decimal("1.50"))],
)


def test_what_is_written_is_read() -> None:
    event_type("tests.order.placed")(Placed)
    data = types.encode(WHOLE)
    assert data["parts"] == [{"sku": "A", "amount": "1.50"}]
    assert types.decode("tests.order.placed", 1, data) == WHOLE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"order": "7"}, r"Expected `int`, got `str` - at `\$\.order`"),
        ({"order": None}, r"\$\.order"),
        ({"at": "yesterday"}, r"\$\.at"),
        ({"parts": [{"sku": "A"}]}, r"missing required field `amount` - at `\$\.parts\[0\]`"),
        ({"by": "me"}, r"\$\.by"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], said: str) -> None:
    event_type("tests.order.placed")(Placed)
    with pytest.raises(Unfit, match=said):
        types.decode("tests.order.placed", 1, {**types.encode(WHOLE), **change})


def test_fields_that_a_newer_side_added_do_no_harm() -> None:
    event_type("tests.order.placed")(Placed)
    assert types.decode("tests.order.placed", 1, {**types.encode(WHOLE), "colour": "red"}) == WHOLE


def test_a_field_of_the_wrong_type_is_not_published() -> None:
    event_type("tests.order.placed")(Placed)
    with pytest.raises(Unfit, match="order"):
        types.encode(Placed(order="7", at=WHOLE.at, by=WHOLE.by, parts=[]))  # type: ignore[arg-type]


def test_unknown_types_and_future_versions() -> None:
    event_type("tests.order.placed", version=1)(Placed)
    with pytest.raises(UnknownType, match=r"No event type tests\.order\.lost is declared"):
        types.decode("tests.order.lost", 1, {})
    with pytest.raises(FutureVersion, match=r"Version 3 .* newer than version 1"):
        types.decode("tests.order.placed", 3, types.encode(WHOLE))


class TestOldVersions:
    @pytest.fixture(autouse=True)
    def versions(self) -> None:
        event_type("tests.order.placed", version=3)(Placed)

    def test_are_lifted_step_by_step(self) -> None:
        @upcasts("tests.order.placed", from_version=1)
        def name_the_customer(data: dict[str, Any]) -> dict[str, Any]:
            return {**data, "by": data.pop("customer")}

        @upcasts("tests.order.placed", from_version=2)
        def make_parts_a_list(data: dict[str, Any]) -> dict[str, Any]:
            return {**data, "parts": [data.pop("part")]}

        current = types.encode(WHOLE)
        second = {**current, "part": current["parts"][0]}
        del second["parts"]
        first = {**second, "customer": current["by"]}
        del first["by"]
        for version, data in ((3, current), (2, second), (1, first)):
            assert types.decode("tests.order.placed", version, data) == WHOLE

    def test_without_an_upcaster_cannot_be_read_and_are_found_at_start_up(self) -> None:
        with pytest.raises(Unfit, match="Nothing turns version 2"):
            types.decode("tests.order.placed", 2, {})
        assert [version for _, version in types.missing_upcasters()] == [1, 2]

    def test_an_upcaster_that_fails_says_so(self) -> None:
        @upcasts("tests.order.placed", from_version=2)
        def break_off(data: dict[str, Any]) -> dict[str, Any]:
            raise KeyError("total")

        with pytest.raises(Unfit, match="KeyError"):
            types.decode("tests.order.placed", 2, {})


@pytest.mark.parametrize("name", ["placed", "orders.placed", "Orders.order.placed", "tests.order.placed.twice", ""])
def test_names_say_who_what_and_what_happened(name: str) -> None:
    with pytest.raises(DeclarationError, match="is no name of an event type"):
        event_type(name)(Placed)


def test_declared_twice() -> None:
    event_type("tests.order.placed")(Placed)
    with pytest.raises(DeclarationError, match="declared twice"):
        event_type("tests.order.placed")(Part)
    upcasts("tests.order.placed", from_version=1)(dict)
    with pytest.raises(DeclarationError, match="two upcasters"):
        upcasts("tests.order.placed", from_version=1)(dict)


def test_no_dataclass_no_version_no_type() -> None:
    with pytest.raises(DeclarationError, match="no dataclass"):
        event_type("tests.order.placed")(dict)
    with pytest.raises(DeclarationError, match="count from 1"):
        event_type("tests.order.placed", version=0)
    with pytest.raises(DeclarationError, match="is no event type"):
        types.encode(Part(sku="A", amount=Decimal(1)))
