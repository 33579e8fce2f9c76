"""Capture on SQLite: triggers for each row, in SQL alone, so that every program can write the file.

``INSERT OR REPLACE`` removes rows without firing delete triggers. So what a row is about to replace is marked before it
is written: the other holders of its unique values and, for a part, of its key.
"""

from collections.abc import Iterator

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from migrations_plan.sync.aggregates import Aggregate, Part, Rows
from migrations_plan.sync.capture.fence import OWNERSHIP, told
from migrations_plan.sync.capture.triggers import (
    Health,
    Trigger,
    TriggerStatus,
    bucket_expression,
    column_name,
    key_expression,
    trigger_name,
    unique_sets,
)

MARK = """
    INSERT INTO strangler_sync_mark (aggregate, key, bucket, gen, acked, deleted, changed_at, tries, reason)
    {selected}
    ON CONFLICT (aggregate, key) DO UPDATE SET gen = gen + 1, bucket = excluded.bucket, deleted = excluded.deleted,
        changed_at = excluded.changed_at, retry_at = NULL, tries = 0, reason = '';
"""
FENCE = """
    SELECT CASE (SELECT o.state FROM {ownership} o WHERE o.aggregate = '{group}' AND o.bucket = b.bucket)
        WHEN 'owner' THEN NULL WHEN 'frozen' THEN RAISE(ABORT, '{frozen}') WHEN 'replica' THEN RAISE(ABORT, '{replica}')
        ELSE RAISE(ABORT, '{nobody}') END FROM ({touched}) b;"""
"""A message of RAISE is a constant on SQLite, so it cannot tell which bucket it was."""
QUIET = "NOT EXISTS (SELECT 1 FROM strangler_sync_applying)"
NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')"


