"""Add up what all processes counted per field, and judge it: the evidence of gates, reports and pages."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Sum

from router.comparing.errors import RuleMistake
from router.comparing.paths import FieldPath
from router.comparing.rules import Rules
from router.models.shadow import ShadowFieldCount
from router.shadow.applied import rules_now
from router.shadow.tally import ANY, CHANGED, WHOLE
from router.shadow.verdicts import STANDARD, FieldCounts, RouteCounts, RouteVerdict, Standard, judge

Sums = Mapping[str, Any]


def verdicts(
    service: str,
    since: datetime,
    *,
    store: str | None = None,
    route: str | None = None,
    standard: Standard = STANDARD,
) -> tuple[RouteVerdict, ...]:
    """Judge each route of a service by what was compared since a moment, with one store if it is named."""
    return tuple(judge(found, standard) for found in counts(service, since, store=store, route=route))


def counts(
    service: str, since: datetime, *, store: str | None = None, route: str | None = None
) -> tuple[RouteCounts, ...]:
    """Add up counts by route and store, without fields that a rule leaves out by now, whenever they were counted."""
    only = {name: value for name, value in (("store", store), ("route", route)) if value is not None}
    rows = (
        ShadowFieldCount.objects.filter(service=service, at__gte=since, **only)
        .values("store", "route", "field")
        .annotate(raw_sum=Sum("raw"), stayed_sum=Sum("stayed"), noise_sum=Sum("noise"), unsteady_sum=Sum("unsteady"))
        .order_by("route", "store", "field")
    )
    found: dict[tuple[str, str], dict[str, Sums]] = defaultdict(dict)
    for row in rows:
        found[row["route"], row["store"]][row["field"]] = row
    rules = {name: rules_now(service, name) for name, _ in found}
    return tuple(_counts(name, at, fields, rules[name]) for (name, at), fields in found.items())


def _counts(route: str, store: str, fields: Mapping[str, Sums], rules: Rules) -> RouteCounts:
    nothing: dict[str, Any] = {"raw_sum": 0, "stayed_sum": 0, "noise_sum": 0, "unsteady_sum": 0}
    whole, changed, anywhere = (fields.get(name, nothing) for name in (WHOLE, CHANGED, ANY))
    return RouteCounts(
        route=route,
        store=store,
        compared=whole["raw_sum"],
        asked_twice=whole["noise_sum"],
        changed=changed["raw_sum"],
        noisy=anywhere["noise_sum"],
        differed=whole["stayed_sum"],
        unsteady=whole["unsteady_sum"],
        fields=tuple(
            FieldCounts(
                field=name,
                raw=sums["raw_sum"],
                stayed=sums["stayed_sum"],
                noise=sums["noise_sum"],
                unsteady=sums["unsteady_sum"],
            )
            for name, sums in fields.items()
            if name not in {WHOLE, CHANGED, ANY} and not left_out(name, rules)
        ),
    )


def left_out(field: str, rules: Rules) -> bool:
    """Return whether rules leave a field out that was counted or stored before they held."""
    try:
        return rules.ignores(FieldPath.parse(field).steps)
    except RuleMistake:
        return False
