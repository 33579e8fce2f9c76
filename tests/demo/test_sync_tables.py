"""The demo's own SQL about sync fits the tables of sync as they are."""

from datetime import UTC, datetime, timedelta

import pytest

from demo import sync_tables
from demo.sync_tables import Delays, summed_up
from tests.demo.conftest import Pair

LONG_AGO, FAR_AHEAD = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def test_backfill_is_told(pair: Pair) -> None:
    with pair.shop.reading() as connection:
        found = sync_tables.backfilled(connection)
    assert (found.marked, found.total) == (6, 6)
    assert found.finished_at is not None
    with pair.own.reading() as connection:
        assert sync_tables.backfilled(connection) == sync_tables.Backfilled()


def test_what_waits_is_counted(pair: Pair) -> None:
    with pair.shop.reading() as connection:
        assert sync_tables.waiting(connection) == 6  # they were sent, and that was not acknowledged
        assert sync_tables.waiting_since(connection, FAR_AHEAD) == 6
        assert sync_tables.waiting_since(connection, LONG_AGO) == 0
    with pair.shop.past_triggers() as connection:
        connection.execute("UPDATE strangler_sync_mark SET acked = gen WHERE id > 2")
    with pair.shop.reading() as connection:
        assert sync_tables.waiting(connection) == 2


def test_what_was_refused_is_counted(pair: Pair) -> None:
    with pair.shop.reading() as here, pair.own.reading() as there:
        assert sync_tables.refused(here, there) == 0
    with pair.shop.past_triggers() as connection:
        connection.execute("UPDATE strangler_sync_mark SET retry_at = changed_at WHERE id <= 2")
    with pair.own.past_triggers() as connection:
        connection.execute(
            "INSERT INTO strangler_sync_parkeddocument (aggregate, key, bucket, epoch, gen, version, reason, tries,"
            " parked_at) VALUES ('orders', '1', 1, 1, 1, 1, 'no', 1, '2026-01-01')"
        )
    with pair.shop.reading() as here, pair.own.reading() as there:
        assert sync_tables.refused(here, there) == 3


def test_delays_are_from_the_change_to_the_same_version_at_the_service(pair: Pair) -> None:
    found = sync_tables.delays(pair.shop, pair.own, since=LONG_AGO, until=FAR_AHEAD)
    assert found.samples == 6
    assert 0 <= found.p50 <= found.p99 == found.slowest < timedelta(minutes=5).total_seconds()
    assert sync_tables.delays(pair.shop, pair.own, since=FAR_AHEAD, until=FAR_AHEAD) == Delays()
    with pair.shop.past_triggers() as connection:
        connection.execute("UPDATE strangler_sync_mark SET gen = gen + 1 WHERE id <= 2")
    assert sync_tables.delays(pair.shop, pair.own, since=LONG_AGO, until=FAR_AHEAD).samples == 4


def test_percentiles() -> None:
    found = summed_up([number / 100 for number in range(1, 101)])
    assert (found.samples, found.p50, found.p99, found.slowest) == (100, 0.51, 1.0, 1.0)
    assert str(found) == "p50 510 ms, p99 1000 ms, slowest 1000 ms of 100 orders"
    assert summed_up([-0.5]).slowest == 0.0  # clocks of two databases
    assert summed_up([]) == Delays()


@pytest.mark.parametrize("table", ["strangler_sync_mark", "strangler_sync_applied"])
def test_tables_are_in_both_homes(pair: Pair, table: str) -> None:
    for home in (pair.shop, pair.own):
        with home.reading() as connection:
            assert list(connection.execute(f"SELECT key, gen FROM {table} LIMIT 0")) == []
