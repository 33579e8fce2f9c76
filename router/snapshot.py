"""Everything the routing decision depends on, as one immutable value that each process keeps in memory."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from router.holders import Holder, Ownership

Forced: TypeAlias = Literal["open", "closed"]


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The most that a step of the plan lets be diverted or shadowed, in percent of the buckets."""

    step: str
    """The step that says so: ``shared.reads@10``."""
    reads: int = 0
    writes: int = 0
    shadow: int = 0
    store: str = "shared"
    """Which of the service's stores answers."""
    shadow_store: str = ""
    """Which of its stores copies of reads go to. Empty: the one that answers, for reads that legacy still answers.

    ``legacy`` is the monolith itself; it also gets copies of what the service answers while both work on the same data.
    """
    owned_store: str = "own"
    """Which of its stores answers for buckets that the service owns, whatever the rest of the envelope says."""
    paused: bool = False
    """Whether the plan is frozen where it stands; routing goes on as it is."""


@dataclass(frozen=True, kw_only=True)
class FlagRule:
    """A flag as it was read, with the members of its groups among its users."""

    name: str
    everyone: bool | None = None
    """True: the whole envelope. False: nothing. None: the rules below."""
    percent: int | None = None
    """Buckets below this number are in."""
    users: frozenset[str] = frozenset()
    """Primary keys, as text, of the users named by the flag or by one of its groups."""
    superusers: bool = False
    staff: bool = False
    authenticated: bool = False

    @property
    def requested(self) -> int:
        """Return the percentage of buckets that the flag asks for."""
        if self.everyone is not None:
            return 100 if self.everyone else 0
        return min(self.percent or 0, 100)

    @property
    def names_people(self) -> bool:
        """Return whether somebody may be in who is not by percentage."""
        people = self.users or self.superusers or self.staff or self.authenticated
        return self.everyone is None and bool(people)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Envelopes, flags, kill switches and forced breakers, as of one moment."""

    version: int = 1
    """Counts up whenever the contents differ; 0 says that nothing was ever loaded."""
    envelopes: Mapping[str, Envelope] = field(default_factory=lambda: MappingProxyType({}))
    flags: Mapping[str, FlagRule] = field(default_factory=lambda: MappingProxyType({}))
    killed: frozenset[str] = frozenset()
    """Names of the kill switches that are on."""
    breakers_forced: Mapping[tuple[str, str], Forced] = field(default_factory=lambda: MappingProxyType({}))
    """Breakers held open or closed by hand, by service and store."""
    ownership: Mapping[str, Ownership] = field(default_factory=lambda: MappingProxyType({}))
    """Who owns the buckets of each service whose data may move; no other service is in it."""
    read_at: float | None = field(default=None, compare=False)
    """When the database last confirmed the contents, on the monotonic clock."""
    memo: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What was worked out from the contents, so that each request need not do it again."""

    @property
    def age(self) -> float:
        """Return the seconds since the database last confirmed this; infinite if it never did."""
        return math.inf if self.read_at is None else time.monotonic() - self.read_at

    def same_contents(self, other: "Snapshot") -> bool:
        """Return whether both steer alike."""
        return (self.envelopes, self.flags, self.killed, self.breakers_forced, self.ownership) == (
            other.envelopes,
            other.flags,
            other.killed,
            other.breakers_forced,
            other.ownership,
        )


@runtime_checkable
class SnapshotSource(Protocol):
    """Where the envelopes come from: the plan, as far as the router knows it.

    Called by the poller's thread. It reads the database that holds the flags, or nothing at all: on SQLite it is not
    asked again before that database has changed.
    """

    def envelopes(self) -> Mapping[str, Envelope]:
        """Return the envelope of each service that has a plan."""


@runtime_checkable
class OwnershipSource(Protocol):
    """What a snapshot source offers besides, once data can move: who owns which bucket."""

    def ownership(self) -> Mapping[str, Ownership]:
        """Return the owners of each service whose data may move. Called by the poller's thread, like ``envelopes``."""

    def owner_now(self, service: str, bucket: int) -> Holder:
        """Return who owns one bucket at this moment. Called by a request that waits for it, so it is a short read."""


NOTHING = Snapshot(version=0)
"""What is known before anything was loaded: everything stays in legacy."""


class _Holder:
    """The snapshot of this process, and how to get the first one."""

    def __init__(self) -> None:
        self.snapshot = NOTHING
        self.start: Callable[[], None] | None = None
        """Called once per process, when the snapshot is asked for the first time."""
        self.started = False
        self.overrides: tuple[Snapshot, ...] = ()


_holder = _Holder()


def current() -> Snapshot:
    """Return the rules as this process knows them; the first call in a process loads them."""
    if _holder.overrides:
        return _holder.overrides[-1]
    if not _holder.started and _holder.start is not None:
        _holder.start()
    return _holder.snapshot


def at_hand() -> bool:
    """Return whether ``current`` answers at once; the first call in a process waits for the first rules."""
    return bool(_holder.overrides) or _holder.started or _holder.start is None


def publish(loaded: Snapshot) -> Snapshot:
    """Make what was loaded the current snapshot, with the next version if it differs from the one before."""
    before = _holder.snapshot
    version = before.version if before.version and before.same_contents(loaded) else before.version + 1
    _holder.snapshot = Snapshot(
        version=version,
        envelopes=MappingProxyType(dict(loaded.envelopes)),
        flags=MappingProxyType(dict(loaded.flags)),
        killed=loaded.killed,
        breakers_forced=MappingProxyType(dict(loaded.breakers_forced)),
        ownership=MappingProxyType(dict(loaded.ownership)),
        read_at=loaded.read_at if loaded.read_at is not None else time.monotonic(),
    )
    return _holder.snapshot


def confirm(read_at: float) -> None:
    """Note that the database was asked and the contents are still the same."""
    if _holder.snapshot.version:
        _holder.snapshot = dataclasses.replace(_holder.snapshot, read_at=read_at)


def innermost_override() -> Snapshot | None:
    """Return the snapshot that is overridden with now, if any."""
    return _holder.overrides[-1] if _holder.overrides else None


@contextmanager
def forgotten() -> Iterator[None]:
    """Let this process know nothing for a while, and then what it knew before."""
    before, _holder.snapshot = _holder.snapshot, NOTHING
    try:
        yield
    finally:
        _holder.snapshot = before


def load_on_first_use(start: Callable[[], None] | None) -> None:
    """Say who loads the first snapshot of a process."""
    _holder.start = start


def mark_started(started: bool = True) -> None:
    """Note that the loading is under way in this process, or that it has to begin anew."""
    _holder.started = started


@contextmanager
def overridden(snapshot: Snapshot) -> Iterator[Snapshot]:
    """Let every thread of this process see another snapshot for a while."""
    before = _holder.overrides
    _holder.overrides = (*before, snapshot)
    try:
        yield snapshot
    finally:
        _holder.overrides = before
