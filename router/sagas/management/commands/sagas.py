"""``manage.py sagas``: what is under way, what is stuck, and trying it again."""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from router.sagas import log, resuming, retention
from router.sagas.conf import conf
from router.sagas.errors import SagaError, UnknownSaga
from router.sagas.models import Saga

REFUSED = 1
USAGE = 2


class Command(BaseCommand):
    help = "Sagas: list what is open or stuck, show one, go on with them, forget old ones."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the sub-commands."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        listing = commands.add_parser("list", help="sagas that have not ended, oldest first")
        listing.add_argument("--stuck", action="store_true", help="only those that wait for a person")
        listing.add_argument("--all", action="store_true", help="finished ones as well")
        showing = commands.add_parser("show", help="one saga, with what its steps have done")
        showing.add_argument("id", type=uuid.UUID)
        for each in (listing, showing):
            each.add_argument("--json", action="store_true", help="print JSON")
        going_on = commands.add_parser(
            "resume", help="go on: with those named, those stuck, or all whose time has come"
        )
        going_on.add_argument("ids", nargs="*", type=uuid.UUID, metavar="ID")
        going_on.add_argument("--stuck", action="store_true", help="those that wait for a person")
        going_on.add_argument("--limit", type=int, default=resuming.BATCH, help=f"at most so many ({resuming.BATCH})")
        purging = commands.add_parser("purge", help="forget sagas that are finished and old")
        purging.add_argument("--days", type=float, help="how old (default: KEEP_DAYS of the settings)")
        for each in (going_on, purging):
            each.add_argument("--dry-run", action="store_true", help="say what would be done and do nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; exit 1 where something is left undone, 2 for ids that there are not."""
        try:
            getattr(self, f"_{options['command']}")(options)
        except UnknownSaga as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except SagaError as error:
            raise CommandError(str(error), returncode=REFUSED) from error

    def _list(self, options: dict[str, Any]) -> None:
        rows = list(log.listed(stuck=options["stuck"], finished=options["all"]))
        if options["json"]:
            self.stdout.write(json.dumps([_document(row) for row in rows]))
            return
        self.stdout.write(_table(rows) if rows else "No saga is stuck." if options["stuck"] else "No saga is open.")

    def _show(self, options: dict[str, Any]) -> None:
        row = log.find(options["id"])
        document = {**_document(row), "data": row.data, "outcomes": [_outcome(each) for each in log.outcomes(row.pk)]}
        if options["json"]:
            self.stdout.write(json.dumps(document))
            return
        lines = [f"{name:<12} {value}" for name, value in document.items() if name != "outcomes"]
        lines += [f"  {each['at']}  {each['step']} {each['what']}  {each['result']}" for each in document["outcomes"]]
        self.stdout.write("\n".join(lines))

    def _resume(self, options: dict[str, Any]) -> None:
        if options["ids"] and options["stuck"]:
            raise CommandError("Name the sagas to resume, or say --stuck, not both.", returncode=USAGE)
        wanted = options["ids"] or [row.pk for row in log.listed(stuck=True)[: options["limit"]] if options["stuck"]]
        by_hand = bool(options["ids"] or options["stuck"])
        if options["dry_run"]:
            found = [log.find(saga) for saga in (wanted if by_hand else log.due(options["limit"]))]
            self.stdout.write(_table(found) if found else "Nothing would be resumed.")
            return
        report = resuming.resume_by_hand(wanted) if by_hand else resuming.resume_due(options["limit"])
        self.stdout.write(str(report))
        if report.left:
            raise CommandError(f"{report.left} sagas are not finished. `sagas list` says why.", returncode=REFUSED)

    def _purge(self, options: dict[str, Any]) -> None:
        days = conf().keep_days if options["days"] is None else options["days"]
        if days < 0:
            raise CommandError(f"--days {days:g} is negative. Give the age in days, such as 7.", returncode=USAGE)
        count = retention.purge(keep_days=days, dry_run=options["dry_run"])
        verb = "would be forgotten" if options["dry_run"] else "forgotten"
        self.stdout.write(f"{count} sagas finished more than {days:g} days ago {verb}")


def _table(rows: Sequence[Saga]) -> str:
    heads = ("id", "type", "bucket", "state", "step", "tries", "since", "error")
    lines = [
        (
            str(row.pk),
            row.name,
            str(row.bucket),
            "stuck" if row.stuck_at else row.state,
            str(row.step),
            str(row.tries),
            f"{row.created_at:%Y-%m-%d %H:%M:%S}",
            row.error,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [heads, *lines]) for column in range(len(heads))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in [heads, *lines]
    )


def _document(row: Saga) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "type": row.name,
        "service": row.service,
        "key": row.key,
        "bucket": row.bucket,
        "state": row.state,
        "step": row.step,
        "tries": row.tries,
        "error": row.error,
        "stuck_at": row.stuck_at.isoformat() if row.stuck_at else None,
        "next_at": row.next_at.isoformat(),
        "created_at": row.created_at.isoformat(),
        "finished_at": row.finished_at.isoformat() if row.finished_at else None,
    }


def _outcome(outcome: Any) -> dict[str, Any]:
    what = "undone" if outcome.undone else "done"
    return {"step": outcome.step, "what": what, "result": outcome.result, "at": outcome.at.isoformat()}
