"""What the router saw: counts of requests, breakers that moved, and shadowed answers that differed."""

from django.db import models


class TrafficCount(models.Model):
    """What one process counted between two flushes; rows are only ever inserted, and added up when read."""

    at = models.DateTimeField()
    process = models.CharField(max_length=100)
    service = models.CharField(max_length=100)
    route = models.CharField(max_length=200)
    kind = models.CharField(max_length=10)
    side = models.CharField(max_length=20)
    outcome = models.CharField(max_length=30)
    cause = models.CharField(max_length=60, blank=True, default="")
    # The database knows the default as well, for processes of the release before that are still counting.
    store = models.CharField(
        max_length=40,
        blank=True,
        default="",
        db_default="",
        help_text="Which of the service's stores got the copy of a comparison.",
    )
    count = models.PositiveIntegerField()
    histogram = models.JSONField(default=dict)

    class Meta:
        indexes = [  # noqa: RUF012
            models.Index(fields=["service", "at"], name="router_traffic_service_at"),
            models.Index(fields=["at"], name="router_traffic_at"),
        ]

    def __str__(self) -> str:
        return f"{self.service} {self.route} {self.side} {self.outcome}: {self.count}"


class BreakerEvent(models.Model):
    """One change of state of one process's circuit breaker."""

    at = models.DateTimeField()
    process = models.CharField(max_length=100)
    service = models.CharField(max_length=100)
    upstream = models.CharField(max_length=120)
    previous = models.CharField(max_length=20)
    state = models.CharField(max_length=20)
    reason = models.CharField(max_length=300)

    class Meta:
        indexes = [  # noqa: RUF012
            models.Index(fields=["service", "at"], name="router_breaker_service_at"),
            models.Index(fields=["at"], name="router_breaker_at"),
        ]

    def __str__(self) -> str:
        return f"{self.upstream}: {self.previous} -> {self.state} ({self.reason})"


class ShadowMismatch(models.Model):
    """One shadowed request whose two answers differed, redacted before it was stored."""

    UNSTEADY = "unsteady"
    """The outcome of an example in which the copy was wrong at first only, which is none of a comparison."""

    at = models.DateTimeField()
    service = models.CharField(max_length=100)
    store = models.CharField(max_length=40)
    answered_by = models.CharField(
        max_length=40,
        default="legacy",
        db_default="legacy",
        help_text="Who gave the client its answer: legacy, or a store of the service.",
    )
    route = models.CharField(max_length=200)
    method = models.CharField(max_length=10)
    path = models.CharField(max_length=500)
    outcome = models.CharField(max_length=20)
    cause = models.CharField(max_length=60, blank=True, default="")
    fields = models.JSONField(default=list)
    differences = models.JSONField(default=list)
    rounds = models.PositiveSmallIntegerField(default=0)
    subject = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="The client's primary key, to ask again as them.",
    )
    size = models.PositiveIntegerField(
        default=0, db_default=0, help_text="What the row takes, about, in bytes; retention adds it up."
    )

    class Meta:
        verbose_name_plural = "shadow mismatches"
        permissions = [("see_shadow_examples", "Can see the values of stored examples")]  # noqa: RUF012
        indexes = [  # noqa: RUF012
            models.Index(fields=["service", "at"], name="router_shadow_service_at"),
            models.Index(fields=["at"], name="router_shadow_at"),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path}: {self.outcome} in {', '.join(self.fields) or self.cause}"
