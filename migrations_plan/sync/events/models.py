"""The outbox of what happened here, and the inbox of what happened elsewhere."""

import uuid

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q


class AggregateSequence(models.Model):
    """Counts the events of one aggregate; its row lock makes the numbers those of the commits, without gaps."""

    aggregate = models.CharField(max_length=100)
    key = models.CharField(max_length=255)
    last = models.PositiveBigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("aggregate", "key"), name="one_event_sequence_per_aggregate"),)

    def __str__(self) -> str:
        return f"{self.aggregate} {self.key}: {self.last}"


class TravellingSequence(models.Model):
    """Counts the events of one aggregate that changes hands, at both of its homes in turn.

    Its rows are synced and fenced, and so written by the owner of their bucket alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    aggregate = models.CharField(max_length=100)
    key = models.CharField(max_length=255)
    bucket = models.PositiveSmallIntegerField(help_text="Of the aggregate.")
    last = models.PositiveBigIntegerField()
    types = models.JSONField(default=dict, help_text="By type, the number of the latest event.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("aggregate", "key"), name="one_travelling_sequence_per_aggregate"),
        )

    def __str__(self) -> str:
        return f"{self.aggregate} {self.key}: {self.last}"


class OutboxEvent(models.Model):
    """An event that was committed together with what it tells of."""

    event_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    type = models.CharField(max_length=200)
    version = models.PositiveSmallIntegerField()
    aggregate = models.CharField(max_length=100)
    key = models.CharField(max_length=255)
    sequence = models.PositiveBigIntegerField()
    before = models.JSONField(
        null=True,
        blank=True,
        help_text="By type, the number of the aggregate's latest event before it; null where nobody keeps it.",
    )
    payload = models.JSONField(encoder=DjangoJSONEncoder)
    occurred_at = models.DateTimeField()
    created_at = models.DateTimeField()
    fanned_out_at = models.DateTimeField(null=True, blank=True, help_text="When its deliveries were written down.")

    class Meta:
        verbose_name = "published event"
        constraints = (
            models.UniqueConstraint(fields=("aggregate", "key", "sequence"), name="one_event_per_number_of_aggregate"),
        )
        indexes = (
            models.Index(fields=("id",), condition=Q(fanned_out_at__isnull=True), name="events_not_fanned_out"),
            models.Index(fields=("created_at",), name="outbox_by_age"),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.key}#{self.sequence}"


class Delivery(models.Model):
    """One event on its way to one consumer, until that acknowledges it."""

    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="deliveries")
    consumer = models.CharField(max_length=100)
    after = models.PositiveBigIntegerField(
        default=0, help_text="The number of the aggregate's event that the consumer gets before this one; 0: none."
    )
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField()
    claim = models.UUIDField(null=True, blank=True, help_text="The relay that is sending it.")
    acked_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = (models.UniqueConstraint(fields=("event", "consumer"), name="one_delivery_per_consumer"),)
        indexes = (models.Index(fields=("next_at",), condition=Q(acked_at__isnull=True), name="deliveries_due"),)

    def __str__(self) -> str:
        return f"event {self.event_id} to {self.consumer}"


class Cursor(models.Model):
    """How far the events of one aggregate have arrived at a consumer without a gap."""

    consumer = models.CharField(max_length=100)
    aggregate = models.CharField(max_length=100)
    key = models.CharField(max_length=255)
    through = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("consumer", "aggregate", "key"), name="one_cursor_per_aggregate"),
        )

    def __str__(self) -> str:
        return f"{self.consumer}: {self.aggregate} {self.key} through {self.through}"


class InboxEvent(models.Model):
    """An event that arrived; its row is what makes a second arrival a duplicate."""

    class State(models.TextChoices):
        """Where it stands on its way to the handlers."""

        WAITING = "waiting", "waiting for an earlier event"
        RELEASED = "released", "handed to the handlers"
        PARKED = "parked", "parked"

    event_id = models.UUIDField()
    consumer = models.CharField(max_length=100)
    stream = models.CharField(max_length=100, blank=True)
    type = models.CharField(max_length=200, blank=True)
    version = models.PositiveIntegerField(default=0)
    aggregate = models.CharField(max_length=100, blank=True)
    key = models.CharField(max_length=255, blank=True)
    sequence = models.PositiveBigIntegerField(default=0)
    after = models.PositiveBigIntegerField(
        default=0, help_text="The number of the aggregate's event that comes before this one here; 0: none."
    )
    payload = models.JSONField(encoder=DjangoJSONEncoder)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    reason = models.TextField(blank=True)
    duplicates = models.PositiveIntegerField(default=0, help_text="How often it arrived again.")

    class Meta:
        verbose_name = "received event"
        constraints = (models.UniqueConstraint(fields=("consumer", "event_id"), name="one_arrival_per_event"),)
        indexes = (
            models.Index(fields=("consumer", "aggregate", "key", "sequence"), name="inbox_by_aggregate"),
            models.Index(fields=("received_at",), name="inbox_by_age"),
        )

    def __str__(self) -> str:
        return f"{self.type or 'unreadable'} {self.key}#{self.sequence}"


class HandlerRun(models.Model):
    """What one handler has to do about one event."""

    class State(models.TextChoices):
        """Where it stands."""

        PENDING = "pending", "pending"
        RUNNING = "running", "running"
        DONE = "done", "done"
        PARKED = "parked", "parked"
        DISCARDED = "discarded", "discarded"

    event = models.ForeignKey(InboxEvent, on_delete=models.CASCADE, related_name="runs")
    consumer = models.CharField(max_length=100)
    handler = models.CharField(max_length=200)
    ordered = models.BooleanField(default=True)
    aggregate = models.CharField(max_length=100)
    key = models.CharField(max_length=255)
    sequence = models.PositiveBigIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField()
    token = models.UUIDField(null=True, blank=True, help_text="The worker that is at it.")
    done_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("event", "handler"), name="one_run_per_handler"),)
        indexes = (
            models.Index(
                fields=("consumer", "next_at"), condition=Q(state__in=("pending", "running")), name="handler_runs_due"
            ),
            models.Index(
                fields=("consumer", "handler", "aggregate", "key", "sequence"),
                condition=~Q(state__in=("done", "discarded")),
                name="handler_runs_in_order",
            ),
        )

    def __str__(self) -> str:
        return f"{self.handler} of {self.aggregate} {self.key}#{self.sequence}: {self.state}"
