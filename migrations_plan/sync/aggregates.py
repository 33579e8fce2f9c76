"""Aggregates: the unit of sync, declared in each side's ``strangler.py`` as admin classes are in admin.py."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from django.apps import apps
from django.db import models, router

from migrations_plan.sync.errors import DeclarationError, UnknownAggregate
from migrations_plan.sync.fields import Field, column_of, pointed_at

KeyKind = Literal["integer", "uuid", "text"]
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One table of an aggregate, as this side has it."""

    model: str
    """``app_label.Model``."""
    fields: tuple[Field, ...]
    unsynced: tuple[str, ...] = ()
    """Columns that this side keeps for itself; a row that arrives gets their default."""

    @cached_property
    def model_class(self) -> type[models.Model]:
        """Return the model."""
        try:
            found: type[models.Model] = apps.get_model(self.model)
        except (LookupError, ValueError) as error:
            raise DeclarationError(f"There is no model {self.model!r}: {error}.") from error
        return found

    @property
    def table(self) -> str:
        """Return the name of the table."""
        return self.model_class._meta.db_table

    @property
    def key(self) -> "models.Field[Any, Any]":
        """Return the primary key."""
        found = self.model_class._meta.pk
        if found is None or found.attname not in {one.attname for one in self.model_class._meta.concrete_fields}:
            raise DeclarationError(f"{self.model} has no primary key of one column.")
        return found

    @cached_property
    def synced_columns(self) -> tuple[str, ...]:
        """Return the attributes that are part of the document, the key first."""
        return (self.key.attname, *(column for one in self.fields for column in one.columns))

    @property
    def alias(self) -> str:
        """Return the database that the table is in."""
        return router.db_for_write(self.model_class)


@dataclass(frozen=True, kw_only=True)
class Part(Rows):
    """Rows that belong to a root: the lines of an order."""

    name: str
    """Under which the document lists them."""
    parent: str
    """The column that holds the root's key."""

    @cached_property
    def synced_columns(self) -> tuple[str, ...]:
        """Return the attributes that are part of the document, key and parent first."""
        return (self.key.attname, self.parent, *(column for one in self.fields for column in one.columns))


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A root row and its parts, which are sent, applied and versioned as one document."""

    name: str
    """Also the salt of its buckets: give it the name of its service."""
    root: Rows
    partition_key: str
    """The column of the root that says whose data it is."""
    parts: tuple[Part, ...] = ()
    version: int = 1
    """Of the document's form; raise it when fields change, and keep reading the old one."""
    upcasters: Mapping[int, Upcaster] = field(default_factory=dict)
    """By old version: turns a document's data into that of the next version."""
    bucket: str = ""
    """A column of the root with the stored bucket, where the partition key is text."""
    moves_with: str = ""
    """The name of the aggregate whose buckets and ownership this one shares; it changes hands together with it."""
    mints_from: int | None = None
    """The first id of the range in which this side mints ids of its own; see ``migrations_plan.sync.ids``."""

    @property
    def group(self) -> str:
        """Return under which name ownership of the buckets is kept, and what salts them."""
        return self.moves_with or self.name

    @property
    def tables(self) -> tuple[Rows, ...]:
        """Return root and parts."""
        return (self.root, *self.parts)

    @property
    def alias(self) -> str:
        """Return the database that holds the aggregate, and so its marks."""
        return self.root.alias

    @cached_property
    def key_kind(self) -> KeyKind:
        """Return what the root's key is."""
        return kind_of(self.root.key)

    @cached_property
    def partition_kind(self) -> KeyKind:
        """Return what the partition key is."""
        return kind_of(column_of(self.root.model_class, self.partition_key))

    @cached_property
    def owns_itself(self) -> bool:
        """Return whether the aggregate is its own partition key, as users are."""
        return self.partition_key == self.root.key.attname


def kind_of(column: "models.Field[Any, Any]") -> KeyKind:
    """Return whether a column holds integers, UUIDs or text."""
    target = pointed_at(column)
    if isinstance(target, models.IntegerField):
        return "integer"
    if isinstance(target, models.UUIDField):
        return "uuid"
    if isinstance(target, models.CharField | models.TextField):
        return "text"
    raise DeclarationError(
        f"{column.model._meta.label}.{column.attname} is a {type(target).__name__}. Keys are integers, UUIDs or text."
    )


_declared: dict[str, Aggregate] = {}


def register(aggregate: Aggregate) -> Aggregate:
    """Declare an aggregate; the same name twice is a mistake."""
    known = _declared.get(aggregate.name)
    if known is not None and known != aggregate:
        raise DeclarationError(
            f"The aggregate {aggregate.name!r} is declared twice: on {known.root.model} and on {aggregate.root.model}."
        )
    _declared[aggregate.name] = aggregate
    return aggregate


def declared() -> tuple[Aggregate, ...]:
    """Return all declared aggregates, sorted by name."""
    return tuple(aggregate for _, aggregate in sorted(_declared.items()))


def find(name: str) -> Aggregate:
    """Return the aggregate of this name; raise UnknownAggregate with the names that there are."""
    try:
        return _declared[name]
    except KeyError:
        raise UnknownAggregate(name, tuple(sorted(_declared))) from None


def members(group: str) -> tuple[Aggregate, ...]:
    """Return the declared aggregates that change hands together, under the name of the one that leads them."""
    return tuple(aggregate for aggregate in declared() if aggregate.group == group)


def together(name: str) -> tuple[Aggregate, ...]:
    """Return an aggregate and, after it, those that it leads: they change hands with it."""
    return (find(name), *(one for one in members(name) if one.name != name))


@contextmanager
def replaced(*aggregates: Aggregate) -> Iterator[None]:
    """Know only these aggregates for the length of the block; for tests."""
    before = dict(_declared)
    _declared.clear()
    _declared.update({aggregate.name: aggregate for aggregate in aggregates})
    try:
        yield
    finally:
        _declared.clear()
        _declared.update(before)
