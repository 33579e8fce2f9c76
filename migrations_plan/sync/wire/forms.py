"""What each verb is asked and answers, as JSON: read strictly, and nothing guessed.

A request with a field that is not known is refused, since it asks for something that would not be done. In an answer
and in a document such a field is passed over.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec

from migrations_plan.sync.messages import (
    LARGEST,
    Again,
    Boundary,
    BucketLook,
    BucketState,
    Change,
    Digest,
    Document,
    Fitness,
    Held,
    Result,
    Sent,
)
from migrations_plan.sync.wire import refusals

LARGEST_VERSION = 2**31 - 1
LONGEST_KEY = 255

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_KEY)]
Many = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Bucket = Annotated[int, msgspec.Meta(ge=0, le=99)]

Form = TypeVar("Form")


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a verb is asked."""


class ChangesRequest(Request, frozen=True, kw_only=True):
    """Ask for documents that have not been sent; or, with ``keys``, for these, whether they are marked or not."""

    limit: Many = 1
    buckets: tuple[Bucket, ...] = ()
    keys: tuple[Key, ...] = ()


class ApplyRequest(Request, frozen=True, kw_only=True):
    """Ask to be made equal to these; with ``rehearsal``, to try it and leave everything as it was."""

    documents: tuple[Document, ...]
    rehearsal: bool = False


class ApplyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each, in their order."""

    results: tuple[Result, ...]


class AckRequest(Request, frozen=True, kw_only=True):
    """Say what has arrived, what could not be taken, and what is to be sent again."""

    sent: tuple[Sent, ...] = ()
    held: tuple[Held, ...] = ()
    again: tuple[Again, ...] = ()


class AckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many were marked again."""

    again: int


class DigestRequest(Request, frozen=True, kw_only=True):
    """Ask what is held in a range or under some keys; or, with ``cut``, for ranges of about that many keys."""

    after: str | None = None
    until: str | None = None
    keys: tuple[Key, ...] = ()
    detail: bool = False
    cut: Many | None = None


class CutAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Ranges that together hold every key."""

    boundaries: tuple[Boundary, ...]


class OwnershipRequest(Request, frozen=True, kw_only=True):
    """Ask who a side is, or change it; ``look`` into some buckets more closely, and at its ``fitness``."""

    change: Change | None = None
    look: tuple[Bucket, ...] = ()
    fitness: bool = False


class OwnershipAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who the side is to each bucket; ``done`` where a change was asked for."""

    buckets: tuple[BucketState, ...]
    done: bool | None = None
    looked: tuple[BucketLook, ...] = ()
    fitness: Fitness | None = None


class ChangesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Documents to be sent, and how many aggregates are marked in all."""

    documents: tuple[Document, ...]
    waiting: int


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not served."""

    code: str
    detail: str


Answer = ApplyAnswer | AckAnswer | CutAnswer | OwnershipAnswer | Digest

encode = msgspec.json.Encoder().encode


def decode(body: bytes, form: type[Form]) -> Form:
    """Return a body as what it has to be; raise Refusal with the field that does not fit."""
    try:
        read = msgspec.json.decode(body, type=form, strict=True)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise refusals.malformed(f"The body does not fit: {error}.") from error
    except RecursionError as error:
        raise refusals.malformed("The body is nested too deeply.") from error
    for name in ("documents", "sent", "held", "again"):
        _check_all(name, getattr(read, name, ()))
    return read


def encode_documents(documents: Iterable[bytes], **rest: int) -> bytes:
    """Return a body with documents that are encoded already; each is encoded once, however batches are cut."""
    members = [b'"documents":[' + b",".join(documents) + b"]"]
    members += [f'"{name}":{value}'.encode() for name, value in rest.items()]
    return b"{" + b",".join(members) + b"}"


def _check_all(name: str, listed: Any) -> None:
    """Refuse keys and numbers that no database of ours can hold; one of them would fail the rest of its batch."""
    if not isinstance(listed, tuple):
        return
    for place, one in enumerate(listed):
        problem = _problem(one)
        if problem:
            raise refusals.malformed(f"The body does not fit: {problem[1]} - at `$.{name}[{place}].{problem[0]}`.")


def _problem(one: Document | Sent | Held | Again) -> tuple[str, str] | None:
    if not 0 < len(one.key) <= LONGEST_KEY or "\0" in one.key:
        return "key", f"Keys have 1 to {LONGEST_KEY} characters, and no NUL among them"
    if not 0 <= one.gen <= LARGEST:
        return "gen", "Versions have 63 bits"
    if isinstance(one, Document):
        return _problem_of_document(one)
    if isinstance(one, Held) and not 0 <= one.seconds < LARGEST:
        return "seconds", "A time to wait is not negative, and ends"
    if isinstance(one, Again) and not 0 <= one.bucket <= 99:
        return "bucket", "Buckets go from 0 to 99"
    return None


def _problem_of_document(document: Document) -> tuple[str, str] | None:
    if not 0 <= document.epoch <= LARGEST:
        return "epoch", "Epochs have 63 bits"
    if not 0 <= document.version <= LARGEST_VERSION:
        return "version", "Versions of the form have 31 bits"
    if document.changed_at and not _is_moment(document.changed_at):
        return "changed_at", "Moments are RFC 3339 in UTC"
    return None


def _is_moment(text: str) -> bool:
    try:
        return text.endswith("Z") and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
