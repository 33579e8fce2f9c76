"""``manage.py shadow``: how well the service's answers agree with legacy's, and which differences do not count."""

import getpass
import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from router import registry
from router.conf import conf
from router.exceptions import StranglerError, UnknownService
from router.metrics import Outcome
from router.models.traffic import ShadowMismatch
from router.shadow import exclusions, telling
from router.shadow.findings import verdicts
from router.shadow.replay import replay
from router.shadow.report import as_json, as_text
from router.shadow.verdicts import Says, Standard
from router.traffic_api import shadow_summary

REFUSED, USAGE = 1, 2


class Command(BaseCommand):
    help = "Comparisons of the service's answers with legacy's: report, show, replay, ignore, clear."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="report|show|replay|ignore|clear")
        report = _verb(verbs, "report", "how well the answers agree, per route and field")
        report.add_argument("--hours", type=float, default=24.0, help="how far to look back (default: 24)")
        report.add_argument("--examples", type=int, default=5, help="how many examples to show (default: 5)")
        report.add_argument("--min-rate", type=float, default=0.995, help="the share that has to agree (0.995)")
        report.add_argument("--check", action="store_true", help="exit with 1 unless every route passes")
        report.add_argument("--store", help="only comparisons with this store of the service (default: all)")
        show = _verb(verbs, "show", "stored examples, or one of them with both sides")
        show.add_argument("id", nargs="?", type=int, help="one example, with the differing fields of both sides")
        show.add_argument("--field", help="only examples that differ in this field")
        show.add_argument("--limit", type=int, default=20, help="how many to list (default: 20)")
        again = _verb(verbs, "replay", "ask both sides a stored example again; nothing is counted")
        again.add_argument("id", type=int, help="the example's number, from: shadow show")
        again.add_argument("--user", metavar="ID", help="ask as this user, not as the one whose key was stored")
        ignore = _verb(verbs, "ignore", "have a field left out of comparisons, in all processes")
        ignore.add_argument("path", nargs="?", help="the field, as rules write it: results[].updated_at")
        ignore.add_argument("--list", action="store_true", help="the rules in force, recorded and declared")
        ignore.add_argument("--all", action="store_true", help="with --list: those that were removed as well")
        ignore.add_argument("--remove", type=int, metavar="ID", help="have the field of this rule compared again")
        clear = _verb(verbs, "clear", "forget what was measured; gates begin anew")
        for verb in (ignore, clear):
            verb.add_argument("--why", default="", help="the reason, which is recorded")
            verb.add_argument("--by", default="", help="who wants it (default: the user of this shell)")
            verb.add_argument("--yes", action="store_true", help="do it without asking")
            verb.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        for verb in (report, show, ignore, clear):
            verb.add_argument("--route", help="only this route of the service")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one verb; exit with 1 where it was refused or failed, 2 for arguments that make no sense."""
        verb: dict[str, Callable[[str, dict[str, Any]], None]] = {
            "report": self._report,
            "show": self._show,
            "replay": self._replay,
            "ignore": self._ignore,
            "clear": self._clear,
        }
        try:
            verb[options["verb"]](conf().service(options["service"]).name, options)
        except UnknownService as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except StranglerError as error:
            raise CommandError(str(error), returncode=REFUSED) from error

    def _report(self, service: str, options: dict[str, Any]) -> None:
        if not 0 < options["min_rate"] <= 1:
            raise CommandError(f"--min-rate {options['min_rate']} is no share from 0 to 1.", returncode=USAGE)
        since, store = datetime.now(UTC) - timedelta(hours=options["hours"]), options["store"]
        standard = Standard(min_rate=options["min_rate"])
        found = verdicts(service, since, store=store, route=options["route"], standard=standard)
        summary = shadow_summary(service, since, store=store, examples=options["examples"])
        told = {**as_json(summary), "routes": [telling.verdict_as_json(one) for one in found]}
        self._tell(options, told, f"{as_text(summary)}\n\n{telling.verdicts_as_text(service, found)}")
        if options["check"] and not (found and all(one.says is Says.PASS for one in found)):
            raise CommandError("Not every route passes.", returncode=REFUSED)

    def _show(self, service: str, options: dict[str, Any]) -> None:
        if options["id"] is not None:
            row = _example(service, options["id"])
            self._tell(options, telling.example_as_json(row), telling.example_as_text(row))
            return
        rows = ShadowMismatch.objects.filter(service=service).order_by("-at", "-pk")
        if options["route"]:
            rows = rows.filter(route=options["route"])
        wanted = [row for row in rows.iterator() if not options["field"] or options["field"] in row.fields]
        listed = wanted[: max(0, options["limit"])]
        self._tell(options, [telling.example_as_json(row) for row in listed], telling.examples_as_text(listed))

    def _replay(self, service: str, options: dict[str, Any]) -> None:
        row = _example(service, options["id"])
        verdict = replay(row, user=options["user"])
        told = {
            "id": row.pk,
            "outcome": verdict.outcome.value,
            "cause": verdict.cause,
            "fields": sorted({one.field for one in verdict.differences}),
            "noise": sorted(verdict.noise or ()),
        }
        self._tell(options, told, telling.replay_as_text(row, verdict))
        if verdict.outcome in {Outcome.MISMATCH, Outcome.ERROR}:
            raise CommandError("It still differs.", returncode=REFUSED)

    def _ignore(self, service: str, options: dict[str, Any]) -> None:
        if options["list"]:
            rules = list(exclusions.rules(service, removed=options["all"]))
            declared = [
                (one.label, rule)
                for one in registry.routes()
                if one.service == service
                for rule in one.compare.describe()
            ]
            told = {
                "recorded": [telling.rule_as_json(rule) for rule in rules],
                "declared": [{"route": route, "rule": rule} for route, rule in declared],
            }
            self._tell(options, told, telling.rules_as_text(rules, declared))
            return
        if (options["path"] is None) == (options["remove"] is None):
            raise CommandError("Give a path, or --remove ID, or --list.", returncode=USAGE)
        route, by = options["route"] or "", _who(options)
        if options["remove"] is not None:
            if self._agreed(options, f"Compare the field of rule {options['remove']} again."):
                rule = exclusions.remove(options["remove"], by=by)
                self._tell(options, telling.rule_as_json(rule), f"Removed: {rule}.")
            return
        exclusions.check(service, route, options["path"], options["why"])
        if self._agreed(options, f"Leave {options['path']} of {service}.{route or '*'} out of comparisons."):
            rule = exclusions.ignore(service, options["path"], route=route, reason=options["why"], by=by)
            self._tell(options, telling.rule_as_json(rule), f"Rule {rule.pk}: {rule}.")

    def _clear(self, service: str, options: dict[str, Any]) -> None:
        if not options["why"].strip():
            raise CommandError("Say why with --why: it deletes evidence.", returncode=USAGE)
        found = exclusions.clear(service, route=options["route"], by="", reason="", dry_run=True)
        what = f"{found.examples} examples, {found.field_counts} counts of fields, {found.counts} counts"
        if self._agreed(options, f"Delete {what} of {service}.{options['route'] or '*'}."):
            done = exclusions.clear(service, route=options["route"], by=_who(options), reason=options["why"])
            self._tell(options, {"cleared": vars(done)}, f"Deleted {what}.")

    def _agreed(self, options: dict[str, Any], what: str) -> bool:
        """Return whether it is to be done: asked for outright, or confirmed by somebody who is there."""
        if options["dry_run"]:
            self._tell(options, {"would": what}, f"Would: {what}")
            return False
        if options["yes"]:
            return True
        if not sys.stdin.isatty():
            raise CommandError(f"{what} Nobody is there to confirm it; give --yes.", returncode=REFUSED)
        if input(f"{what} Do it? [y/N] ").strip().lower() in {"y", "yes"}:
            return True
        raise CommandError("Nothing was done.", returncode=REFUSED)

    def _tell(self, options: dict[str, Any], told: Any, text: str) -> None:
        self.stdout.write(json.dumps(told, indent=2, default=str) if options["json"] else text)


def _verb(verbs: Any, name: str, about: str) -> ArgumentParser:
    parser: ArgumentParser = verbs.add_parser(name, help=about)
    parser.add_argument("service", help="a service of STRANGLER['SERVICES']")
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser


def _example(service: str, pk: int) -> ShadowMismatch:
    row = ShadowMismatch.objects.filter(service=service, pk=pk).first()
    if row is None:
        raise CommandError(f"{service} has no example {pk}; see: shadow show {service}", returncode=REFUSED)
    return row


def _who(options: dict[str, Any]) -> str:
    return options["by"] or getpass.getuser()
