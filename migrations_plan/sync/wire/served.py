"""The side that the wire serves: this program's own."""

from contextlib import suppress

from migrations_plan.sync import backfill
from migrations_plan.sync.aggregates import find
from migrations_plan.sync.errors import NotTheOwner
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.messages import Changes


class Here(LocalSide):
    """This program's own side. It has no workers, so what is to be marked anew is marked while it is asked."""

    def changes(self, aggregate: str, limit: int, buckets: tuple[int, ...] = ()) -> Changes:
        """Return what has not reached the other side; before that, go on with a backfill that was begun."""
        declared = find(aggregate)
        row = backfill.standing(declared)
        if row is not None and row.finished_at is None:
            with suppress(NotTheOwner):  # then nothing here is the truth, and there is nothing to mark
                backfill.work(declared)
        return super().changes(aggregate, limit, buckets)
