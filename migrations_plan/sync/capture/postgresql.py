"""Capture on PostgreSQL: one trigger a statement, over the table of all rows it changed (a third of the cost of rows').

Each begins with the fence. It has to see ownership as it is after its own wait for the locks. Under READ COMMITTED a
statement of its own does. Where a transaction has one snapshot from its start, FOR SHARE has PostgreSQL refuse a row
that has changed since; elsewhere it would only add a contended write, since ownership changes under the lock alone.

TRUNCATE fires triggers of its own. The root's looks before the rows are gone and marks each as deleted; a part's looks
afterwards, when nobody can tell any more which parents lost one, and marks every root that there is.
"""

from collections.abc import Iterator

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from migrations_plan.sync.aggregates import Aggregate, Part, Rows
from migrations_plan.sync.capture.fence import OWNERSHIP, SQLSTATE, told
from migrations_plan.sync.capture.triggers import (
    PREFIX,
    Health,
    Trigger,
    TriggerStatus,
    bucket_expression,
    column_name,
    key_expression,
    trigger_name,
)
from migrations_plan.sync.database import APPLYING, lock_space

NEW, OLD = "strangler_new", "strangler_old"
TABLES = {
    "insert": f"REFERENCING NEW TABLE AS {NEW}",
    "update": f"REFERENCING OLD TABLE AS {OLD} NEW TABLE AS {NEW}",
    "delete": f"REFERENCING OLD TABLE AS {OLD}",
}
"""The transition tables that a trigger of each event gets."""

FUNCTION = """
DECLARE
    wanted int[];
    owned int;
    refused record;
BEGIN
    IF current_setting('{applying}', true) = '1' THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(DISTINCT c.bucket ORDER BY c.bucket) INTO wanted FROM ({touched}) c;
    IF wanted IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock_shared({space}, b) FROM unnest(wanted) b;
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT count(*) INTO owned FROM {ownership} o
        WHERE o.aggregate = '{group}' AND o.bucket = ANY(wanted) AND o.state = 'owner';
    ELSE
        SELECT count(*) INTO owned FROM (
            SELECT 1 FROM {ownership} o WHERE o.aggregate = '{group}' AND o.bucket = ANY(wanted) AND o.state = 'owner'
            ORDER BY o.bucket FOR SHARE
        ) held;
    END IF;
    IF owned < cardinality(wanted) THEN
        SELECT b.bucket, COALESCE(o.state, 'nobody') AS state INTO refused FROM unnest(wanted) b(bucket)
        LEFT JOIN {ownership} o ON o.aggregate = '{group}' AND o.bucket = b.bucket
        WHERE o.state IS DISTINCT FROM 'owner' ORDER BY b.bucket LIMIT 1;
        RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = format(
            CASE refused.state WHEN 'frozen' THEN '{frozen}' WHEN 'replica' THEN '{replica}' ELSE '{nobody}' END,
            refused.bucket
        );
    END IF;
    INSERT INTO {mark} AS m (aggregate, key, bucket, gen, acked, deleted, changed_at, tries, reason)
    SELECT '{aggregate}', c.key, c.bucket, 1, 0, c.deleted, clock_timestamp(), 0, ''
    FROM ({changed}) c ORDER BY c.key
    ON CONFLICT (aggregate, key) DO UPDATE SET gen = m.gen + 1, bucket = EXCLUDED.bucket, deleted = EXCLUDED.deleted,
        changed_at = EXCLUDED.changed_at, retry_at = NULL, tries = 0, reason = '';
    RETURN NULL;
END
"""


