"""The rows of sync, in the same database as the aggregates they are about; PROTOCOL terms are kept as names."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class Ownership(models.Model):
    """What this side is to one bucket of an aggregate, and in which epoch."""

    class State(models.TextChoices):
        """Owner, replica, or neither while ownership changes hands."""

        OWNER = "owner", "owner"
        FROZEN = "frozen", "frozen"
        REPLICA = "replica", "replica"

    aggregate = models.CharField(max_length=60)
    bucket = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=10, choices=State)
    epoch = models.PositiveBigIntegerField(default=1)
    backfilled = models.BooleanField(default=False, help_text="Whether every key of the bucket has a mark.")
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("aggregate", "bucket")
        verbose_name_plural = "ownership"
        constraints = (
            models.UniqueConstraint(fields=("aggregate", "bucket"), name="sync_one_ownership_per_bucket"),
            models.CheckConstraint(condition=Q(bucket__lt=100), name="sync_ownership_bucket_below_100"),
        )

    def __str__(self) -> str:
        return f"{self.aggregate} {self.bucket}: {self.state} in epoch {self.epoch}"


class Mark(models.Model):
    """The durable note that an aggregate changed: ``gen`` counts the changes, ``acked`` is what the other side has.

    Never deleted, since ``gen`` must never restart. The capture triggers write it.
    """

    aggregate = models.CharField(max_length=60)
    key = models.CharField(max_length=255)
    bucket = models.PositiveSmallIntegerField()
    gen = models.PositiveBigIntegerField(default=1)
    acked = models.PositiveBigIntegerField(default=0)
    deleted = models.BooleanField(default=False)
    changed_at = models.DateTimeField()
    retry_at = models.DateTimeField(null=True, blank=True, help_text="Not to be sent again before.")
    tries = models.PositiveIntegerField(default=0, help_text="How often this version was not accepted.")
    reason = models.CharField(max_length=500, default="", blank=True, help_text="Why it was not accepted last time.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("aggregate", "key"), name="sync_one_mark_per_aggregate"),
            models.CheckConstraint(condition=Q(acked__lte=F("gen")), name="sync_acked_at_most_gen"),
        )
        indexes = (
            models.Index(fields=("aggregate", "id"), condition=Q(gen__gt=F("acked")), name="sync_marks_to_send"),
            models.Index(fields=("aggregate", "bucket"), condition=Q(gen__gt=F("acked")), name="sync_marks_of_bucket"),
        )

    def __str__(self) -> str:
        return f"{self.aggregate} {self.key}: {self.acked} of {self.gen}"


class Applied(models.Model):
    """The version of the other side's document that was applied here; kept after a delete, against resurrection."""

    aggregate = models.CharField(max_length=60)
    key = models.CharField(max_length=255)
    bucket = models.PositiveSmallIntegerField()
    epoch = models.PositiveBigIntegerField(default=0)
    gen = models.PositiveBigIntegerField(default=0)
    digest = models.CharField(max_length=32, default="", blank=True)
    deleted = models.BooleanField(default=False)
    applied_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "applied"
        constraints = (models.UniqueConstraint(fields=("aggregate", "key"), name="sync_one_applied_per_aggregate"),)

    def __str__(self) -> str:
        return f"{self.aggregate} {self.key}: {self.gen} of epoch {self.epoch}"


class ParkedDocument(models.Model):
    """A document that could not be applied here, with the reason; the next version of it that can be removes it."""

    aggregate = models.CharField(max_length=60)
    key = models.CharField(max_length=255)
    bucket = models.PositiveSmallIntegerField()
    epoch = models.PositiveBigIntegerField()
    gen = models.PositiveBigIntegerField()
    version = models.PositiveIntegerField()
    data = models.JSONField(null=True)
    reason = models.CharField(max_length=500)
    tries = models.PositiveIntegerField(default=1)
    parked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("aggregate", "key"), name="sync_one_parked_per_aggregate"),)

    def __str__(self) -> str:
        return f"{self.aggregate} {self.key}: {self.reason}"


class Applying(models.Model):
    """On SQLite: a row that stands here inside a transaction keeps the triggers quiet; none is ever committed."""

    class Meta:
        verbose_name_plural = "applying"

    def __str__(self) -> str:
        return "applying"


class Capture(models.Model):
    """That an aggregate's triggers have been installed here, so that missing ones are a fault."""

    aggregate = models.CharField(max_length=60, unique=True)
    installed_at = models.DateTimeField(default=timezone.now)
    gaps = models.PositiveIntegerField(default=0, help_text="How often triggers were found missing and put back.")

    def __str__(self) -> str:
        return self.aggregate


