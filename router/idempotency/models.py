"""The durable claims on idempotency keys, and the answers that travel with the data they belong to."""

import uuid

from django.db import models


class IdempotencyKey(models.Model):
    """One request that must take effect once: who works on it, or what it was answered."""

    class State(models.TextChoices):
        """A key is claimed before the work and done with it."""

        CLAIMED = "claimed", "claimed"
        DONE = "done", "done"

    scope = models.CharField(max_length=64, help_text="The service whose data the request changes.")
    subject = models.CharField(max_length=255, blank=True, help_text="Whose key it is; empty for anonymous clients.")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, path and body.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.CLAIMED)
    holder = models.CharField(max_length=64, help_text="The side that works, or worked, on it.")
    token = models.UUIDField(help_text="Names this very claim: only its holder can complete it.")
    lease_until = models.DateTimeField(help_text="After this, anybody may take an unfinished claim over.")
    created_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    content_type = models.CharField(max_length=255, blank=True)
    body = models.BinaryField(null=True, blank=True)
    location = models.TextField(null=True, blank=True, help_text="Where a redirect leads.")  # noqa: DJ001

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("scope", "subject", "key"), name="one_claim_per_idempotency_key"),
        )
        indexes = (models.Index(fields=("created_at",), name="idempotency_keys_by_age"),)

    def __str__(self) -> str:
        return f"{self.scope}/{self.key}: {self.state} by {self.holder}"


class TravellingKey(models.Model):
    """What a request was answered, kept so that it changes hands together with the data that the request changed.

    Claims stay where they are: who works on a request is nobody else's business. Its rows are synced and fenced, and so
    written by the owner of their bucket alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    scope = models.CharField(max_length=64, help_text="The service whose data the request has changed.")
    subject = models.CharField(max_length=255, blank=True, help_text="Whose key it is; empty for anonymous clients.")
    bucket = models.PositiveSmallIntegerField(help_text="Of the data that the request has changed.")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, path and body.")
    status = models.PositiveSmallIntegerField()
    content_type = models.CharField(max_length=255, blank=True)
    body = models.BinaryField()
    location = models.TextField(null=True, blank=True, help_text="Where a redirect leads.")  # noqa: DJ001
    completed_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("scope", "subject", "key"), name="one_answer_per_travelling_key"),
        )
        indexes = (models.Index(fields=("completed_at",), name="travelling_keys_by_age"),)

    def __str__(self) -> str:
        return f"{self.scope}/{self.key}: {self.status}"
