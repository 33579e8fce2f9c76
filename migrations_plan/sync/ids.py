"""Keep the ids that the two sides mint apart, so that a row made here never has the id of a row made there.

Each side mints upwards in a range of its own: the monolith where it always was, the service far above it. PostgreSQL's
sequences take no notice of rows that arrive with ids. SQLite's counters do: they go on from the highest id in the
table, so one row from the service would lift the monolith's counter into the service's range. On SQLite, therefore, the
monolith's counters are raised above the service's range before the first of its rows can arrive (``mints_from``), and a
service mints from a counter that does not look at its table, which it registers here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db import connections, models

from migrations_plan.sync.aggregates import Aggregate, Part, Rows

Peek = Callable[[], int]
"""Returns the id that a side's own counter gives out next."""

ROOT = "root"
"""Under which the root's range is listed; parts are listed under their names."""
_counters: dict[str, Peek] = {}


@dataclass(frozen=True, kw_only=True)
class Range:
    """Where one table of a side mints."""

    part: str
    """The same on both sides: ``root``, or the name of the part."""
    first: int
    """The range's start; nothing below was minted by this side in it."""
    next: int
    """The id that the next row made here gets."""


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """How far the two sides are from minting the same id in one table."""

    part: str
    left: int
    """So many ids can the lower side still mint before it meets the upper one's range; none or fewer: they overlap."""

    @property
    def disjoint(self) -> bool:
        """Return whether the two sides cannot mint the same id next."""
        return self.left > 0


def register_counter(table: str, peek: Peek) -> None:
    """Say how to ask for the next id of a table that is not minted by its database's own counter."""
    _counters[table] = peek


def start(aggregate: Aggregate) -> None:
    """Raise SQLite's counters to the start of this side's range; those that are further already stay where they are.

    Rebuilding a table sets its counter back, so this is done again with each look at the triggers. It reads only,
    except for the first time.
    """
    connection = connections[aggregate.alias]
    if aggregate.mints_from is None or connection.vendor != "sqlite":
        return
    wanted = aggregate.mints_from - 1
    for rows in _minting(aggregate):
        if _sqlite_counter(rows) >= wanted:
            continue
        with connection.cursor() as cursor:
            cursor.execute("UPDATE sqlite_sequence SET seq = max(seq, %s) WHERE name = %s", [wanted, rows.table])
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT %s, %s "
                "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = %s)",
                [rows.table, wanted, rows.table],
            )


def next_ids(aggregate: Aggregate) -> tuple[Range, ...]:
    """Return where each table of this side mints; tables whose keys are no integers that count up are left out."""
    return tuple(_range(aggregate, rows) for rows in _minting(aggregate))


def compare(here: Iterable[Range], there: Iterable[Range]) -> tuple[Headroom, ...]:
    """Return how far apart the two sides mint, for each table that both have."""
    others = {one.part: one for one in there}
    return tuple(_headroom(one, others[one.part]) for one in here if one.part in others)


def problems(here: Iterable[Range], there: Iterable[Range], *, least: int = 1_000_000) -> tuple[str, ...]:
    """Return, for people, where the sides' ranges overlap or come closer than ``least`` ids."""
    return tuple(
        f"{one.part}: both sides would mint the same ids. Give one of them a range of its own (mints_from)."
        if not one.disjoint
        else f"{one.part}: after {one.left} more ids the two sides would mint the same ones."
        for one in compare(here, there)
        if one.left < least
    )


def _headroom(one: Range, other: Range) -> Headroom:
    lower, upper = sorted((one, other), key=lambda found: (found.next, found.first))
    return Headroom(part=one.part, left=upper.first - lower.next)


def _range(aggregate: Aggregate, rows: Rows) -> Range:
    upcoming = _next(rows)
    declared = aggregate.mints_from
    first = declared if declared is not None and upcoming >= declared else 1
    return Range(part=rows.name if isinstance(rows, Part) else ROOT, first=first, next=upcoming)


def _minting(aggregate: Aggregate) -> tuple[Rows, ...]:
    """Return the tables whose keys the database counts."""
    return tuple(rows for rows in aggregate.tables if isinstance(rows.key, models.AutoField | models.BigAutoField))


def _next(rows: Rows) -> int:
    if rows.table in _counters:
        return _counters[rows.table]()
    if connections[rows.alias].vendor == "sqlite":
        return _sqlite_counter(rows) + 1
    return _postgresql_next(rows)


def _sqlite_counter(rows: Rows) -> int:
    with connections[rows.alias].cursor() as cursor:
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [rows.table])
        found = cursor.fetchone()
    return int(found[0]) if found else 0


def _postgresql_next(rows: Rows) -> int:
    connection = connections[rows.alias]
    table = connection.ops.quote_name(rows.table)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [table, rows.key.column])
        (sequence,) = cursor.fetchone()
        cursor.execute(f"SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM {sequence}")
        return int(cursor.fetchone()[0])
