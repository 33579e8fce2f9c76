"""``manage.py shadow report SERVICE``: how well the service's answers agree with legacy's."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from router.conf import conf
from router.exceptions import UnknownService
from router.shadow.report import as_json, as_text
from router.traffic_api import shadow_summary


class Command(BaseCommand):
    help = "Report on shadowed requests: match rate with its interval, noise, drops, worst fields, examples."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare ``report SERVICE``."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="report")
        report = verbs.add_parser("report", help="how well the answers agree")
        report.add_argument("service", help="a service of STRANGLER['SERVICES']")
        report.add_argument("--store", help="only comparisons with this store of the service (default: all)")
        report.add_argument("--hours", type=float, default=24.0, help="how far to look back (default: 24)")
        report.add_argument("--examples", type=int, default=5, help="how many examples to show (default: 5)")
        report.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the report."""
        try:
            service = conf().service(options["service"]).name
        except UnknownService as error:
            raise CommandError(str(error), returncode=2) from error
        since = datetime.now(UTC) - timedelta(hours=options["hours"])
        summary = shadow_summary(service, since, store=options["store"], examples=options["examples"])
        self.stdout.write(json.dumps(as_json(summary), indent=2) if options["json"] else as_text(summary))
