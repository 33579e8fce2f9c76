"""Answers that change hands together with the data that their requests have changed.

A request's key is claimed where it is carried out. Its answer is kept twice: with the claim, and, for the service whose
data is divided into buckets, in a row that sync brings to the other side. Whoever owns the bucket next finds it there.
The row is fenced like the data: only the owner of the bucket can keep an answer, in the transaction of the work. So a
side that has looked for an answer a moment too early cannot commit a second time; it meets the fence or the row.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import router

from router.buckets import bucket
from router.idempotency.conf import conf
from router.idempotency.models import IdempotencyKey, TravellingKey
from router.routes import Key

NOBODY = frozenset({"", "monolith"})
"""Subjects that own no data: a client without a name, and the monolith where it asks about nobody in particular."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """Which key it is, and what it was used for."""

    scope: str
    subject: str
    key: str
    fingerprint: str

    @property
    def identity(self) -> dict[str, str]:
        """Return what there is one of."""
        return {"scope": self.scope, "subject": self.subject, "key": self.key}


def bucket_of(scope: str, subject: str, owner: Key | None = None) -> int | None:
    """Return the bucket that an answer changes hands with, None for one that stays.

    Without an ``owner`` the data is taken to be the subject's own.
    """
    if scope not in conf().travels:
        return None
    if owner is None:
        return None if subject in NOBODY else bucket(scope, subject)
    return bucket(scope, owner)


def find(scope: str, subject: str, key: str) -> TravellingKey | None:
    """Return what a key was answered, on whichever side."""
    if scope not in conf().travels:
        return None
    found: TravellingKey | None = _rows().filter(scope=scope, subject=subject, key=key).first()
    return found


def keep(name: Name, owner: Key | None, at: datetime, **answer: Any) -> None:
    """Keep an answer in the caller's transaction, which is over where another answer has come before: IntegrityError.

    Raises NotOwner where the bucket is not ours to write.
    """
    number = bucket_of(name.scope, name.subject, owner)
    if number is not None:
        _rows().create(**name.identity, fingerprint=name.fingerprint, bucket=number, completed_at=at, **answer)


def amend(name: Name, **answer: Any) -> None:
    """Replace an answer by a fresher one; raises NotOwner as ``keep`` does."""
    if name.scope in conf().travels:
        _rows().filter(**name.identity).update(**answer)


def _rows() -> Any:
    return TravellingKey.objects.using(router.db_for_write(IdempotencyKey))
