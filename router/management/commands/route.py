"""Say how a request would be routed."""

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

from router.exceptions import StranglerError
from router.explanation import Explanation, NoRoute, NotAKey, Visitor, explain
from router.limits import Limits
from router.poller import load
from router.steering import people

REFUSED = 1
USAGE = 2


class Command(BaseCommand):
    help = "Say how requests are routed. `route explain GET /api/orders/7/ --user 42`: who answers it, and why."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the sub-commands."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="explain")
        explaining = commands.add_parser("explain", help="who would answer a request, and why; nothing is sent")
        explaining.add_argument("method", metavar="METHOD", help="GET, POST, ...")
        explaining.add_argument("path", metavar="PATH", help="/api/orders/7/")
        explaining.add_argument("--user", metavar="ID", help="primary key of the user who asks (default: anonymous)")
        explaining.add_argument("--body", metavar="JSON", help="the request's body, where the key stands in it")
        explaining.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Explain; exit 1 where there is no such route or user, 2 for arguments that make no sense."""
        path, body = _path(options["path"]), _body(options["body"])
        try:
            visitor = Visitor.of(options["user"]) if options["user"] is not None else Visitor()
            found = explain(options["method"], path, snapshot=load(), visitor=visitor, body=body)
        except NotAKey as problem:
            raise CommandError(f"--user: {problem}", returncode=USAGE) from None
        except NoRoute as problem:
            if options["json"]:
                self.stdout.write(json.dumps({"route": None, "near": [str(route) for route in problem.near]}))
            raise CommandError(str(problem), returncode=REFUSED) from None
        except StranglerError as problem:
            raise CommandError(str(problem), returncode=REFUSED) from None
        self.stdout.write(json.dumps(found.as_json()) if options["json"] else _table(found, visitor))


def _path(given: str) -> str:
    path = urlsplit(given).path
    if not path.startswith("/"):
        raise CommandError(f"PATH is {given!r}. It begins with a slash: /{given}", returncode=USAGE)
    return path


def _body(given: str | None) -> Mapping[str, Any] | None:
    if given is None:
        return None
    try:
        body = json.loads(given)
    except ValueError as problem:
        raise CommandError(f"--body is no JSON: {problem}", returncode=USAGE) from None
    if not isinstance(body, dict):
        raise CommandError(f'--body is {given!r}, which is no JSON object like {{"customer": 42}}.', returncode=USAGE)
    return body


def _table(found: Explanation, visitor: Visitor) -> str:
    who = "an anonymous visitor" if visitor.subject is None else f"user {visitor.subject}"
    limits, decision = found.limits, found.decision
    rows = (
        ("route", f"{found.route}, a {found.route.kind}, declared in {os.path.relpath(found.route.origin)}"),
        ("key", _key(found)),
        ("bucket", "none" if decision.bucket is None else str(decision.bucket)),
        (
            "envelope",
            f"{limits.envelope} % of {limits.channel}, by {limits.step}{' (paused)' if limits.paused else ''}",
        ),
        ("flag", _flag(limits)),
        ("percent", f"requested {limits.requested} %, effective {limits.effective} %: {limits.why}"),
        ("shadow", f"{'yes' if decision.shadow else 'no'} ({found.shadow_limits.effective} % of reads are shadowed)"),
        ("answer", f"{decision.side} [{decision.reason}]: {decision.detail}"),
    )
    lines = (f"  {name:<9} {text}" for name, text in rows)
    return "\n".join((f"{found.method} {found.path} by {who}", *lines))


def _key(found: Explanation) -> str:
    if found.route.key is None:
        return "none; the route declares no key"
    source = found.route.key.describe()
    text = f"none ({source})" if found.key is None else f"{found.key} ({source})"
    if not found.identity_needed:
        text += "; a request is not asked for it, since envelope and flag decide for everyone"
    if found.key_queries:
        text += f", looked up with {found.key_queries} SQL read{'s' if found.key_queries != 1 else ''}"
        text += f" in {found.key_seconds * 1000:.1f} ms"
    return text


def _flag(limits: Limits) -> str:
    if not limits.has_flag:
        return f"{limits.flag_name}: none, so no limit inside of the envelope"
    rule = limits.rule
    if rule.everyone is not None:
        return f"{limits.flag_name}: {'on' if rule.everyone else 'off'} for everyone"
    besides = people(rule)
    return f"{limits.flag_name}: {limits.requested} %{f', and {besides}' if besides else ''}"