class Writer:
    """Writes the triggers of one aggregate."""

    def __init__(self, aggregate: Aggregate, connection: BaseDatabaseWrapper) -> None:
        self.aggregate = aggregate
        self.quote = connection.ops.quote_name
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_schema()")
            self.schema: str = self.quote(cursor.fetchone()[0])

    def triggers(self) -> Iterator[Trigger]:
        """Yield all triggers of the aggregate."""
        for rows in self.aggregate.tables:
            of_part = isinstance(rows, Part)
            for event, tables in TABLES.items():
                changed = self._part_changes(rows, event) if isinstance(rows, Part) else self._root_changes(event)
                touched = changed if isinstance(rows, Part) else self._root_touched(event)
                yield self._trigger(rows, event, f"AFTER {event.upper()}", tables, changed, touched)
            when = "AFTER TRUNCATE" if of_part else "BEFORE TRUNCATE"
            every = self._roots(deleted=not of_part)
            yield self._trigger(rows, "truncate", when, "", every, every)

    def _trigger(self, rows: Rows, event: str, when: str, tables: str, changed: str, touched: str) -> Trigger:
        name = trigger_name(self.aggregate, rows, event)
        table, quoted = f"{self.schema}.{self.quote(rows.table)}", self.quote(name)
        function = f"{self.schema}.{quoted}"
        body = FUNCTION.format(
            applying=APPLYING,
            mark=f"{self.schema}.strangler_sync_mark",
            aggregate=self.aggregate.name,
            changed=changed,
            touched=touched,
            ownership=f"{self.schema}.{OWNERSHIP}",
            group=self.aggregate.group,
            space=lock_space(self.aggregate.group),
            sqlstate=SQLSTATE,
            **{state: told(self.aggregate.group, state, "%s") for state in ("frozen", "replica", "nobody")},
        )
        text = f"{when} {tables}{body}"
        made = Trigger(name=name, table=rows.table, create=(), drop=(), text=text)
        return Trigger(
            name=name,
            table=rows.table,
            text=text,
            create=(
                # Other programs' users write the tables without rights on ours, so the function has its owner's.
                f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
                f"SET search_path = pg_catalog, pg_temp AS $strangler${body}$strangler$",
                f"DROP TRIGGER IF EXISTS {quoted} ON {table}",
                f"CREATE TRIGGER {quoted} {when} ON {table} {tables} FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
                f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {quoted}",
                f"COMMENT ON TRIGGER {quoted} ON {table} IS 'strangler {made.hash}'",
            ),
            drop=(f"DROP TRIGGER IF EXISTS {quoted} ON {table}", f"DROP FUNCTION IF EXISTS {function}()"),
        )

    def _root_changes(self, event: str) -> str:
        new, old = self._selected("n", NEW, deleted=False), self._selected("o", OLD, deleted=True)
        if event == "insert":
            return new
        if event == "delete":
            return old
        key = self.quote(column_name(self.aggregate.root, self.aggregate.root.key.attname))
        gone = f"{old} WHERE NOT EXISTS (SELECT 1 FROM {NEW} n WHERE n.{key} = o.{key})"
        if self.aggregate.root.unsynced:
            new += f" LEFT JOIN {OLD} o ON n.{key} = o.{key} WHERE {self._differ(self.aggregate.root)}"
        return f"{new} UNION ALL {gone}"

    def _root_touched(self, event: str) -> str:
        """Return the selection of all buckets in question: a row that changes its owner leaves one and enters one."""
        new, old = self._selected("n", NEW, deleted=False), self._selected("o", OLD, deleted=True)
        if event != "update":
            return new if event == "insert" else old
        if self.aggregate.root.unsynced:
            key = self.quote(column_name(self.aggregate.root, self.aggregate.root.key.attname))
            differ = self._differ(self.aggregate.root)
            new += f" LEFT JOIN {OLD} o ON n.{key} = o.{key} WHERE {differ}"
            old += f" LEFT JOIN {NEW} n ON n.{key} = o.{key} WHERE {differ}"
        return f"{new} UNION ALL {old}"

    def _part_changes(self, part: Part, event: str) -> str:
        parent, key = (self.quote(column_name(part, one)) for one in (part.parent, part.key.attname))
        root_key = self.quote(column_name(self.aggregate.root, self.aggregate.root.key.attname))
        new, old = f"SELECT n.{parent} FROM {NEW} n", f"SELECT o.{parent} FROM {OLD} o"
        parents = {"insert": new, "delete": old, "update": f"{new} UNION {old}"}[event]
        if event == "update" and part.unsynced:
            joined = f"FROM {NEW} n FULL JOIN {OLD} o ON n.{key} = o.{key} WHERE {self._differ(part)}"
            parents = f"SELECT n.{parent} {joined} UNION SELECT o.{parent} {joined}"
        return f"{self._roots(deleted=False)} WHERE r.{root_key} IN ({parents})"

    def _differ(self, rows: Rows) -> str:
        """Return the condition that a row changed in more than its unsynced columns."""
        columns = [self.quote(column_name(rows, attribute)) for attribute in rows.synced_columns]
        new, old = (", ".join(f"{row}.{column}" for column in columns) for row in ("n", "o"))
        return f"({new}) IS DISTINCT FROM ({old})"

    def _roots(self, *, deleted: bool) -> str:
        return self._selected("r", f"{self.schema}.{self.quote(self.aggregate.root.table)}", deleted=deleted)

    def _selected(self, row: str, table: str, *, deleted: bool) -> str:
        key = f"{row}.{self.quote(column_name(self.aggregate.root, self.aggregate.root.key.attname))}"
        text = key_expression("postgresql", self.aggregate.key_kind, key)
        bucket = bucket_expression("postgresql", self.aggregate, row, self.quote)
        return f"SELECT {text} AS key, {bucket} AS bucket, {str(deleted).lower()} AS deleted FROM {table} {row}"


def triggers(aggregate: Aggregate) -> tuple[Trigger, ...]:
    """Return the triggers that an aggregate has to have."""
    return tuple(Writer(aggregate, connections[aggregate.alias]).triggers())


def status(aggregate: Aggregate) -> tuple[TriggerStatus, ...]:
    """Compare the triggers that have to be there with those that are."""
    connection = connections[aggregate.alias]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.tgname, t.tgenabled, p.prosrc, obj_description(t.oid, 'pg_trigger') FROM pg_trigger t "
            "JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace s ON s.oid = c.relnamespace "
            "JOIN pg_proc p ON p.oid = t.tgfoid WHERE s.nspname = current_schema() AND starts_with(t.tgname, %s)",
            [PREFIX],
        )
        found = {name: (enabled, source, comment) for name, enabled, source, comment in cursor.fetchall()}

    def health(trigger: Trigger) -> Health:
        if trigger.name not in found:
            return Health.MISSING
        enabled, source, comment = found[trigger.name]
        if enabled != "A":
            return Health.DISABLED
        same = comment == f"strangler {trigger.hash}" and trigger.text.endswith(source)
        return Health.INSTALLED if same else Health.OUTDATED

    return tuple(TriggerStatus(name=one.name, table=one.table, health=health(one)) for one in triggers(aggregate))
