"""What is done to keep a second home of the data equal to the first, and to have it own the data, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from migrations_plan import syncing
from migrations_plan.errors import BucketsLeft, NotReady, Refused
from migrations_plan.operations import Context, Operation, Passage
from migrations_plan.standing import Moved
from migrations_plan.syncing import EXTRACTED, LEGACY

ALL = 100
"""So many buckets there are."""
SHOWN = 3
"""The most buckets whose reasons are told."""


@dataclass(frozen=True, kw_only=True)
class InstallCapture(Operation):
    """Let triggers note what changes on this side, and write down who owns what.

    Undoing it keeps the marks: the versions in them must never count from the beginning again, or the other side
    would take news for something it has had. Nobody notes any more what changes, so the marks tell less than the
    truth from then on; the next start marks everything anew.
    """

    aggregate: str

    def describe(self, passage: Passage) -> str:
        return f"install the triggers that note every change of {self.aggregate}, and write down who owns what"

    def describe_undo(self, passage: Passage) -> str:
        return (
            f"remove the triggers of {self.aggregate}; versions are kept, what was backfilled counts no more, and the "
            "next start sends everything anew"
        )

    def preflight(self, context: Context) -> None:
        report = context.measurements.peer(self.aggregate)
        if not report.ok:
            raise NotReady(
                f"The other side of {self.aggregate} cannot take part: {report.detail} Start it, or correct "
                f"STRANGLER_SYNC['PEERS'][{self.aggregate!r}], and advance again."
            )

    def forwards(self, context: Context) -> None:
        syncing.install(self.aggregate)

    def backwards(self, context: Context) -> None:
        elsewhere = context.measurements.sync(self.aggregate).owned_elsewhere
        if elsewhere:
            raise Refused(
                f"{elsewhere} buckets of {self.aggregate} are not owned here, and the triggers keep others from "
                "writing in them. Bring the buckets home first."
            )
        syncing.uninstall(self.aggregate)


@dataclass(frozen=True, kw_only=True)
class StartBackfill(Operation):
    """Begin to mark what was there before capture; workers do it, and a gate waits for them."""

    aggregate: str

    def describe(self, passage: Passage) -> str:
        return f"begin to mark everything in {self.aggregate}, so that it is sent to the other side"

    def describe_undo(self, passage: Passage) -> str:
        return f"nothing of its own: what is marked in {self.aggregate} stays marked"

    def forwards(self, context: Context) -> None:
        syncing.start_backfill(self.aggregate)

    def backwards(self, context: Context) -> None:
        """Leave the marks; removing the triggers ends the backfill."""


@dataclass(frozen=True, kw_only=True)
class MoveBuckets(Operation):
    """Let the service own some percent of the buckets; each changes hands by itself.

    Both directions go on where a run that was killed, or that left something, has stopped.
    """

    aggregate: str
    percent: int
    """Buckets below this are to be the service's."""
    before: int = 0
    """The percentage of the step before: what is at or above it comes home when the step is undone."""
    verified_within: timedelta = timedelta(minutes=15)
    min_compared: int = 1

    def describe(self, passage: Passage) -> str:
        return (
            f"bring {_buckets(self.before, self.percent)} of {self.aggregate} to the service, one at a time; nobody "
            "writes in a bucket while it changes hands, and what changes in it afterwards is sent back to legacy"
        )

    def describe_undo(self, passage: Passage) -> str:
        return (
            f"bring what the service owns of {_buckets(self.before, ALL)} of {self.aggregate} home to legacy, one at a "
            "time, with all that changed there"
        )

    def brings_home(self) -> Mapping[str, frozenset[int]]:
        return {self.aggregate: frozenset(range(self.before, ALL))}

    def preflight(self, context: Context) -> None:
        checks = context.measurements.ready_to_move(
            self.aggregate,
            range(self.percent),
            verified_within=self.verified_within,
            min_compared=self.min_compared,
        )
        failed = dict.fromkeys(f"{check.name}: {check.told}" for check in checks if not check.ok)
        if failed:
            raise NotReady(
                f"No bucket of {self.aggregate} may change hands now, and none did. {' '.join(failed)} Once that is "
                f"mended, `phase advance {context.service}` goes on."
            )

    def forwards(self, context: Context) -> None:
        self._move(context, EXTRACTED, range(self.percent))

    def backwards(self, context: Context) -> None:
        self._move(context, LEGACY, range(self.before, ALL))

    def _move(self, context: Context, to: str, buckets: range) -> None:
        moved = syncing.move(self.aggregate, to, buckets, actor=context.actor, report=context.report)
        if not moved.done:
            raise BucketsLeft(_left(self.aggregate, moved))
        where = f"{moved.there} of {moved.wanted} buckets are at {to}, {moved.moved} of them moved now"
        context.note(f"{where}; {moved.held}" if moved.held else where)


def _buckets(first: int, end: int) -> str:
    return f"bucket {first}" if end - first == 1 else f"buckets {first} to {end - 1}"


def _left(aggregate: str, moved: Moved) -> str:
    told = [f"{moved.there} of {moved.wanted} buckets of {aggregate} are at {moved.to}, and nothing was lost."]
    if moved.stayed:
        told.append(f"Where they were: {_reasons(moved.stayed)}")
    if moved.undecided:
        told.append(
            f"In between, so that nobody writes in them until a coordinator goes on: {_reasons(moved.undecided)} The "
            f"sweeper tries it every few seconds, `sync resume {aggregate}` at once."
        )
    rest = moved.wanted - moved.there - len(moved.stayed) - len(moved.undecided)
    if rest:
        told.append(f"{rest} were not tried any more.")
    return " ".join(told)


def _reasons(found: Mapping[int, str]) -> str:
    """Return the buckets with their reasons, the first few of them."""
    shown = " ".join(f"bucket {bucket}: {why}" for bucket, why in sorted(found.items())[:SHOWN])
    rest = ", ".join(map(str, sorted(found)[SHOWN:]))
    return f"{shown} And the buckets {rest}." if rest else shown