class Writer:
    """Writes the triggers of one aggregate."""

    def __init__(self, aggregate: Aggregate, connection: BaseDatabaseWrapper) -> None:
        self.aggregate = aggregate
        self.quote = connection.ops.quote_name
        self.root = self.quote(aggregate.root.table)
        self.root_key = self._column(aggregate.root, aggregate.root.key.attname)

    def triggers(self) -> Iterator[Trigger]:
        """Yield all triggers of the aggregate."""
        yield from self._of_root(self.aggregate.root)
        for part in self.aggregate.parts:
            yield from self._of_part(part)

    def _of_root(self, rows: Rows) -> Iterator[Trigger]:
        key = self.root_key
        new, old = self._marked("NEW", deleted=False), self._marked("OLD", deleted=True)
        yield self._trigger(rows, "insert", "AFTER INSERT", "", [new])
        yield self._trigger(rows, "delete", "AFTER DELETE", "", [old])
        yield self._trigger(rows, "update", "AFTER UPDATE", self._really(rows), [new], fenced=[new, old])
        yield self._trigger(rows, "rekey", "AFTER UPDATE", f"OLD.{key} IS NOT NEW.{key}", [old])
        held = self._same_unique_values(rows)
        if held:
            marked = [self._marked_roots(f"({held}) AND r.{key} IS NOT NEW.{key}")]
            yield self._trigger(rows, "replace", "BEFORE INSERT", "", marked)
            yield self._trigger(rows, "replace_by_update", "BEFORE UPDATE", "", marked)

    def _of_part(self, part: Part) -> Iterator[Trigger]:
        parent, key, root = self._column(part, part.parent), self._column(part, part.key.attname), f"r.{self.root_key}"
        yield self._trigger(part, "insert", "AFTER INSERT", "", [self._marked_roots(f"{root} = NEW.{parent}")])
        yield self._trigger(part, "delete", "AFTER DELETE", "", [self._marked_roots(f"{root} = OLD.{parent}")])
        both = self._marked_roots(f"{root} IN (NEW.{parent}, OLD.{parent})")
        yield self._trigger(part, "update", "AFTER UPDATE", self._really(part), [both])
        held = " OR ".join(filter(None, [f"r.{key} = NEW.{key}", self._same_unique_values(part)]))
        parents = f"SELECT r.{parent} FROM {self.quote(part.table)} r WHERE ({held})"
        replaced = self._marked_roots(f"{root} IN ({parents} AND r.{parent} IS NOT NEW.{parent})")
        yield self._trigger(part, "replace", "BEFORE INSERT", "", [replaced])
        replaced = self._marked_roots(f"{root} IN ({parents} AND r.{key} IS NOT OLD.{key})")
        yield self._trigger(part, "replace_by_update", "BEFORE UPDATE", "", [replaced])

    def _trigger(
        self, rows: Rows, event: str, when: str, condition: str, marked: list[str], fenced: list[str] | None = None
    ) -> Trigger:
        name = self.quote(trigger_name(self.aggregate, rows, event))
        only = f"{QUIET} AND ({condition})" if condition else QUIET
        body = "".join(self._fence(selected) for selected in fenced or marked)
        body += "".join(MARK.format(selected=selected) for selected in marked)
        text = f"CREATE TRIGGER {name} {when} ON {self.quote(rows.table)} WHEN {only} BEGIN{body}END"
        drop = f"DROP TRIGGER IF EXISTS {name}"
        return Trigger(
            name=trigger_name(self.aggregate, rows, event),
            table=rows.table,
            create=(drop, text),
            drop=(drop,),
            text=text,
        )

    def _fence(self, selected: str) -> str:
        """Return the statement that refuses the change if this side does not own all buckets of a selection."""
        group = self.aggregate.group
        texts = {state: told(group, state) for state in ("frozen", "replica", "nobody")}
        return FENCE.format(ownership=OWNERSHIP, group=group, touched=selected, **texts)

    def _marked(self, row: str, *, deleted: bool) -> str:
        """Return the selection of the mark of the root's row that the trigger is about."""
        return f"SELECT {self._values(row, deleted)} WHERE true"

    def _marked_roots(self, condition: str) -> str:
        """Return the selection of the marks of roots, in their table, that fulfil a condition."""
        return f"SELECT {self._values('r', deleted=False)} FROM {self.root} r WHERE {condition}"

    def _values(self, row: str, deleted: bool) -> str:
        key = key_expression("sqlite", self.aggregate.key_kind, f"{row}.{self.root_key}")
        bucket = bucket_expression("sqlite", self.aggregate, row, self.quote)
        return f"'{self.aggregate.name}', {key}, {bucket} AS bucket, 1, 0, {int(deleted)}, {NOW}, 0, ''"

    def _really(self, rows: Rows) -> str:
        """Return the condition that more than unsynced columns changed; empty where there are none."""
        if not rows.unsynced:
            return ""
        columns = [self._column(rows, attribute) for attribute in rows.synced_columns]
        return " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)

    def _same_unique_values(self, rows: Rows) -> str:
        """Return the condition that a row holds unique values of the new one; empty where there are none."""
        sets = [[self._column(rows, attribute) for attribute in one] for one in unique_sets(rows)]
        return " OR ".join(f"({' AND '.join(f'r.{column} = NEW.{column}' for column in one)})" for one in sets)

    def _column(self, rows: Rows, attribute: str) -> str:
        return self.quote(column_name(rows, attribute))


def triggers(aggregate: Aggregate) -> tuple[Trigger, ...]:
    """Return the triggers that an aggregate has to have."""
    return tuple(Writer(aggregate, connections[aggregate.alias]).triggers())


def status(aggregate: Aggregate) -> tuple[TriggerStatus, ...]:
    """Compare the triggers that have to be there with those that are."""
    with connections[aggregate.alias].cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        found = dict(cursor.fetchall())

    def health(trigger: Trigger) -> Health:
        if trigger.name not in found:
            return Health.MISSING
        return Health.INSTALLED if found[trigger.name] == trigger.text else Health.OUTDATED

    return tuple(TriggerStatus(name=one.name, table=one.table, health=health(one)) for one in triggers(aggregate))
