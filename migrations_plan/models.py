"""The rows of the control plane: where each service stands, what was measured, and who did what."""

from collections.abc import Iterable
from typing import Any, Never

from django.db import models

from migrations_plan.errors import HistoryIsAppendOnly


class ServiceState(models.Model):
    """Where one service stands; ``recorder`` is the only writer, by compare-and-swap on ``version``."""

    class Direction(models.TextChoices):
        """Which way a step that was begun and has not ended is going."""

        NONE = "", "not moving"
        FORWARDS = "forwards", "forwards"
        BACKWARDS = "backwards", "backwards"

    service = models.SlugField(max_length=60, unique=True)
    step = models.CharField(max_length=100, help_text="The step that is completed and in force.")
    reads = models.PositiveSmallIntegerField(default=0, help_text="Buckets whose reads may be diverted, in percent.")
    writes = models.PositiveSmallIntegerField(default=0, help_text="Buckets whose writes may be diverted, in percent.")
    shadow = models.PositiveSmallIntegerField(default=0, help_text="Buckets whose reads are shadowed, in percent.")
    store = models.CharField(max_length=40, default="shared", help_text="Which upstream of the service answers.")
    shadow_store = models.CharField(
        max_length=40,
        blank=True,
        default="",
        db_default="",
        help_text="Which upstream gets copies of reads; empty: the one above.",
    )
    owned_store = models.CharField(
        max_length=40,
        default="own",
        db_default="own",
        help_text="Which upstream answers for the buckets that the service owns.",
    )
    version = models.PositiveBigIntegerField(default=1, help_text="Rises with every change; the compare-and-swap.")
    paused = models.BooleanField(default=False)
    entered_at = models.DateTimeField(help_text="When the step was completed; gates measure from here.")
    moving_to = models.CharField(max_length=100, blank=True, help_text="The step begun and not ended.")
    moving_direction = models.CharField(max_length=10, blank=True, choices=Direction, default=Direction.NONE)
    operations_done = models.PositiveSmallIntegerField(default=0, help_text="The cursor inside the step begun.")
    holder = models.CharField(max_length=200, blank=True, help_text="The command that is moving the service now.")
    lease_until = models.DateTimeField(null=True, blank=True, help_text="Until when the holder counts as alive.")

    class Meta:
        ordering = ("service",)
        verbose_name = "service"
        constraints = (
            models.CheckConstraint(condition=models.Q(reads__lte=100), name="service_state_reads_percent"),
            models.CheckConstraint(condition=models.Q(writes__lte=100), name="service_state_writes_percent"),
            models.CheckConstraint(condition=models.Q(shadow__lte=100), name="service_state_shadow_percent"),
        )

    def __str__(self) -> str:
        return f"{self.service}: {self.step}"


class Evidence(models.Model):
    """What a gate measured, when, and until when that may be relied on."""

    service = models.SlugField(max_length=60)
    step = models.CharField(max_length=100, help_text="The step that was to be left.")
    gate = models.CharField(max_length=100)
    outcome = models.CharField(max_length=20)
    samples = models.PositiveBigIntegerField(default=0)
    minimum = models.PositiveBigIntegerField(default=0)
    detail = models.TextField()
    overridden = models.BooleanField(default=False)
    measured_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ("-measured_at", "-id")
        verbose_name_plural = "evidence"
        indexes = (models.Index(fields=("service", "step", "-measured_at"), name="evidence_of_step"),)

    def __str__(self) -> str:
        return f"{self.service} {self.step} {self.gate}: {self.outcome}"


class HistoryQuerySet(models.QuerySet["HistoryEntry"]):
    """Refuse what would change the past."""

    def update(self, **kwargs: Any) -> Never:
        """Refuse."""
        raise HistoryIsAppendOnly

    def delete(self) -> Never:
        """Refuse."""
        raise HistoryIsAppendOnly

    def bulk_update(
        self, objs: Iterable["HistoryEntry"], fields: Iterable[str], batch_size: int | None = None
    ) -> Never:
        """Refuse."""
        raise HistoryIsAppendOnly


class HistoryEntry(models.Model):
    """One change of a service's state: who, when, why, on which evidence. Never changed, never deleted."""

    service = models.SlugField(max_length=60)
    version = models.PositiveBigIntegerField(help_text="The state's version after this change.")
    at = models.DateTimeField()
    kind = models.CharField(max_length=20)
    from_step = models.CharField(max_length=100, blank=True)
    to_step = models.CharField(max_length=100, blank=True)
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True)
    detail = models.TextField(blank=True)
    evidence = models.JSONField(default=list, blank=True)

    objects = models.Manager.from_queryset(HistoryQuerySet)()

    class Meta:
        ordering = ("-id",)
        verbose_name = "history entry"
        verbose_name_plural = "history"
        constraints = (models.UniqueConstraint(fields=("service", "version"), name="one_entry_per_change"),)

    def __str__(self) -> str:
        return f"{self.service} {self.version}: {self.kind} by {self.actor}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert; refuse to save an entry that exists."""
        if not self._state.adding:
            raise HistoryIsAppendOnly
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> Never:
        """Refuse."""
        raise HistoryIsAppendOnly
