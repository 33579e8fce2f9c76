"""Say how a request would be routed."""

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

from router.exceptions import StranglerError
from router.explanation import SEAM, Explanation, NoRoute, NotAKey, Visitor, explain, explain_operation
from router.holders import LEGACY
from router.limits import CHANNEL_OF, Limits, limits
from router.poller import load
from router.seam.operations import declared
from router.steering import people

REFUSED = 1
USAGE = 2


class Command(BaseCommand):
    help = "Say how requests and calls are routed. `route explain GET /api/orders/7/ --user 42`: who answers, and why."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the sub-commands."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="explain|operations")
        explaining = commands.add_parser("explain", help="who would answer a request, and why; nothing is sent")
        explaining.add_argument("method", metavar="METHOD", help="GET, POST, ...; SEAM for an operation")
        explaining.add_argument("path", metavar="PATH", help="/api/orders/7/; or the operation: orders.place")
        explaining.add_argument(
            "--user", metavar="ID", help="primary key of the user who asks, or whose data it is (default: anonymous)"
        )
        explaining.add_argument("--body", metavar="JSON", help="the request's body, where the key stands in it")
        explaining.add_argument("--json", action="store_true", help="print one JSON object")
        listing = commands.add_parser("operations", help="the operations of seams, and who carries them out now")
        listing.add_argument("--json", action="store_true", help="print a JSON array")

    def handle(self, *args: Any, **options: Any) -> None:
        """Explain; exit 1 where there is no such route or user, 2 for arguments that make no sense."""
        if options["command"] == "operations":
            self.stdout.write(_operations(as_json=options["json"]))
            return
        is_operation = options["method"].upper() == SEAM
        path, body = options["path"] if is_operation else _path(options["path"]), _body(options["body"])
        try:
            visitor = Visitor.of(options["user"]) if options["user"] is not None else Visitor()
            if is_operation:
                found = explain_operation(path, snapshot=load(), owner=visitor)
            else:
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
    allowed, decision = found.limits, found.decision
    rows = (
        ("route", _declared(found)),
        ("key", _key(found)),
        ("bucket", "none" if decision.bucket is None else str(decision.bucket)),
        (
            "envelope",
            f"{allowed.envelope} % of {allowed.channel}, by {allowed.step}{' (paused)' if allowed.paused else ''}",
        ),
        ("flag", _flag(allowed)),
        ("percent", f"requested {allowed.requested} %, effective {allowed.effective} %: {allowed.why}"),
        ("owner", _owner(found)),
        ("shadow", _shadow(found)),
        ("answer", f"{decision.side} [{decision.reason}]: {decision.detail}"),
    )
    lines = (f"  {name:<9} {text}" for name, text in rows if text)
    return "\n".join((f"{found.method} {found.path} by {who}", *lines))


def _declared(found: Explanation) -> str:
    what = f"the operation {found.path}" if found.method == SEAM else str(found.route)
    return f"{what}, a {found.route.kind}, declared in {os.path.relpath(found.route.origin)}"


def _operations(*, as_json: bool) -> str:
    """List the operations with what is effective for each."""
    rules = load()
    rows = []
    for operation in declared():
        allowed = limits(operation.route.service, CHANNEL_OF[operation.kind], rules)
        remote = operation.remote_function
        rows.append(
            {
                "operation": operation.label,
                "kind": operation.kind.value,
                "effective_percent": allowed.effective,
                "legacy": os.path.relpath(operation.origin),
                "remote": None if remote is None else f"{remote.__module__}.{remote.__qualname__}",
            }
        )
    if as_json:
        return json.dumps(rows)
    lines = [
        f"{row['operation']:<28} {row['kind']:<6} {row['effective_percent']:>3} %  {row['legacy']}"
        f"  ->  {row['remote'] or 'nothing yet'}"
        for row in rows
    ]
    return "\n".join(lines) or "No operation is declared. docs/seam.md says how."


def _key(found: Explanation) -> str:
    if found.method == SEAM:
        return "none" if found.key is None else f"{found.key} (the owner)"
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


_OWNERS = {
    "legacy": "legacy, so that envelope and flag decide",
    "extracted": "{service}, which overrides envelope and flag",
    "none": "nobody: the bucket is changing hands",
    "some": "legacy for some buckets, and {service} for others",
}


def _owner(found: Explanation) -> str:
    """Say who owns the data, nothing where it cannot move."""
    if found.limits.ownership is None:
        return ""
    return f"{_OWNERS[found.decision.owner].format(service=found.route.service)} ({found.limits.ownership})"


def _shadow(found: Explanation) -> str:
    allowed = found.shadow_limits
    decision = found.copied
    store = decision.shadow_store if decision.shadow else allowed.shadow_store
    where = ""
    if LEGACY in {store, decision.shadow_store}:
        where = " back to legacy"
    elif decision.compares_stores or allowed.shadow_store != allowed.store:
        where = f" to the store {store}"
    answer = {0: "no", 100: "yes"}.get(found.shadow_share, f"{found.shadow_share} % of such requests, by chance")
    return f"{answer} ({allowed.effective} % of reads are shadowed{where})"


def _flag(allowed: Limits) -> str:
    if not allowed.has_flag:
        return f"{allowed.flag_name}: none, so no limit inside of the envelope"
    rule = allowed.rule
    if rule.everyone is not None:
        return f"{allowed.flag_name}: {'on' if rule.everyone else 'off'} for everyone"
    besides = people(rule)
    return f"{allowed.flag_name}: {allowed.requested} %{f', and {besides}' if besides else ''}"
