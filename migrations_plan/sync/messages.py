"""What the two sides say to each other, as values; `docs/sync-protocol.md` tells how they look on the wire."""

from enum import StrEnum
from typing import Annotated, Any, Protocol

import msgspec

LARGEST = 2**63 - 1
"""What counts, here and in most databases, has 63 bits."""


class State(StrEnum):
    """What a side is to a bucket of an aggregate."""

    OWNER = "owner"
    """It may write."""
    FROZEN = "frozen"
    """It was the owner and nobody is now: ownership is changing hands."""
    REPLICA = "replica"
    """It takes what the owner sends."""


class Outcome(StrEnum):
    """What became of a document at the side that was to apply it."""

    APPLIED = "applied"
    SKIPPED = "skipped"
    """Something at least as new is there already."""
    REFUSED_STATE = "refused_state"
    """This side is no replica of the bucket."""
    REFUSED_EPOCH = "refused_epoch"
    """The bucket has changed hands since the document was read."""
    PARKED = "parked"
    """It cannot be applied now; the reason says why."""

    @property
    def settles(self) -> bool:
        """Return whether the sender need not send this version again."""
        return self in {Outcome.APPLIED, Outcome.SKIPPED}


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One aggregate as its owner has it, or the news that it is gone."""

    key: str
    bucket: int
    epoch: int
    """The owner's epoch of the bucket when it was read; a fence, not an order."""
    gen: int
    """The version: counts the changes of this aggregate at its owner."""
    version: int
    """Of the document's form."""
    data: dict[str, Any] | None
    """Fields and parts by their canonical names; None: the aggregate was deleted."""
    changed_at: str = ""
    """When the owner last changed it (RFC 3339, UTC), for measuring lag."""


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one document."""

    key: str
    gen: int
    outcome: Outcome
    reason: str = ""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Documents that have not reached the other side, oldest changes first."""

    documents: tuple[Document, ...]
    waiting: int
    """How many aggregates are marked in all, those held back included."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A version that was sent and not accepted: not to be sent again before some seconds have passed."""

    key: str
    gen: int
    seconds: float
    reason: str


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A version that the other side has now."""

    key: str
    gen: int


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """An aggregate to be marked again at its owner, with a version above ``gen``: what the replica holds."""

    key: str
    gen: int
    bucket: int
    """Used where the owner has neither a row nor a mark that would tell."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One aggregate as a side has it."""

    key: str
    bucket: int
    gen: int | None
    """At the owner its mark's, at the replica the applied one; None: there is none."""
    digest: str | None
    """Of the document made from the rows; None: there are no rows. Where the rows make no document, ``!`` and why."""
    acked: int | None = None
    """At the owner: the version that the replica is known to have."""


class BucketState(msgspec.Struct, frozen=True, kw_only=True):
    """Who a side is to one bucket."""

    bucket: int
    state: State
    epoch: int
    backfilled: bool = False


class BucketLook(BucketState, frozen=True, kw_only=True):
    """Who a side is to one bucket, with what keeps the bucket from changing hands."""

    waiting: int
    """How many aggregates of the bucket are marked, of the same moment as the state."""
    intents: int
    """How much work of the bucket was begun and has not ended."""


class Mint(msgspec.Struct, frozen=True, kw_only=True):
    """From which number on a side gives ids to new rows of one table."""

    part: str
    """``root``, or the name of the part."""
    first: int
    """Nothing below was minted by this side in its present range."""
    next: int
    """The id that the next row gets."""


class Fitness(msgspec.Struct, frozen=True, kw_only=True):
    """What this side can say about whether it may own buckets."""

    problems: tuple[str, ...] = ()
    """What keeps it from owning any: a trigger that is missing, say."""
    mints: tuple[Mint, ...] = ()
    """Where its new ids come from, for each table whose keys are counted up."""


class Standing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who a side is to a bucket, and since when."""

    state: State
    epoch: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Swap who a side is to a bucket, if it still is what ``old`` says."""

    bucket: Annotated[int, msgspec.Meta(ge=0, le=99)]
    old: Standing = msgspec.field(name="from")
    new: Standing = msgspec.field(name="to")
    settle: bool = False
    """Also count everything marked as sent: the side has learnt that it is the replica."""


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What a side holds between two keys, read in one snapshot together with who it is to each bucket."""

    count: int
    sum: str
    """Of key, version and digest of every entry: equal sums, equal contents."""
    buckets: tuple[BucketState, ...]
    entries: tuple[Entry, ...] | None
    """None where only the sum was asked for."""
    version: int = 1
    """Of the document's form: sides that differ in it make different bytes of the same rows and cannot be compared."""


class Boundary(msgspec.Struct, frozen=True, kw_only=True):
    """A range of keys: above ``after``, up to and including ``until``; None is open."""

    after: str | None = None
    until: str | None = None


class Side(Protocol):
    """One home of an aggregate. The relay needs two, wherever they are: here, or behind HTTP."""

    @property
    def name(self) -> str:
        """Return ``legacy`` or ``extracted``."""
        ...

    def changes(self, aggregate: str, limit: int, buckets: tuple[int, ...] = ()) -> Changes:
        """Return marked aggregates of buckets that this side owns or owned until now, in one snapshot.

        Of the given buckets only, if any are given; then also what waits for another try.
        """
        ...

    def apply(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        """Make this side equal to the documents where it is the replica; one result per document, in their order."""
        ...

    def ack(self, aggregate: str, sent: tuple[Sent, ...], held: tuple[Held, ...]) -> None:
        """Note which versions the other side has, and which it could not take yet."""
        ...

    def digest(self, aggregate: str, boundary: Boundary, *, detail: bool, keys: tuple[str, ...] = ()) -> Digest:
        """Return what this side holds in a range of keys, or of the given keys."""
        ...

    def ownership(self, aggregate: str) -> tuple[BucketState, ...]:
        """Return who this side is to each bucket."""
        ...

    def look(self, aggregate: str, buckets: tuple[int, ...]) -> tuple[BucketLook, ...]:
        """Return who this side is to these buckets, with what is marked and under way in them, of one moment."""
        ...

    def change(self, aggregate: str, change: Change) -> bool:
        """Swap who this side is to a bucket, if it still is what the change says; return whether it was."""
        ...

    def fitness(self, aggregate: str) -> Fitness:
        """Return what keeps this side from owning buckets, and which keys it will give to new roots."""
        ...

    def documents(self, aggregate: str, keys: tuple[str, ...]) -> tuple[Document, ...]:
        """Return documents as the rows here make them, whoever owns them and whether they are marked or not."""
        ...

    def rehearse(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        """Apply documents as if this side were the replica, compare what came of it, and roll everything back."""
        ...

    def boundaries(self, aggregate: str, size: int) -> tuple[Boundary, ...]:
        """Cut the keys that this side holds into ranges of about ``size``, open at both ends."""
        ...

    def repair(self, aggregate: str, keys: tuple[Again, ...]) -> int:
        """Mark aggregates to be sent again, with a version above the one given; never at a replica. Return how many."""
        ...
