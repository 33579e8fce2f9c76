"""Foreign keys across aggregates, looked at before SQLite checks them, at the commit, for the whole batch at once."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connections, models

from migrations_plan.sync.aggregates import Aggregate, Part, Rows
from migrations_plan.sync.documents import IN_CHUNK, Loaded, LoadedRow


class NotHere(Exception):
    """A row points at one that is not there yet, or is still pointed at."""


class References:
    """The foreign keys that lead out of an aggregate, and into it."""

    def __init__(self, aggregate: Aggregate) -> None:
        self.aggregate = aggregate
        self.needed = connections[aggregate.alias].vendor == "sqlite"

    def require(self, gone: Sequence[Any], documents: Sequence[Loaded]) -> None:
        """Raise NotHere if a document points at a row that is missing, or one to be deleted is pointed at."""
        if not self.needed:
            return
        self._check_outgoing(self.aggregate.root, [document.root for document in documents])
        for number, part in enumerate(self.aggregate.parts):
            self._check_outgoing(part, [row for document in documents for row in document.parts[number]])
        self._check_incoming(gone)

    def _check_outgoing(self, rows: Rows, loaded: Sequence[LoadedRow]) -> None:
        for position, field in self._outgoing(rows):
            wanted = {row.values[position] for row in loaded} - {None}
            target = field.target_field
            known: set[Any] = set()
            for chunk in _chunks(sorted(wanted)):
                found = target.model._base_manager.using(self.aggregate.alias).filter(
                    **{f"{target.attname}__in": chunk}
                )
                known.update(found.values_list(target.attname, flat=True))
            missing = sorted(wanted - known)
            if missing:
                raise NotHere(
                    f"{rows.model}.{field.attname} is {missing[0]}, and there is no such {target.model.__name__} here."
                )

    def _outgoing(self, rows: Rows) -> Iterator[tuple[int, Any]]:
        own = {table.model_class for table in self.aggregate.tables}
        fields = {field.attname: field for field in rows.model_class._meta.concrete_fields}
        for position, attribute in enumerate(rows.synced_columns):
            field = fields[attribute]
            if isinstance(rows, Part) and attribute == rows.parent:
                continue
            if _constrained(field) and field.related_model not in own:
                yield position, field

    def _check_incoming(self, gone: Sequence[Any]) -> None:
        own = {table.model_class for table in self.aggregate.tables}
        for relation in self.aggregate.root.model_class._meta.related_objects:
            field: Any = relation.field
            if relation.related_model in own or not _constrained(field):
                continue
            holders: Any = relation.related_model
            for chunk in _chunks(list(gone)):
                if holders._base_manager.using(self.aggregate.alias).filter(**{f"{field.attname}__in": chunk}).exists():
                    raise NotHere(f"{holders._meta.label}.{field.attname} still points at what is to be deleted.")


def _constrained(field: Any) -> bool:
    """Return whether the database itself holds a column to be a foreign key."""
    return isinstance(field, models.ForeignKey) and bool(vars(field)["db_constraint"])


def _chunks(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), IN_CHUNK):
        yield values[start : start + IN_CHUNK]
