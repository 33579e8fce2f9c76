"""The rows that say which version of the other side's document is here: locked before they are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import connections
from django.utils import timezone

from migrations_plan.sync import arrays
from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.models import Applied

INSERT = """
    INSERT INTO strangler_sync_applied (aggregate, key, bucket, epoch, gen, digest, deleted, applied_at)
    SELECT %s, k, b, 0, 0, '', false, %s FROM unnest(%s::text[], %s::int[]) n(k, b) ON CONFLICT DO NOTHING RETURNING key
"""
LOCK = """
    SELECT a.key, a.gen FROM unnest(%s::text[]) n(k) CROSS JOIN LATERAL (
        SELECT key, gen FROM strangler_sync_applied WHERE aggregate = %s AND key = n.k FOR UPDATE
    ) a
"""
NOTE = """
    INSERT INTO strangler_sync_applied (aggregate, applied_at, key, bucket, epoch, gen, digest, deleted)
    SELECT %s, %s, n.* FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::text[], %s::bool[]) n
    ON CONFLICT (aggregate, key) DO UPDATE SET bucket = excluded.bucket, epoch = excluded.epoch, gen = excluded.gen,
        digest = excluded.digest, deleted = excluded.deleted, applied_at = excluded.applied_at
"""


@dataclass(frozen=True, kw_only=True)
class Version:
    """What was applied."""

    key: str
    bucket: int
    epoch: int
    gen: int
    digest: str
    deleted: bool


def locked(aggregate: Aggregate, keys: Sequence[tuple[str, int]]) -> Mapping[str, int]:
    """Return the applied versions of keys, each given with its bucket, 0 where there was none; sorted keys, please.

    Their rows exist and are locked afterwards, so that no older version overtakes a newer one.
    """
    connection = connections[aggregate.alias]
    if connection.vendor == "postgresql":
        names, buckets = [key for key, _ in keys], [bucket for _, bucket in keys]
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [aggregate.name, timezone.now(), arrays.quoted(names), arrays.plain(buckets)])
            versions = {key: 0 for (key,) in cursor.fetchall()}
            known = [name for name in names if name not in versions]
            if known:
                cursor.execute(LOCK, [arrays.quoted(known), aggregate.name])
                versions.update(cursor.fetchall())
            return versions
    rows = Applied.objects.using(aggregate.alias)
    new = [Applied(aggregate=aggregate.name, key=key, bucket=bucket) for key, bucket in keys]
    rows.bulk_create(new, ignore_conflicts=True)
    mine = rows.filter(aggregate=aggregate.name, key__in=[key for key, _ in keys])
    return dict(mine.values_list("key", "gen"))


def note(aggregate: Aggregate, versions: Sequence[Version]) -> None:
    """Write down the versions that are here now; the caller has locked their rows."""
    connection, now = connections[aggregate.alias], timezone.now()
    if connection.vendor == "postgresql":
        columns = zip(*((v.key, v.bucket, v.epoch, v.gen, v.digest, v.deleted) for v in versions), strict=True)
        with connection.cursor() as cursor:
            cursor.execute(NOTE, [aggregate.name, now, *(arrays.quoted(column) for column in columns)])
        return
    rows = Applied.objects.using(aggregate.alias)
    rows.bulk_create(
        [
            Applied(
                aggregate=aggregate.name,
                key=one.key,
                bucket=one.bucket,
                epoch=one.epoch,
                gen=one.gen,
                digest=one.digest,
                deleted=one.deleted,
                applied_at=now,
            )
            for one in versions
        ],
        update_conflicts=True,
        unique_fields=("aggregate", "key"),
        update_fields=("bucket", "epoch", "gen", "digest", "deleted", "applied_at"),
    )
