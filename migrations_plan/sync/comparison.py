"""What two sides say about the same keys, and what follows from it: no rows of ours, only what the sides answer.

The owner is read first. What the replica says afterwards can only be the same or newer, so the same version with other
contents is corruption and not delay. Anything that may still be on its way is asked again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from migrations_plan.sync.errors import SyncError
from migrations_plan.sync.messages import Boundary, BucketState, Digest, Entry, Side, State
from migrations_plan.sync.scan import UNREADABLE

PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds before each time that keys are asked for again."""
STEADY = 3
"""Askings with the same answers after which a version that does not move counts as wrong."""
KEYS_AT_ONCE = 2_000

Wait = Callable[[float], None]


class Kind(StrEnum):
    """In what way the sides differ."""

    CHANGED = "changed"
    """The same version with other contents."""
    MISSING = "missing"
    """Rows that the replica should have and has not."""
    EXTRA = "extra"
    """Rows that the replica alone has."""
    UNMARKED = "unmarked"
    """Rows at the owner that its triggers and its backfill have passed by: they would never be sent."""
    VERSION = "version"
    """The replica's version is not the one that the owner knows it to have, and does not become it."""


class Opinion(StrEnum):
    """What the answers about one aggregate mean."""

    SAME = "same"
    CORRUPT = "corrupt"
    SUSPECT = "suspect"
    """Corrupt if it stays so."""
    MOVING = "moving"
    """On its way, or its bucket is changing hands."""
    PENDING = "pending"
    """Not backfilled yet."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An aggregate on which the sides differ, for good."""

    key: str
    bucket: int
    kind: Kind
    owner_gen: int | None
    replica_gen: int | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What came out for a range of keys."""

    compared: int = 0
    """Aggregates that were the same, or corrupt."""
    differences: tuple[Difference, ...] = ()
    unresolved: Mapping[int, int] = field(default_factory=dict)
    """By bucket: aggregates still on their way when they were asked for the last time."""
    pending: Mapping[int, int] = field(default_factory=dict)
    """By bucket: aggregates that the backfill has not reached."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What both sides said about one aggregate."""

    key: str
    bucket: int
    owner: Entry | None
    replica: Entry | None
    opinion: Opinion
    kind: Kind | None = None

    @property
    def difference(self) -> Difference:
        """Return it as a difference."""
        assert self.kind is not None
        return Difference(
            key=self.key,
            bucket=self.bucket,
            kind=self.kind,
            owner_gen=self.owner.gen if self.owner else None,
            replica_gen=self.replica.gen if self.replica else None,
            detail=f"owner: {_told(self.owner)}; replica: {_told(self.replica)}",
        )


def compare(aggregate: str, boundary: Boundary, here: Side, there: Side, *, wait: Wait) -> Compared:
    """Compare a range of keys; what may be on its way is asked for again, a bounded number of times."""
    one, two = (side.digest(aggregate, boundary, detail=False) for side in (here, there))
    require_one_form(aggregate, one, two)
    if (one.count, one.sum) == (two.count, two.sum) and _all_comparable(one, two):
        return Compared(compared=one.count)
    rounds = _Rounds(aggregate, *((here, there) if _owned(one) >= _owned(two) else (there, here)))
    rounds.look(boundary)
    for pause in PAUSES:
        if not rounds.open:
            break
        wait(pause)
        rounds.look_again()
    return rounds.result()


def readings(
    aggregate: str, first: Side, second: Side, boundary: Boundary, keys: tuple[str, ...]
) -> Iterator[tuple[Digest, Digest]]:
    """Yield what an owner holds, with what its replica holds, read afterwards; both ways round if both own buckets."""
    one = first.digest(aggregate, boundary, detail=True, keys=keys)
    two = second.digest(aggregate, boundary, detail=True, keys=keys)
    yield one, two
    if _owned(two):
        yield two, first.digest(aggregate, boundary, detail=True, keys=keys)


def comparable(owner: BucketState | None, replica: BucketState | None) -> bool:
    """Return whether what an owner said, and then a replica, is about one ownership.

    A replica in a later epoch than the owner was read in has had an owner in between that nobody has asked.
    """
    if owner is None or replica is None:
        return False
    return owner.state is State.OWNER and replica.state is State.REPLICA and replica.epoch <= owner.epoch


def judge(owner: Entry | None, replica: Entry | None, *, backfilled: bool) -> tuple[Opinion, Kind | None]:
    """Return what two entries mean, of which the owner's was read first."""
    held, applied = (owner.gen if owner else None), (replica.gen if replica else None)
    has, had = (owner.digest if owner else None), (replica.digest if replica else None)
    if held == applied and has == had and not _unreadable(has):
        return Opinion.SAME, None
    if held is None:
        return _judge_unmarked(has, applied, had, backfilled=backfilled)
    if held == applied:
        return Opinion.CORRUPT, _kind(has, had, Kind.CHANGED)
    arrived = owner is not None and owner.acked == held
    if arrived or (applied or 0) > held:  # or else somebody has written and sent since the owner was read
        return Opinion.SUSPECT, _kind(has, had, Kind.VERSION)
    return Opinion.MOVING, None


def _judge_unmarked(
    has: str | None, applied: int | None, had: str | None, *, backfilled: bool
) -> tuple[Opinion, Kind | None]:
    """Judge an aggregate that the owner has no mark of."""
    if has is not None:
        return (Opinion.CORRUPT, Kind.UNMARKED) if backfilled else (Opinion.PENDING, None)
    if applied is None:
        return Opinion.CORRUPT, Kind.EXTRA  # what was never sent came some other way
    return Opinion.SUSPECT, _kind(has, had, Kind.VERSION)  # made, sent and applied after the owner was read?


