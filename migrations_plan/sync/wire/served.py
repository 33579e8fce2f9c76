"""The side that the wire serves: this program's own."""

from typing import Protocol

from migrations_plan.sync import aggregates, ownership
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.messages import Side
from migrations_plan.sync.wire.forms import Change


class Served(Side, Protocol):
    """A side that lets ownership be changed as well, which is no business of the relay's."""

    def change(self, aggregate: str, change: Change) -> bool:
        """Swap who this side is to a bucket, if it still is what the change says; return whether it was."""
        ...


class Here(LocalSide):
    """This program's own side, with its ownership."""

    def change(self, aggregate: str, change: Change) -> bool:
        """Swap who this side is to a bucket."""
        return ownership.change(
            aggregates.find(aggregate),
            change.bucket,
            (change.old.state, change.old.epoch),
            (change.new.state, change.new.epoch),
            settle=change.settle,
        )
