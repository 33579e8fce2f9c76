"""The log: what is under way, and what each step of it has done."""

import uuid
from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q


class Saga(models.Model):
    """One saga, from before its first call until it has ended either way."""

    class State(models.TextChoices):
        """On which side of the point of no return it stands; changed by compare-and-swap only."""

        RUNNING = "running", "running"
        """Before the point: it can still be undone."""
        COMPENSATING = "compensating", "compensating"
        """On its way back; it can never pass the point any more."""
        COMMITTED = "committed", "committed"
        """Past the point: only forward."""
        DONE = "done", "done"
        COMPENSATED = "compensated", "compensated"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, help_text="Its type.")
    service = models.CharField(max_length=60, help_text="Salts the bucket.")
    key = models.CharField(max_length=255, help_text="The partition key: whose data it is about.")
    bucket = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=12, choices=State.choices, default=State.RUNNING)
    step = models.PositiveSmallIntegerField(default=0, help_text="The step under way, counted from zero.")
    data = models.JSONField(encoder=DjangoJSONEncoder, default=dict, help_text="What it was begun with.")
    tries = models.PositiveIntegerField(default=0, help_text="How often the step under way has failed.")
    error = models.CharField(max_length=500, default="", blank=True)
    token = models.UUIDField(help_text="Who runs it: whoever takes it over replaces this.")
    lease_until = models.DateTimeField(help_text="Nobody takes it over before.")
    next_at = models.DateTimeField(help_text="Not to be tried again before.")
    stuck_at = models.DateTimeField(null=True, blank=True, help_text="Since when it waits for a person.")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    objects: "ClassVar[models.Manager[Saga]]" = models.Manager()

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=("done", "compensated"), finished_at__isnull=False)
                | Q(state__in=("running", "compensating", "committed"), finished_at__isnull=True),
                name="saga_finished_or_not",
            ),
        )
        indexes = (
            models.Index(fields=("next_at",), condition=Q(finished_at__isnull=True), name="sagas_open"),
            models.Index(fields=("service", "bucket"), condition=Q(finished_at__isnull=True), name="sagas_of_bucket"),
            models.Index(fields=("finished_at",), name="sagas_finished"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.id}: {self.state}"


class Outcome(models.Model):
    """What a step of a saga has done, or that it was undone."""

    saga = models.ForeignKey(Saga, on_delete=models.CASCADE, related_name="outcomes")
    step = models.CharField(max_length=60)
    undone = models.BooleanField(default=False)
    result = models.JSONField(encoder=DjangoJSONEncoder, null=True, blank=True)
    at = models.DateTimeField()

    objects: "ClassVar[models.Manager[Outcome]]" = models.Manager()

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("saga", "step", "undone"), name="saga_one_outcome_per_step_and_way"),
        )

    def __str__(self) -> str:
        return f"{self.step} {'undone' if self.undone else 'done'}"