def _kind(has: str | None, had: str | None, otherwise: Kind) -> Kind:
    if (has is None) == (had is None):
        return otherwise
    return Kind.MISSING if had is None else Kind.EXTRA


def _unreadable(digest: str | None) -> bool:
    return digest is not None and digest.startswith(UNREADABLE)


def require_one_form(aggregate: str, one: Digest, two: Digest) -> None:
    """Raise SyncError where the sides make different documents of the same rows: everything would differ."""
    if one.version != two.version:
        raise SyncError(
            f"One side makes version {one.version} of the documents of {aggregate}, the other version {two.version}. "
            "They can be compared when both make the same: upgrade the older side."
        )


def _owned(digest: Digest) -> int:
    return sum(state.state is not State.REPLICA for state in digest.buckets)


def _by_bucket(digest: Digest) -> dict[int, BucketState]:
    return {state.bucket: state for state in digest.buckets}


def _all_comparable(one: Digest, two: Digest) -> bool:
    """Return whether each bucket has an owner and a replica. That equal things are equal needs no order of reading."""
    mine, theirs = _by_bucket(one), _by_bucket(two)
    buckets = mine.keys() | theirs.keys()
    return bool(buckets) and all(
        comparable(mine.get(bucket), theirs.get(bucket)) or comparable(theirs.get(bucket), mine.get(bucket))
        for bucket in buckets
    )


def pairs(owner: Digest, replica: Digest) -> Iterator[Pair]:
    """Judge every aggregate that either side named, but for the buckets of which the replica's side is the owner."""
    mine, theirs = _by_bucket(owner), _by_bucket(replica)
    held = {entry.key: entry for entry in owner.entries or ()}
    applied = {entry.key: entry for entry in replica.entries or ()}
    for key in held.keys() | applied.keys():
        one, two = held.get(key), applied.get(key)
        named = [entry.bucket for entry in (one, two) if entry is not None]
        state, other = mine.get(named[0]), theirs.get(named[0])
        if _is(state, State.REPLICA) and not _is(other, State.REPLICA):
            continue
        opinion, kind = Opinion.MOVING, None
        if all(comparable(mine.get(bucket), theirs.get(bucket)) for bucket in named):
            opinion, kind = judge(one, two, backfilled=state is not None and state.backfilled)
        yield Pair(key=key, bucket=named[0], owner=one, replica=two, opinion=opinion, kind=kind)


def _is(state: BucketState | None, wanted: State) -> bool:
    return state is not None and state.state is wanted


class _Rounds:
    """What is known about each aggregate of a range, and which of them are to be asked for again."""

    def __init__(self, aggregate: str, first: Side, second: Side) -> None:
        self.aggregate, self.first, self.second = aggregate, first, second
        self.open: dict[str, Pair] = {}
        self._settled: dict[str, Pair] = {}
        self._steady: Counter[str] = Counter()

    def look(self, boundary: Boundary, keys: tuple[str, ...] = ()) -> None:
        """Ask both sides."""
        found: dict[str, Pair] = {}
        for owner, replica in readings(self.aggregate, self.first, self.second, boundary, keys):
            require_one_form(self.aggregate, owner, replica)
            found |= {pair.key: pair for pair in pairs(owner, replica)}
        for key in keys:
            if key not in found:  # neither side has anything of it any more
                bucket = self.open[key].bucket
                found[key] = Pair(key=key, bucket=bucket, owner=None, replica=None, opinion=Opinion.SAME)
        for pair in found.values():
            self._take(pair)

    def look_again(self) -> None:
        """Ask for what is open once more."""
        keys = list(self.open)
        for start in range(0, len(keys), KEYS_AT_ONCE):
            self.look(Boundary(), tuple(keys[start : start + KEYS_AT_ONCE]))

    def result(self) -> Compared:
        """Return what came out."""
        by_opinion: dict[Opinion, list[Pair]] = {opinion: [] for opinion in Opinion}
        for pair in self._settled.values():
            by_opinion[pair.opinion].append(pair)
        corrupt = by_opinion[Opinion.CORRUPT]
        return Compared(
            compared=len(by_opinion[Opinion.SAME]) + len(corrupt),
            differences=tuple(pair.difference for pair in sorted(corrupt, key=lambda pair: pair.key)),
            unresolved=Counter(pair.bucket for pair in self.open.values()),
            pending=Counter(pair.bucket for pair in by_opinion[Opinion.PENDING]),
        )

    def _take(self, pair: Pair) -> None:
        before = self.open.pop(pair.key, None)
        same = before is not None and (before.owner, before.replica) == (pair.owner, pair.replica)
        self._steady[pair.key] = self._steady[pair.key] + 1 if same else 1
        if pair.opinion is Opinion.SUSPECT and self._steady[pair.key] >= STEADY:
            pair = replace(pair, opinion=Opinion.CORRUPT)
        if pair.opinion in {Opinion.SUSPECT, Opinion.MOVING}:
            self.open[pair.key] = pair
        else:
            self._settled[pair.key] = pair


def _told(entry: Entry | None) -> str:
    if entry is None or (entry.gen is None and entry.digest is None):
        return "nothing"
    version = "no version" if entry.gen is None else f"version {entry.gen}"
    if entry.digest is None:
        return f"{version}, no rows"
    return f"{version}, {'unreadable: ' + entry.digest[1:] if _unreadable(entry.digest) else entry.digest[:12]}"
