"""What a trigger is to those who install it and look after it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from django.db import models

from migrations_plan.sync.aggregates import Aggregate, KeyKind, Rows
from migrations_plan.sync.buckets import BUCKETS, bucket_sql

PREFIX = "strangler_capture_"
LONGEST_NAME = 63
"""Characters that PostgreSQL keeps of a name."""
NO_OWNER = BUCKETS - 1
"""The bucket of rows whose partition key is NULL: they move last."""


class Health(StrEnum):
    """How a trigger in the database compares with the one that has to be there."""

    INSTALLED = "installed"
    OUTDATED = "outdated"
    """It is there with another text."""
    DISABLED = "disabled"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One trigger, with the statements that make it and take it away."""

    name: str
    table: str
    create: tuple[str, ...]
    drop: tuple[str, ...]
    text: str
    """What the database can show of it when it is installed as declared."""

    @property
    def hash(self) -> str:
        """Return what tells versions of the trigger apart."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class TriggerStatus:
    """A trigger as it is found."""

    name: str
    table: str
    health: Health

    @property
    def works(self) -> bool:
        """Return whether changes are written down as declared."""
        return self.health is Health.INSTALLED


def trigger_name(aggregate: Aggregate, rows: Rows, event: str) -> str:
    """Return a name that says what the trigger is for, made unique by a digest where it would be too long."""
    name = f"{PREFIX}{aggregate.name}_{rows.table}_{event}".replace(" ", "_").replace(".", "_")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def column_name(rows: Rows, attribute: str) -> str:
    """Return the database column of a model's attribute."""
    for field in rows.model_class._meta.concrete_fields:
        if field.attname == attribute:
            return str(field.column)
    raise KeyError(attribute)


def unique_sets(rows: Rows) -> tuple[tuple[str, ...], ...]:
    """Return the columns, by attribute, of each unconditional unique constraint beside the primary key."""
    meta = rows.model_class._meta
    single = [(field.attname,) for field in meta.concrete_fields if field.unique and not field.primary_key]
    together = [tuple(meta.get_field(name).attname for name in names) for names in meta.unique_together]  # type: ignore[union-attr]
    declared = [
        tuple(meta.get_field(name).attname for name in constraint.fields)  # type: ignore[union-attr]
        for constraint in meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and constraint.fields and constraint.condition is None
    ]
    return tuple(dict.fromkeys([*single, *together, *declared]))


def bucket_expression(vendor: str, aggregate: Aggregate, row: str, quote: Callable[[str], str]) -> str:
    """Return the SQL expression for the bucket of a root's row that the statement calls ``row``; never NULL."""
    name = quote(column_name(aggregate.root, aggregate.bucket or aggregate.partition_key))
    column = f"{row}.{name}"
    if aggregate.bucket:
        return f"COALESCE({column}, {NO_OWNER})"
    kind = aggregate.partition_kind
    assert kind != "text"  # checked at start-up
    return f"COALESCE({bucket_sql(vendor, aggregate.group, column, kind)}, {NO_OWNER})"


def key_expression(vendor: str, kind: KeyKind, column: str) -> str:
    """Return the SQL expression for a key as documents spell it."""
    if vendor == "postgresql":
        return f"{column}::text"
    if kind == "uuid":  # kept as 32 hexadecimal digits
        cuts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        return "(" + " || '-' || ".join(f"substr({column}, {start}, {length})" for start, length in cuts) + ")"
    return f"CAST({column} AS TEXT)"
