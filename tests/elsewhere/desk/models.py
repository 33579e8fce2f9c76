"""What is lent to whom; people are in another database, so nothing points to them but their keys."""

import uuid

from django.db import models


class Loan(models.Model):
    """A book that somebody has at home."""

    number = models.UUIDField(primary_key=True, default=uuid.uuid4)
    reader = models.UUIDField(null=True, db_index=True)
    card = models.CharField(max_length=40, blank=True, db_index=True, help_text="The text on the reader's card.")
    book = models.CharField(max_length=100)
    lent_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("lent_at",)

    def __str__(self) -> str:
        return self.book
