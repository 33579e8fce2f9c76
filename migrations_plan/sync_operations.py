"""What is done to keep a second home of the data equal to the first, and to stop doing so."""

from dataclasses import dataclass

from migrations_plan import syncing
from migrations_plan.errors import NotReady, Refused
from migrations_plan.operations import Context, Operation, Passage


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
