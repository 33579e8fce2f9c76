"""Keep a bounded number of differing answers, redacted: so many, so many bytes, and for so long."""

import json
from datetime import UTC, datetime, timedelta

from django.db.models import Sum

from router.conf import ShadowSettings
from router.metrics import Outcome
from router.models.traffic import ShadowMismatch
from router.shadow.difference import Difference
from router.shadow.redact import redact_difference, redact_path, redact_text
from router.shadow.runner import Job, Verdict

UNSTEADY = ShadowMismatch.UNSTEADY
PER_HOUR = 100
"""Examples stored per service and hour; the counts go on without them."""
UNSTEADY_PER_HOUR = 20
"""Examples of being wrong at first only, which are not to take the place of what stays wrong."""
PER_DELETE = 200
ROW_BYTES = 300
"""What a row takes besides its fields of text, about."""
MOST_BYTES = 32_768
"""What one example may take; differences that no longer fit are left out."""


def save(job: Job, verdict: Verdict, settings: ShadowSettings) -> list[ShadowMismatch]:
    """Store what is worth an example, unless enough were stored in this hour; return what was stored."""
    found: dict[str, tuple[Difference, ...]] = {}
    if verdict.outcome in {Outcome.MISMATCH, Outcome.ERROR}:
        found[str(verdict.outcome)] = verdict.differences
    if verdict.unsteady:
        found[UNSTEADY] = verdict.unsteady
    now = datetime.now(UTC)
    examples = [
        _create(job, verdict, outcome, differences, settings, now)
        for outcome, differences in found.items()
        if _has_room(job.service, outcome, now)
    ]
    if examples:
        trim(job.service, settings, now)
    return examples


def _has_room(service: str, outcome: str, now: datetime) -> bool:
    stored = ShadowMismatch.objects.filter(service=service, at__gte=now - timedelta(hours=1))
    if outcome == UNSTEADY:
        return stored.filter(outcome=UNSTEADY).count() < UNSTEADY_PER_HOUR
    return stored.exclude(outcome=UNSTEADY).count() < PER_HOUR


def _create(
    job: Job,
    verdict: Verdict,
    outcome: str,
    differences: tuple[Difference, ...],
    settings: ShadowSettings,
    now: datetime,
) -> ShadowMismatch:
    path = redact_path(job.path, settings.redact)
    shown, size = _fitting(differences, settings)
    return ShadowMismatch.objects.create(
        at=now,
        service=job.service,
        store=job.store,
        answered_by=job.answered_by,
        route=job.route[:200],
        method=job.method[:10],
        path=path,
        outcome=outcome,
        cause="" if outcome == UNSTEADY else verdict.cause[:60],
        fields=sorted({redact_text(difference.field, settings.redact)[:300] for difference in differences}),
        differences=shown,
        rounds=verdict.rounds,
        subject=redact_text(job.subject, settings.redact)[:100],
        size=size + len(path) + ROW_BYTES,
    )


def trim(service: str, settings: ShadowSettings, now: datetime) -> int:
    """Delete what is too much or too old, the oldest first; return how many went."""
    stored = ShadowMismatch.objects.filter(service=service)
    newest_first = stored.order_by("-at", "-pk")
    surplus = {*newest_first.values_list("pk", flat=True)[settings.keep : settings.keep + PER_DELETE]}
    old = stored.filter(at__lt=now - timedelta(days=settings.keep_days)).order_by("at", "pk")
    surplus |= {*old.values_list("pk", flat=True)[:PER_DELETE]}
    too_many_bytes = (stored.aggregate(taken=Sum("size"))["taken"] or 0) - settings.keep_bytes
    for pk, size in stored.order_by("at", "pk").values_list("pk", "size")[:PER_DELETE]:
        if too_many_bytes <= 0:
            break
        surplus.add(pk)
        too_many_bytes -= size
    return ShadowMismatch.objects.filter(pk__in=surplus).delete()[0] if surplus else 0


def _fitting(differences: tuple[Difference, ...], settings: ShadowSettings) -> tuple[list[dict[str, object]], int]:
    found: list[dict[str, object]] = []
    taken = 0
    for difference in differences:
        shown = redact_difference(difference, settings.redact)
        size = len(json.dumps(shown))
        if found and taken + size > MOST_BYTES:
            break
        found.append(shown)
        taken += size
    return found, taken