class Backfill(models.Model):
    """How far the marking of existing keys has come."""

    aggregate = models.CharField(max_length=60, unique=True)
    after = models.CharField(max_length=255, default="", blank=True, help_text="The last key that was marked.")
    marked = models.PositiveBigIntegerField(default=0, help_text="Keys gone through.")
    total = models.PositiveBigIntegerField(default=0, help_text="Keys there were at the start.")
    anew = models.BooleanField(default=False, help_text="Whether keys that have a mark are marked again.")
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True, help_text="When all that was marked had been sent.")

    def __str__(self) -> str:
        return f"{self.aggregate}: {self.marked} of {self.total}"


class Lag(models.Model):
    """How long changes took to the other side: a histogram per minute, in bins of a twelfth of a power of two."""

    aggregate = models.CharField(max_length=60)
    direction = models.CharField(max_length=30)
    minute = models.DateTimeField()
    bin = models.SmallIntegerField()
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("aggregate", "direction", "minute", "bin"), name="sync_one_lag_per_bin"),
        )

    def __str__(self) -> str:
        return f"{self.aggregate} {self.direction} {self.minute}: {self.count}"


class Lease(models.Model):
    """Who is doing a piece of work now, and until when it counts as alive."""

    name = models.CharField(max_length=120, unique=True)
    holder = models.CharField(max_length=120)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"


class Verification(models.Model):
    """One comparison of both sides, range by range."""

    aggregate = models.CharField(max_length=60)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    compared = models.PositiveBigIntegerField(default=0)
    corrupt = models.PositiveBigIntegerField(default=0)
    unresolved = models.PositiveBigIntegerField(default=0, help_text="Still on their way when asked for the last time.")
    pending = models.PositiveBigIntegerField(default=0, help_text="Not reached by the backfill yet.")
    abandoned_at = models.DateTimeField(null=True, blank=True, help_text="When another one was begun in its place.")

    class Meta:
        ordering = ("-started_at", "-id")

    def __str__(self) -> str:
        return f"{self.aggregate} {self.started_at:%Y-%m-%d %H:%M:%S}"


class VerificationRange(models.Model):
    """A range of keys of a verification, to be compared by whoever takes it first."""

    verification = models.ForeignKey(Verification, on_delete=models.CASCADE, related_name="ranges")
    number = models.PositiveIntegerField()
    after = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001 (open, which is not empty)
    until = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001
    taken_until = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    compared = models.PositiveBigIntegerField(default=0)
    corrupt = models.PositiveBigIntegerField(default=0)
    unresolved = models.PositiveBigIntegerField(default=0)
    pending = models.PositiveBigIntegerField(default=0)
    doubtful = models.JSONField(default=dict, blank=True, help_text="Unresolved and pending aggregates by bucket.")

    class Meta:
        ordering = ("verification", "number")
        constraints = (models.UniqueConstraint(fields=("verification", "number"), name="sync_one_range_per_number"),)

    def __str__(self) -> str:
        return f"{self.verification_id}/{self.number}"


class Finding(models.Model):
    """An aggregate that both sides have in the same version with different contents, or that one side lacks."""

    verification = models.ForeignKey(Verification, on_delete=models.CASCADE, related_name="findings")
    key = models.CharField(max_length=255)
    bucket = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=30)
    owner_gen = models.PositiveBigIntegerField(null=True, blank=True)
    replica_gen = models.PositiveBigIntegerField(null=True, blank=True)
    detail = models.CharField(max_length=500, default="", blank=True)
    repaired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("verification", "id")
        constraints = (models.UniqueConstraint(fields=("verification", "key"), name="sync_one_finding_per_key"),)

    def __str__(self) -> str:
        return f"{self.key}: {self.kind}"


class Goal(models.Model):
    """Which side is to own a bucket; whoever drives a change of hands reads it again before each step."""

    aggregate = models.CharField(max_length=60)
    bucket = models.PositiveSmallIntegerField()
    side = models.CharField(max_length=10)
    actor = models.CharField(max_length=150, default="", blank=True)
    set_at = models.DateTimeField(default=timezone.now)
    reached_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("aggregate", "bucket")
        constraints = (models.UniqueConstraint(fields=("aggregate", "bucket"), name="sync_one_goal_per_bucket"),)

    def __str__(self) -> str:
        return f"{self.aggregate} {self.bucket}: {self.side}"


class Handover(models.Model):
    """One step of a change of hands, written down after it was done: nothing depends on it but people."""

    aggregate = models.CharField(max_length=60)
    bucket = models.PositiveSmallIntegerField()
    step = models.CharField(max_length=20)
    line = models.CharField(max_length=10)
    at_side = models.CharField(max_length=10)
    epoch = models.PositiveBigIntegerField()
    goal = models.CharField(max_length=10)
    driver = models.CharField(max_length=120)
    detail = models.CharField(max_length=500, default="", blank=True)
    held_ms = models.PositiveIntegerField(null=True, blank=True, help_text="From freezing on, that nobody wrote.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-at", "-id")
        indexes = (models.Index(fields=("aggregate", "bucket", "at"), name="sync_handovers"),)

    def __str__(self) -> str:
        return f"{self.aggregate} {self.bucket}: {self.step} at {self.at_side}"
