"""A snapshot is immutable, versioned by its contents, and knows its age."""

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from types import MappingProxyType

import pytest

from router import snapshot
from router.decide import Facts, decide
from router.routes import Route, Visitor
from router.snapshot import NOTHING, Envelope, FlagRule, Snapshot, SnapshotSource, current, publish
from router.testing import forget_snapshot, override_envelope, override_flag, override_killed, override_snapshot

ROUTE = Route(service="orders", name="list", pattern="/orders/", key=Visitor())
TEN = {"orders": Envelope(step="shared.reads@10", reads=10)}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Begin with nothing read, and leave nothing behind."""
    with forget_snapshot():
        yield


def test_before_anything_is_read_everything_stays_in_legacy() -> None:
    assert current() is NOTHING
    assert current().version == 0
    assert current().age == math.inf
    assert decide(Facts(method="GET", route=ROUTE), current()).reason == "no-snapshot"


def test_the_first_contents_are_version_one_even_if_empty() -> None:
    assert publish(Snapshot()).version == 1
    assert decide(Facts(method="GET", route=ROUTE), current()).reason == "no-plan"


def test_the_version_counts_changes_of_contents_only() -> None:
    flags = {"orders.reads": FlagRule(name="orders.reads", percent=5)}
    contents = [
        Snapshot(envelopes=TEN),
        Snapshot(envelopes=dict(TEN), read_at=1.0),
        Snapshot(envelopes=TEN, flags=flags),
        Snapshot(envelopes=TEN, flags=dict(flags), killed=frozenset()),
        Snapshot(envelopes=TEN, flags=flags, killed=frozenset({"orders.off"})),
        Snapshot(envelopes=TEN, flags=flags, breakers_forced={("orders", "shared"): "open"}),
        Snapshot(envelopes=TEN),
    ]

    assert [publish(loaded).version for loaded in contents] == [1, 1, 2, 2, 3, 4, 5]


def test_age_counts_from_the_last_confirmation() -> None:
    publish(Snapshot(read_at=time.monotonic() - 100))
    assert 99 < current().age < 110
    snapshot.confirm(time.monotonic())
    assert 0 <= current().age < 10
    assert current().version == 1


def test_confirming_nothing_is_still_nothing() -> None:
    snapshot.confirm(time.monotonic())

    assert current() is NOTHING


def test_what_is_published_cannot_be_changed() -> None:
    source = dict(TEN)
    published = publish(Snapshot(envelopes=source))
    source["users"] = Envelope(step="x")

    assert dict(published.envelopes) == TEN
    assert isinstance(published.envelopes, MappingProxyType)
    with pytest.raises(FrozenInstanceError):
        published.version = 7  # type: ignore[misc]


def test_who_loads_is_asked_until_it_is_under_way() -> None:
    before, asked = snapshot._holder.start, []

    def start() -> None:
        asked.append(1)
        if len(asked) == 2:
            snapshot.mark_started()

    snapshot.load_on_first_use(start)
    try:
        for _ in range(5):
            current()
    finally:
        snapshot.load_on_first_use(before)
        snapshot.mark_started(False)

    assert len(asked) == 2


def test_overriding_reaches_other_threads_and_ends() -> None:
    seen: list[int] = []
    publish(Snapshot())
    with override_snapshot(Snapshot(version=7)):
        thread = threading.Thread(target=lambda: seen.append(current().version))
        thread.start()
        thread.join()

    assert seen == [7]
    assert current().version == 1


def test_overrides_add_up_and_ignore_what_was_read() -> None:
    publish(Snapshot(flags={"orders.writes": FlagRule(name="orders.writes", everyone=False)}))
    with override_envelope("orders", reads=10), override_flag("orders.reads", percent=5, users={7}):  # type: ignore[arg-type]
        with override_killed("orders.off") as active:
            assert current() is active
            assert (active.envelopes["orders"].reads, active.killed) == (10, {"orders.off"})
            assert active.flags == {"orders.reads": FlagRule(name="orders.reads", percent=5, users=frozenset({"7"}))}
        assert not current().killed
    assert "orders.writes" in current().flags


@override_envelope("orders", reads=100)
def test_overrides_are_decorators() -> None:
    assert decide(Facts(method="GET", route=ROUTE), current()).side == "extracted"


def test_a_flag_that_steers_nothing_cannot_be_overridden() -> None:
    with (
        pytest.raises(ValueError, match=r"orders\.reads, orders\.writes, orders\.shadow"),
        override_flag("orders.raeds"),
    ):
        pass


def test_overriding_ends_after_an_error() -> None:
    with pytest.raises(RuntimeError), override_envelope("orders", reads=100):
        raise RuntimeError

    assert current() is NOTHING


@pytest.mark.parametrize(
    ("rule", "requested", "names_people"),
    [
        (FlagRule(name="f"), 0, False),
        (FlagRule(name="f", percent=30), 30, False),
        (FlagRule(name="f", percent=250), 100, False),
        (FlagRule(name="f", everyone=True, percent=30), 100, False),
        (FlagRule(name="f", everyone=False, percent=30, staff=True), 0, False),
        (FlagRule(name="f", users=frozenset({"1"})), 0, True),
        (FlagRule(name="f", superusers=True, percent=1), 1, True),
    ],
)
def test_what_a_flag_asks_for(rule: FlagRule, requested: int, names_people: bool) -> None:
    assert (rule.requested, rule.names_people) == (requested, names_people)


def test_a_source_is_what_has_envelopes() -> None:
    class Source:
        def envelopes(self) -> dict[str, Envelope]:
            return TEN

    assert isinstance(Source(), SnapshotSource)
    assert not isinstance(object(), SnapshotSource)
