"""Which rows' writes stay on this side: the predicate for the monolith's own batch SQL.

It says of each owner what an operation decides for that owner. Until data moves, both sides may write every row, and
the predicate spreads the work. Buckets that have moved, or are changing hands, are not in it whatever the flags say;
but who *may* write is never up to it alone: it is as old as the snapshot, and the fence is not.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Field, Func, IntegerField, UUIDField
from django.db.models.sql.compiler import SQLCompiler

from router import snapshot
from router.buckets import ColumnKind, bucket_sql
from router.exceptions import KeyUnusable
from router.limits import Limits, limits
from router.snapshot import Snapshot

OwnerKind: TypeAlias = ColumnKind | Literal["text"]

HERE, AWAY = "1 = 1", "1 = 0"
FIELDS: "dict[ColumnKind, Field[Any, Any]]" = {"integer": IntegerField(), "uuid": UUIDField()}


def moved(service: str) -> bool:
    """Return whether any write of the service is carried out elsewhere now."""
    allowed = limits(service, "writes", snapshot.current())
    return allowed.moved is not None or allowed.settled is not False


def owned_here_sql(
    service: str, column: str, *, kind: OwnerKind = "integer", bucket: str = "", using: str = DEFAULT_DB_ALIAS
) -> tuple[str, list[Any]]:
    """Return a condition for raw SQL, with its parameters: true of rows whose writes stay in legacy, never NULL.

    ``column`` holds the owner and is put in as it is; ``kind`` says what it holds. Text needs ``bucket``, the column
    with its stored bucket, as well. Rows without an owner stay until everything has moved.
    """
    return _condition(service, column, kind, bucket, connections[using], snapshot.current())


class OwnedHere(Func):
    """The same condition for querysets: ``Order.objects.filter(owned_here("orders", "customer_id"))``."""

    def __init__(self, service: str, owner: str, *, bucket: str = "") -> None:
        super().__init__(F(owner), *([F(bucket)] if bucket else []), output_field=BooleanField())
        self.service = service

    def as_sql(  # type: ignore[override]
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Sequence[Any]]:
        """Compile the condition by the rules of this moment."""
        owner, *stored = self.get_source_expressions()
        columns = [compiler.compile(expression)[0] for expression in (owner, *stored)]
        kind = _kind_of(owner.output_field)
        return _condition(self.service, columns[0], kind, "".join(columns[1:]), connection, snapshot.current())


@dataclass(frozen=True, kw_only=True)
class _Line:
    """Where the buckets are cut."""

    all_below: int
    """Buckets below this have left with everybody in them."""
    named_below: int
    """Of the buckets below this, those whom the flag names have left as well."""
    named: frozenset[str]

    @classmethod
    def of(cls, allowed: Limits) -> "_Line":
        rule = allowed.rule
        all_below = allowed.envelope if rule.authenticated and rule.everyone is None else allowed.effective
        named = rule.users if rule.everyone is None else frozenset()
        return cls(all_below=all_below, named_below=allowed.envelope, named=named)


def _condition(
    service: str, column: str, kind: OwnerKind, bucket: str, connection: BaseDatabaseWrapper, rules: Snapshot
) -> tuple[str, list[Any]]:
    allowed = limits(service, "writes", rules)
    moved = allowed.moved
    if allowed.settled or (moved is not None and moved.wholly_extracted):
        return AWAY, []
    if allowed.settled is False and moved is None:
        return HERE, []
    number = bucket or _bucket(service, column, kind, connection)
    gone, parameters = (
        ("1 = 0", []) if allowed.settled is False else _steered(allowed, number, column, kind, connection)
    )
    if moved is not None:
        gone = f"({gone} OR {number} IN ({', '.join(map(str, moved.away))}))"
    return f"({column} IS NULL OR NOT ({gone}))", parameters


def _steered(
    allowed: Limits, number: str, column: str, kind: OwnerKind, connection: BaseDatabaseWrapper
) -> tuple[str, list[Any]]:
    """Return the condition of what envelope and flag send elsewhere."""
    line = _Line.of(allowed)
    below, parameters = f"{number} < {line.all_below}", []
    names = [_adapted(name, kind, connection) for name in sorted(line.named) if _fits(name, kind)]
    if names:
        marks = ", ".join(["%s"] * len(names))
        below, parameters = f"({below} OR ({number} < {line.named_below} AND {column} IN ({marks})))", names
    return below, parameters


def _bucket(service: str, column: str, kind: OwnerKind, connection: BaseDatabaseWrapper) -> str:
    if kind == "text":
        raise KeyUnusable(
            f"{column} is neither an integer nor a UUID, and SQL has no bucket for text. Keep the bucket of "
            "router.buckets.bucket() in a column and name it: bucket=..."
        )
    return bucket_sql(connection.vendor, service, column, kind, with_params=True)


def _kind_of(field: "Field[Any, Any]") -> OwnerKind:
    target = getattr(field, "target_field", field)
    if isinstance(target, UUIDField):
        return "uuid"
    return "integer" if isinstance(target, IntegerField) else "text"


def _fits(name: str, kind: OwnerKind) -> bool:
    """Return whether a user's key can be one of the column's values at all."""
    if kind == "integer":
        return name.isascii() and name.lstrip("-").isdecimal()
    if kind == "uuid":
        try:
            uuid.UUID(name)
        except ValueError:
            return False
    return True


def _adapted(name: str, kind: OwnerKind, connection: BaseDatabaseWrapper) -> Any:
    if kind == "text":
        return name
    field = FIELDS[kind]
    return field.get_db_prep_value(field.to_python(name), connection)
