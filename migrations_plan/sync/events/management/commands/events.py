"""Look after integration events from the command line."""

import json
import time
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from migrations_plan.sync.events import operate, runs
from migrations_plan.sync.events.conf import conf
from migrations_plan.sync.events.errors import EventError
from migrations_plan.sync.events.models import InboxEvent
from migrations_plan.sync.events.operate import Done, Parked, Standing, UnknownEvent
from migrations_plan.sync.events.relay import relay

REFUSED = 1
USAGE = 2
LATEST = 50


class Command(BaseCommand):
    help = "Integration events: how outbox and inbox stand, what is parked and why; retry it, give it up, deliver."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the sub-commands."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, text in (
            ("status", "count what is published, under way, received, handled and parked"),
            ("list", f"the latest {LATEST} received events, or what is parked"),
        ):
            commands.add_parser(name, help=text).add_argument("--json", action="store_true", help="print JSON")
        commands.choices["list"].add_argument("--parked", action="store_true", help="only what is parked, all of it")
        commands.add_parser("show", help="one received event, with its handlers").add_argument("id", type=_event_id)
        self._add_changing(commands)
        for name, text in (
            ("relay", "send what is due to the broker; the work of the task strangler_events.relay"),
            ("work", "run handlers that are due; the work of the task strangler_events.work"),
        ):
            parser_of = commands.add_parser(name, help=text)
            parser_of.add_argument("--once", action="store_true", help="one pass, instead of one each second")
        purging = commands.add_parser("purge", help="forget events that are over and old")
        purging.add_argument("--days", type=float, help="how old (default: KEEP_DAYS of the settings)")

    def _add_changing(self, commands: Any) -> None:
        retrying = commands.add_parser("retry", help="give what is parked another try")
        retrying.add_argument("ids", nargs="*", type=_event_id, metavar="ID")
        retrying.add_argument("--all", action="store_true", help="everything that is parked")
        discarding = commands.add_parser("discard", help="give parked events up, so that others go on")
        discarding.add_argument("ids", nargs="+", type=_event_id, metavar="ID")
        discarding.add_argument("--why", required=True, help="the reason, which is kept")
        for parser in (retrying, discarding):
            parser.add_argument("--dry-run", action="store_true", help="say what would be done and do nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; exit 1 where it is refused, 2 for ids that there are not."""
        try:
            getattr(self, f"_{options['command']}")(options)
        except UnknownEvent as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except EventError as error:
            raise CommandError(str(error), returncode=REFUSED) from error

    def _status(self, options: dict[str, Any]) -> None:
        found = operate.standing()
        self.stdout.write(json.dumps(found.as_json()) if options["json"] else _standing(found))

    def _list(self, options: dict[str, Any]) -> None:
        if options["parked"]:
            found = operate.parked()
            text = "\n".join(_parked(event) for event in found) or "Nothing is parked."
            self.stdout.write(json.dumps([event.as_json() for event in found]) if options["json"] else text)
            return
        rows = list(InboxEvent.objects.order_by("-received_at", "-pk")[:LATEST])
        if options["json"]:
            self.stdout.write(json.dumps([_row(event) for event in rows]))
            return
        lines = [f"{row.event_id}  {row.received_at:%Y-%m-%d %H:%M:%S}  {row.state:<8}  {row}" for row in rows]
        self.stdout.write("\n".join(lines) or "No event was received here yet.")

    def _show(self, options: dict[str, Any]) -> None:
        event = operate.show(options["id"])
        lines = [f"{name:<12} {value}" for name, value in _row(event).items()]
        lines += [f"  {run.handler}: {run.state}, {run.attempts} attempts. {run.reason}" for run in event.runs.all()]
        self.stdout.write("\n".join(lines))

    def _retry(self, options: dict[str, Any]) -> None:
        if bool(options["ids"]) == options["all"]:
            raise CommandError("Name the events to retry, or say --all.", returncode=USAGE)
        done = operate.retry(options["ids"] or None, dry_run=options["dry_run"])
        self._say("retried; the workers take them up", "would be retried", done)

    def _discard(self, options: dict[str, Any]) -> None:
        done = operate.discard(options["ids"], options["why"], dry_run=options["dry_run"])
        self._say("given up", "would be given up", done)

    def _say(self, happened: str, would: str, done: Done) -> None:
        for event in done.events:
            self.stdout.write(_parked(event))
        self.stdout.write(f"{len(done.events)} events {happened if done.done else would}.")

    def _relay(self, options: dict[str, Any]) -> None:
        self._again(options["once"], lambda: str(relay()))

    def _work(self, options: dict[str, Any]) -> None:
        self._again(options["once"], lambda: str(runs.work()))

    def _again(self, once: bool, work: Any) -> None:
        """Say what each pass did that did anything, until interrupted."""
        idle = ""
        while True:
            said = work()
            if once or said != idle:
                self.stdout.write(said)
            if once:
                return
            idle = said
            time.sleep(1)

    def _purge(self, options: dict[str, Any]) -> None:
        days = conf().keep_days if options["days"] is None else options["days"]
        if days < 0:
            raise CommandError(f"--days {days:g} is negative. Give the age in days, such as 7.", returncode=USAGE)
        received, published = operate.purge(days)
        self.stdout.write(f"forgot {received} received and {published} published events older than {days:g} days")


def _event_id(text: str) -> uuid.UUID:
    return uuid.UUID(text)


def _standing(found: Standing) -> str:
    oldest = found.oldest_unacknowledged
    since = f", the oldest of {oldest:%Y-%m-%d %H:%M:%S} UTC" if oldest is not None else ""
    rows = (
        ("published", f"{found.published}, {found.not_fanned_out} of them new"),
        ("under way", f"{found.unacknowledged} deliveries not acknowledged{since}"),
        ("received", f"{found.received}, {found.waiting} wait for an earlier one"),
        ("duplicates", f"{found.duplicates} dropped"),
        ("handlers", f"{found.pending} runs pending"),
        ("parked", f"{found.parked_events} events and {found.parked_runs} handler runs" if found.parked else "nothing"),
    )
    return "\n".join(f"{name:<10} {text}" for name, text in rows)


def _parked(event: Parked) -> str:
    who = ", ".join(event.handlers) or "no handler"
    behind = f" {event.behind} more runs wait behind it." if event.behind else ""
    return (
        f"{event.event_id}  {event.type or 'unreadable'} {event.key}#{event.sequence}  [{who}] {event.reason}{behind}"
    )


def _row(event: InboxEvent) -> dict[str, Any]:
    return {
        "id": str(event.event_id),
        "type": event.type,
        "version": event.version,
        "key": event.key,
        "sequence": event.sequence,
        "state": event.state,
        "reason": event.reason,
        "occurred_at": event.occurred_at.isoformat(),
        "received_at": event.received_at.isoformat(),
        "duplicates": event.duplicates,
        "payload": event.payload,
    }
