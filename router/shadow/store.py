"""Keep a bounded number of differing answers, redacted."""

from datetime import UTC, datetime, timedelta

from router.conf import ShadowSettings
from router.models.traffic import ShadowMismatch
from router.shadow.redact import redact_difference, redact_path
from router.shadow.runner import Job, Verdict

PER_HOUR = 100
"""Examples stored per service and hour; the counts go on without them."""
PER_DELETE = 200


def save(job: Job, verdict: Verdict, settings: ShadowSettings) -> ShadowMismatch | None:
    """Store one mismatch or error, unless enough were stored in this hour; return what was stored."""
    now = datetime.now(UTC)
    stored = ShadowMismatch.objects.filter(service=job.service)
    if stored.filter(at__gte=now - timedelta(hours=1)).count() >= PER_HOUR:
        return None
    example = ShadowMismatch.objects.create(
        at=now,
        service=job.service,
        store=job.store,
        answered_by=job.answered_by,
        route=job.route[:200],
        method=job.method[:10],
        path=redact_path(job.path, settings.redact),
        outcome=str(verdict.outcome),
        cause=verdict.cause[:60],
        fields=sorted({difference.field for difference in verdict.differences}),
        differences=[redact_difference(difference, settings.redact) for difference in verdict.differences],
        rounds=verdict.rounds,
    )
    surplus = stored.order_by("-at", "-pk").values_list("pk", flat=True)[settings.keep : settings.keep + PER_DELETE]
    ShadowMismatch.objects.filter(pk__in=list(surplus)).delete()
    return example
