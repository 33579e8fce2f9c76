"""Look after data sync: triggers, backfill, relay, verification, repair."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from math import inf
from threading import Event
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from migrations_plan.sync import operate, owner_pages, owners, pages
from migrations_plan.sync.aggregates import together
from migrations_plan.sync.conf import conf
from migrations_plan.sync.errors import Busy, SyncError, UnknownAggregate

REFUSED, USAGE = 1, 2
BUSY_SECONDS = 0.2


class Command(BaseCommand):
    """Parse, call the public API, print. Exit code 0 done, 1 refused or failed, 2 usage."""

    help = "Keep an aggregate equal on both sides: how it stands, backfill, verify, repair, run."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions and what each takes."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        def add(name: str, text: str, *, optional: bool = False) -> Any:
            action = actions.add_parser(name, help=text)
            action.add_argument("aggregate", nargs="?" if optional else None, help="such as orders")
            action.add_argument("--json", action="store_true", help="for machines")
            return action

        add("status", "triggers, backfill, what waits, lag, the last verification", optional=True)
        changing = [
            add("install", "install the triggers, or put back what is missing"),
            add("remove", "remove the triggers: nobody notes any more what changes"),
            backfilling := add("backfill", "mark what is there, so that it is sent"),
            repairing := add("repair", "have the owner send again what the last verification found different"),
            retrying := add("retry", "try at once what waits for another try"),
        ]
        for action in changing:
            action.add_argument("--dry-run", action="store_true", help="say what would be done and do nothing")
        backfilling.add_argument("--anew", action="store_true", help="mark again what is marked already")
        retrying.add_argument("keys", nargs="*", metavar="KEY", help="which; default: all")
        verifying = add("verify", "compare both sides, row by row, and say what differs")
        verifying.add_argument("--repair", action="store_true", help="repair what is found, and compare once more")
        repairing.add_argument("--keys", nargs="+", metavar="KEY", default=[], help="only these, found or not")
        add("waiting", "what waits for another try, and why")
        running = add("run", "relay both ways and backfill, until interrupted")
        add("owners", "who owns which buckets, as both sides say")
        resuming = add("resume", "end each change of hands that was begun and that nobody is at")
        resuming.add_argument("--dry-run", action="store_true", help="say which buckets are in between and do nothing")
        running.add_argument("--once", action="store_true", help="until nothing is due")
        running.add_argument("--seconds", type=float, help="for so long")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the action; turn what it refuses into an exit code."""
        self.json: bool = options["json"]
        self.width = shutil.get_terminal_size((120, 24)).columns
        action: Callable[[dict[str, Any]], None] = getattr(self, f"_{options['action']}")
        try:
            action(options)
        except UnknownAggregate as problem:
            raise CommandError(str(problem), returncode=USAGE) from problem
        except SyncError as problem:
            if self.json:
                self.stdout.write(json.dumps({"done": False, "error": type(problem).__name__, "detail": str(problem)}))
            raise CommandError(str(problem), returncode=REFUSED) from problem

    # --- looking ----------------------------------------------------------------------------------------------
    def _status(self, options: dict[str, Any]) -> None:
        names = (options["aggregate"],) if options["aggregate"] else operate.names()
        found = [(operate.standing(name), operate.last_run(name), _both_sides(name)) for name in names]
        data = [
            {
                **standing.as_json(),
                "verification": run.as_json() if run else None,
                "both_sides": both.as_json() if both else None,
            }
            for standing, run, both in found
        ]
        texts = [pages.standing(*one) for one in found]
        self._show({"aggregates": data}, "\n\n".join(texts) or "No aggregate is declared here.")

    def _waiting(self, options: dict[str, Any]) -> None:
        found = operate.waiting(options["aggregate"])
        data = [{"key": w.key, "gen": w.gen, "where": w.where, "tries": w.tries, "reason": w.reason} for w in found]
        self._show({"waiting": data}, pages.waiting(found))

    def _owners(self, options: dict[str, Any]) -> None:
        found = owners.owners(options["aggregate"])
        self._show(found.as_json(), owner_pages.owners(found))

    # --- changing ---------------------------------------------------------------------------------------------
    def _install(self, options: dict[str, Any]) -> None:
        name = options["aggregate"]
        wanted = operate.to_install(name)
        done = wanted if options["dry_run"] else operate.install(name)
        self._say(options, "put", "would be put", done)

    def _remove(self, options: dict[str, Any]) -> None:
        name = options["aggregate"]
        done = operate.to_remove(name) if options["dry_run"] else operate.uninstall(name)
        self._say(options, "removed", "would be removed", done)

    def _say(self, options: dict[str, Any], did: str, would: str, names: tuple[str, ...]) -> None:
        said = would if options["dry_run"] else did
        listed = "".join(f"\n  {name}" for name in names)
        self._show({"done": not options["dry_run"], "triggers": list(names)}, f"{len(names)} triggers {said}{listed}")

    def _backfill(self, options: dict[str, Any]) -> None:
        name = options["aggregate"]
        if options["dry_run"]:
            total = operate.count(name)
            self._show({"done": False, "total": total}, f"{total} {_named(name)} would be gone through and marked.")
            return
        operate.start_backfill(name, anew=options["anew"])
        done = operate.run_backfill(name, lambda done: self._progress(pages.marking(done)), pause)
        self._clear_line()
        marked = done.marked
        self._show({"done": True, "marked": marked}, f"{marked} {_named(name)} are marked; the relay sends them.")

    def _repair(self, options: dict[str, Any]) -> None:
        name, dry = options["aggregate"], options["dry_run"]
        count = operate.repair(name, options["keys"], dry_run=dry)
        said = "would be sent again" if dry else "are marked to be sent again"
        self._show({"done": not dry, "repaired": count}, f"{count} {_named(name)} {said}.")

    def _retry(self, options: dict[str, Any]) -> None:
        name, dry = options["aggregate"], options["dry_run"]
        count = operate.retry(name, options["keys"], dry_run=dry)
        self._show({"done": not dry, "retried": count}, f"{count} {'would be' if dry else 'are'} tried at once.")

    def _resume(self, options: dict[str, Any]) -> None:
        name, dry = options["aggregate"], options["dry_run"]
        found = owners.resume(name, dry_run=dry)
        left = () if dry else owners.resume(name, dry_run=True)
        text = owner_pages.between(name, found) if dry else owner_pages.resumed(name, found, left)
        self._show({"done": not dry and not left, "buckets": list(found), "in_between": list(left)}, text)
        if left:
            raise CommandError(f"{text} `sync owners {name}` shows what both sides are to them.", returncode=REFUSED)

    def _verify(self, options: dict[str, Any]) -> None:
        name = options["aggregate"]
        found = operate.run_verification(name, lambda text: self._progress(text))
        if options["repair"] and found.corrupt:
            self._clear_line()
            self._progress(f"{operate.repair(name)} of {found.corrupt} are sent again", passing=False)
            with suppress(Busy):  # a worker is at it, and sends them
                operate.relay_once(name)
            found = operate.run_verification(name, lambda text: self._progress(text))
        self._clear_line()
        self._show(found.as_json(), pages.verification(found))
        if not found.clean:
            raise CommandError(
                f"{name} is not the same on both sides: {found.corrupt} differ, {found.unresolved} could not be told. "
                f"`sync repair {name}` has the owner send again what differs.",
                returncode=REFUSED,
            )

    def _run(self, options: dict[str, Any]) -> None:
        name, said = options["aggregate"], ""
        until = inf if options["seconds"] is None else monotonic() + options["seconds"]
        while True:
            over = monotonic() >= until
            try:
                report = operate.run_once(name)
            except Busy as busy:  # somebody is at it, or was until he died: his lease ends
                if over or options["once"]:
                    raise
                self._progress(str(busy))
                pause(BUSY_SECONDS)
                continue
            text = pages.ran(report)
            if text != said:
                self._progress(text)
                said = text
            if over or (options["once"] and (report.idle or report.away)):
                break
            if report.away or report.idle:
                pause(report.retry_after or 0.05)
        self._clear_line()
        self._show(report.as_json(), pages.ran(report))
        if report.away:
            raise CommandError(report.away, returncode=REFUSED)

    # --- printing ---------------------------------------------------------------------------------------------
    def _progress(self, text: str, *, passing: bool = True) -> None:
        if self.json:
            return
        if self.stderr.isatty() and passing:
            self._clear_line()
            self.stderr.write(text[: self.width - 1], str, ending="")
        elif not passing:
            self.stdout.write(text)

    def _clear_line(self) -> None:
        if self.stderr.isatty() and not self.json:
            self.stderr.write("\r\033[K", str, ending="")

    def _show(self, document: dict[str, Any], text: str) -> None:
        self.stdout.write(json.dumps(document, indent=2) if self.json else text)


def _named(name: str) -> str:
    """Return what is worked on: the aggregate, and those that it leads."""
    return " and ".join(one.name for one in together(name))


def _both_sides(name: str) -> owners.Owners | None:
    """Return who owns what on both sides, once something has changed hands: until then nobody need be asked."""
    standing = operate.standing(name)
    moved = standing.between or standing.owners.get("replica")
    return owners.owners(name) if moved and name in conf().peers else None


def pause(seconds: float) -> None:
    """Do nothing for some time."""
    Event().wait(seconds)
