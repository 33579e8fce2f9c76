"""What comparisons found out per field, and which fields people have decided not to compare."""

from django.db import models


class ShadowFieldCount(models.Model):
    """What one process counted of a field between two flushes; rows are only ever inserted, and added up when read."""

    at = models.DateTimeField()
    process = models.CharField(max_length=100)
    service = models.CharField(max_length=100)
    store = models.CharField(max_length=40)
    route = models.CharField(max_length=200)
    field = models.CharField(max_length=300, blank=True, help_text="Empty: whole comparisons.")
    raw = models.PositiveIntegerField(
        default=0, help_text="Comparisons in which it differed at first; of whole comparisons: those that were made."
    )
    stayed = models.PositiveIntegerField(
        default=0, help_text="Those in which it still differed when each side was asked twice; those that count."
    )
    noise = models.PositiveIntegerField(
        default=0, help_text="Times one side alone differed from itself in it; times a side was asked twice."
    )
    unsteady = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="Comparisons in which the service was wrong at first only, while the other side had not moved.",
    )

    class Meta:
        indexes = [  # noqa: RUF012
            models.Index(fields=["service", "at"], name="router_field_service_at"),
            models.Index(fields=["at"], name="router_field_at"),
        ]

    def __str__(self) -> str:
        return f"{self.service}.{self.route} {self.field or 'comparisons'}: {self.raw}, {self.stayed}, {self.noise}"


class ShadowRule(models.Model):
    """A field that somebody has decided not to compare, besides what is declared; never deleted, so that it is told."""

    service = models.CharField(max_length=100)
    route = models.CharField(max_length=200, blank=True, default="", help_text="Empty: every route of the service.")
    path = models.CharField(max_length=300, help_text="The field, as rules write it: results[].updated_at")
    reason = models.CharField(max_length=500)
    made_by = models.CharField(max_length=150)
    made_at = models.DateTimeField()
    removed_by = models.CharField(max_length=150, blank=True, default="")
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [  # noqa: RUF012
            models.UniqueConstraint(
                fields=["service", "route", "path"],
                condition=models.Q(removed_at=None),
                name="router_rule_once",
                violation_error_message="This field is left out already.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.service}.{self.route or '*'} ignores {self.path}"
