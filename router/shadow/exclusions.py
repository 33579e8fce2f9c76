"""Decide that a field is not compared, and take that back: recorded with who and why, in force everywhere."""

import difflib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import IntegrityError, transaction
from django.db import router as database_router

from router import registry
from router.comparing.errors import RuleMistake
from router.comparing.paths import FieldPath
from router.exceptions import StranglerError
from router.metrics import Outcome
from router.models.shadow import ShadowFieldCount, ShadowRule
from router.models.traffic import ShadowMismatch, TrafficCount
from router.shadow import applied
from router.shadow.verdicts import NEVER_LEFT_OUT

logger = logging.getLogger(__name__)

EVERYTHING = frozenset({"**", "*", "[]", "(body)", "**.*"})


class Refused(StranglerError):
    """The rule cannot be recorded; the message says why and what to do instead."""


@dataclass(frozen=True, kw_only=True)
class Cleared:
    """How many rows of what was measured were deleted, or would be."""

    examples: int
    field_counts: int
    counts: int


def check(service: str, route: str, path: str, reason: str) -> None:
    """Raise Refused unless the rule makes sense."""
    counted = ShadowFieldCount.objects.filter(service=service).values_list("route", flat=True).distinct()
    known = {one.name for one in registry.routes() if one.service == service} | set(counted)
    if route and route not in known:
        close = difflib.get_close_matches(route, known, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(sorted(known)) or 'none'}."
        raise Refused(f"{route!r} is no route of {service}.{meant}")
    try:
        FieldPath.parse(path)
    except RuleMistake as mistake:
        raise Refused(str(mistake)) from None
    if path in EVERYTHING:
        raise Refused(f"{path!r} leaves out everything. To compare nothing of a route declare it with shadow=False.")
    if path.startswith(NEVER_LEFT_OUT):
        raise Refused(
            f"{path!r} is no field that could be noise: it says what became of an answer. Repair the service, or "
            "declare the rule beside the route, where it is reviewed."
        )
    if not reason.strip():
        raise Refused("Say why: whoever finds this rule next year has only the reason to judge it by.")


def ignore(service: str, path: str, *, route: str = "", reason: str, by: str) -> ShadowRule:
    """Record that a field is not compared; every process follows within seconds."""
    check(service, route, path, reason)
    try:
        with transaction.atomic(using=database_router.db_for_write(ShadowRule)):
            rule = ShadowRule.objects.create(
                service=service,
                route=route,
                path=path,
                reason=reason.strip()[:500],
                made_by=by[:150],
                made_at=datetime.now(UTC),
            )
    except IntegrityError:
        raise Refused(f"{path!r} of {service}.{route or '*'} is left out already; see: shadow ignore --list") from None
    applied.forget()
    logger.info("%s has %s left out of comparisons: %s", by, rule, reason)
    return rule


def remove(pk: int, *, by: str) -> ShadowRule:
    """Have a field compared again; the rule stays in the list as one that was removed."""
    now = datetime.now(UTC)
    if not ShadowRule.objects.filter(pk=pk, removed_at=None).update(removed_at=now, removed_by=by[:150]):
        raise Refused(f"There is no rule {pk} in force; see: shadow ignore --list")
    applied.forget()
    rule = ShadowRule.objects.get(pk=pk)
    logger.info("%s has removed the rule that %s", by, rule)
    return rule


def rules(service: str | None = None, *, removed: bool = False) -> Iterable[ShadowRule]:
    """Return the recorded rules, the newest first; those that were removed as well if they are asked for."""
    found = ShadowRule.objects.order_by("-pk")
    if service is not None:
        found = found.filter(service=service)
    return found if removed else found.filter(removed_at=None)


def clear(service: str, *, route: str | None = None, by: str, reason: str, dry_run: bool = False) -> Cleared:
    """Delete what was measured, so that measuring begins anew: gates are inconclusive until there is enough again.

    Not breakers, not requests, not rules.
    """
    of_route = {} if route is None else {"route": route}
    examples = ShadowMismatch.objects.filter(service=service, **of_route)
    fields = ShadowFieldCount.objects.filter(service=service, **of_route)
    compared = [Outcome.MATCH, Outcome.MISMATCH, Outcome.CHANGED, Outcome.ERROR, Outcome.DROPPED]
    counts = TrafficCount.objects.filter(service=service, side="shadow", outcome__in=compared, **of_route)
    found = Cleared(examples=examples.count(), field_counts=fields.count(), counts=counts.count())
    if not dry_run:
        with transaction.atomic(using=database_router.db_for_write(ShadowMismatch)):
            for rows in (examples, fields, counts):
                rows.delete()
        logger.info("%s has cleared what was compared of %s.%s: %s", by, service, route or "*", reason)
    return found
