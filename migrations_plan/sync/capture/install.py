"""Put the triggers where they have to be, take them away, and compare what is there with what has to be."""

from django.db import OperationalError, connections, transaction

from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.capture import postgresql, sqlite
from migrations_plan.sync.capture.triggers import Trigger, TriggerStatus
from migrations_plan.sync.errors import Busy, DeclarationError

WRITERS = {"postgresql": postgresql, "sqlite": sqlite}
LOCK_SECONDS = 1.0
TRIES = 10


def triggers(aggregate: Aggregate) -> tuple[Trigger, ...]:
    """Return the triggers that an aggregate has to have on its database."""
    return _writer(aggregate).triggers(aggregate)  # type: ignore[no-any-return]


def status(aggregate: Aggregate) -> tuple[TriggerStatus, ...]:
    """Return how each trigger is found."""
    return _writer(aggregate).status(aggregate)  # type: ignore[no-any-return]


def tables_exist(aggregate: Aggregate) -> bool:
    """Return whether the database has the tables already, those of sync included."""
    have = set(connections[aggregate.alias].introspection.table_names())
    return {rows.table for rows in aggregate.tables} | {"strangler_sync_mark", "strangler_sync_capture"} <= have


def put(aggregate: Aggregate) -> tuple[str, ...]:
    """Create the triggers that are missing, disabled or outdated; return their names.

    On PostgreSQL this waits until nobody writes the table; it gives way and tries again, so that writers never wait
    for it for longer than a moment. Whatever was written before it is there for the backfill to see.
    """
    wrong = {one.name for one in status(aggregate) if not one.works}
    wanted = [trigger for trigger in triggers(aggregate) if trigger.name in wrong]
    by_table: dict[str, list[Trigger]] = {}
    for trigger in wanted:
        by_table.setdefault(trigger.table, []).append(trigger)
    for table, of_table in by_table.items():
        _run(aggregate, table, [statement for trigger in of_table for statement in trigger.create])
    return tuple(trigger.name for trigger in wanted)


def remove(aggregate: Aggregate) -> tuple[str, ...]:
    """Take all triggers of the aggregate away; return the names of those that were there."""
    there = {one.name for one in status(aggregate) if one.health.value != "missing"}
    found = triggers(aggregate)
    for table in dict.fromkeys(trigger.table for trigger in found):
        _run(aggregate, table, [statement for one in found if one.table == table for statement in one.drop])
    return tuple(trigger.name for trigger in found if trigger.name in there)


def _run(aggregate: Aggregate, table: str, statements: list[str]) -> None:
    connection = connections[aggregate.alias]
    for last in (number == TRIES for number in range(1, TRIES + 1)):
        try:
            with transaction.atomic(using=aggregate.alias), connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(LOCK_SECONDS * 1000)}ms"])
                for statement in statements:
                    cursor.execute(statement)
            return
        except OperationalError as error:
            if last:
                raise Busy(
                    f"The triggers of {table} could not be changed in {TRIES} tries: {error}. A transaction that "
                    "writes the table has been open all the time; end it and try again."
                ) from error


def _writer(aggregate: Aggregate):  # type: ignore[no-untyped-def]
    vendor = connections[aggregate.alias].vendor
    try:
        return WRITERS[vendor]
    except KeyError:
        raise DeclarationError(
            f"{aggregate.name} is in a {vendor} database. Capture works on: {', '.join(WRITERS)}."
        ) from None
