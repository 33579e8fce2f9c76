"""Move buckets, one at a time; end what was begun; say what is where. The public face of a change of hands."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from threading import Event
from typing import Any

from django.utils import timezone

from migrations_plan.sync import leases, sides
from migrations_plan.sync.aggregates import Aggregate, find
from migrations_plan.sync.buckets import BUCKETS
from migrations_plan.sync.conf import conf
from migrations_plan.sync.errors import PeerRefused, PeerUnavailable, SyncError
from migrations_plan.sync.handover import audit, goals
from migrations_plan.sync.handover.coordinator import Done, NotYet, Terms, Undecided, drive
from migrations_plan.sync.handover.preflight import Asked, Check, preflight
from migrations_plan.sync.handover.recheck import rechecked
from migrations_plan.sync.messages import BucketState, Side, State

logger = logging.getLogger("strangler.handover")

ROUNDS = 3
"""How often buckets that could not be moved are tried in one run."""
VERIFIED_WITHIN = timedelta(minutes=15)
LEASE_SECONDS = 3.0
"""Nobody writes in a bucket whose coordinator has died, so the next one may come sooner than for other work. It may
come too soon: two coordinators at once do no harm."""


class NotReadyToMove(SyncError):
    """Something that has to hold before buckets change hands does not."""

    def __init__(self, checks: Iterable[Check]) -> None:
        self.failed = tuple(check for check in checks if not check.ok)
        super().__init__(" ".join(f"{check.name}: {check.told}" for check in self.failed))


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a run did."""

    aggregate: str
    to: str
    moved: tuple[int, ...]
    there: int
    """How many of the buckets are at the wanted side now."""
    wanted: int
    stayed: Mapping[int, str] = field(default_factory=dict)
    """The buckets that are where they were, and why."""
    undecided: Mapping[int, str] = field(default_factory=dict)
    """The buckets that are in between: nobody writes there until a coordinator can go on."""
    held: audit.Held = field(default_factory=lambda: audit.Held(count=0))

    @property
    def done(self) -> bool:
        """Return whether every bucket is where it was to be."""
        return self.there == self.wanted

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {**asdict(self), "done": self.done}


@dataclass(frozen=True, kw_only=True)
class Homecoming:
    """What moving buckets has to bring along, and how long that takes."""

    aggregate: str
    to: str
    buckets: tuple[int, ...]
    """Those that are not there."""
    waiting: int
    """Aggregates that were changed and have not arrived there yet."""
    intents: int
    """Pieces of work that have to end first."""
    seconds: float
    """About so long it takes, by what earlier changes of hands took."""


def both_sides(name: str) -> dict[str, Side]:
    """Return the two sides of an aggregate by their names."""
    here, there = sides.here(), sides.there(name)
    return {here.name: here, there.name: there}


def look_before(
    name: str,
    to: str,
    buckets: Iterable[int] = range(BUCKETS),
    *,
    verified_within: timedelta = VERIFIED_WITHIN,
    least_compared: int = 1,
    between: Mapping[str, Side] | None = None,
) -> tuple[Check, ...]:
    """Return what has to hold before buckets change hands, and whether it does; nothing is changed by it."""
    asked = Asked(
        aggregate=find(name),
        to=to,
        buckets=tuple(sorted(set(buckets))),
        sides=between or both_sides(name),
        verified_within=verified_within,
        least_compared=least_compared,
    )
    return preflight(asked)


def move(
    name: str,
    to: str,
    buckets: Iterable[int],
    *,
    actor: str = "",
    progress: Callable[[str], None] = lambda text: None,
    terms: Terms | None = None,
    between: Mapping[str, Side] | None = None,
) -> Moved:
    """Have a side own these buckets, in ascending order, each in transactions of its own.

    First it is announced which they are, and given time to get around: routers read by what they know, and a copy that
    has just been left behind is no place to read from. Raises Busy while another one is at it. Whether it may be done
    at all is ``look_before``'s to say.
    """
    aggregate = find(name)
    run = _Run(aggregate=aggregate, to=to, sides=between or both_sides(name), actor=actor, progress=progress)
    wanted, since = tuple(sorted(set(buckets))), timezone.now()
    with _alone(aggregate) as lease:
        run.terms = terms or Terms(
            wait=_waiting(lease), frozen=rechecked(aggregate, run.sides), announce_seconds=conf().announce_seconds
        )
        waiting = _elsewhere(run, wanted)
        there = len(wanted) - len(waiting)
        goals.settle(aggregate, set(wanted) - set(waiting), to, actor)
        with _announced(run, waiting):
            for _ in range(ROUNDS):
                for bucket in waiting:
                    lease.renew()
                    _move_one(run, bucket)
                    progress(f"{there + len(run.moved)} of {len(wanted)} buckets are at {to}")
                    if run.away:
                        break
                waiting = tuple(run.stayed)
                if not waiting or run.away:
                    break
    return Moved(
        aggregate=name,
        to=to,
        moved=tuple(run.moved),
        there=there + len(run.moved),
        wanted=len(wanted),
        stayed=dict(run.stayed),
        undecided=dict(run.undecided),
        held=audit.held_since(aggregate, since),
    )


def resume(name: str, *, terms: Terms | None = None, between: Mapping[str, Side] | None = None) -> tuple[int, ...]:
    """End every change of hands that was begun and that nobody is at; return the buckets that were in between.

    What was only intended is given up: to begin is for those who looked before.
    """
    aggregate = find(name)
    found = between or both_sides(name)
    with _alone(aggregate) as lease:
        ending = Terms(begin=False, wait=_waiting(lease), frozen=rechecked(aggregate, found))
        states = _states(aggregate, found)
        buckets = [bucket for bucket in range(BUCKETS) if _in_between(states, bucket)]
        begun = set(goals.goals(aggregate, buckets))
        for bucket in goals.unreached(aggregate):
            if bucket not in buckets:
                _settle_goal(aggregate, states, bucket)
        for bucket in buckets:
            lease.renew()
            try:
                if bucket not in begun:  # somebody froze it, and nobody says what for: its side gets it back
                    goals.set_goals(aggregate, [bucket], _frozen_side(aggregate, states, bucket), actor="sweeper")
                drive(aggregate, bucket, found, terms or ending)
            except NotYet as reason:
                logger.warning("%s %s: %s", aggregate.group, bucket, reason)
            except Undecided as reason:  # the others can be helped all the same
                logger.error("%s %s: %s", aggregate.group, bucket, reason)
    return tuple(buckets)


def _alone(aggregate: Aggregate) -> AbstractContextManager[leases.Held]:
    """Be the only coordinator of an aggregate for the length of the block, as far as leases can tell."""
    return leases.held(aggregate.alias, f"handover {aggregate.group}", min(LEASE_SECONDS, conf().lease_seconds))


def _waiting(lease: leases.Held) -> Callable[[float], None]:
    """Return what waits without losing the lease."""

    def wait(seconds: float) -> None:
        lease.renew()
        pause(seconds)

    return wait


def in_between(name: str, *, between: Mapping[str, Side] | None = None) -> tuple[int, ...]:
    """Return the buckets that a coordinator has to go on with."""
    aggregate = find(name)
    states = _states(aggregate, between or both_sides(name))
    unreached = set(goals.unreached(aggregate))
    return tuple(bucket for bucket in range(BUCKETS) if bucket in unreached or _in_between(states, bucket))


def homecoming(
    name: str, to: str, buckets: Iterable[int] = range(BUCKETS), *, between: Mapping[str, Side] | None = None
) -> Homecoming:
    """Return what it takes to bring buckets to a side."""
    aggregate, found, wanted = find(name), between or both_sides(name), set(buckets)
    states = found[to].ownership(name)
    away = tuple(one.bucket for one in states if one.bucket in wanted and one.state is not State.OWNER)
    source = next(side for side_name, side in found.items() if side_name != to)
    looked = source.look(name, away) if away else ()
    held = audit.held_since(aggregate, timezone.now() - timedelta(days=7))
    each = max((held.p50_ms or 0) / 1000, SECONDS_EACH)
    waiting = sum(one.waiting for one in looked)
    return Homecoming(
        aggregate=name,
        to=to,
        buckets=away,
        waiting=waiting,
        intents=sum(one.intents for one in looked),
        seconds=len(away) * each + waiting / DOCUMENTS_A_SECOND,
    )


SECONDS_EACH = 0.1
"""What a change of hands takes at least, where none was measured."""
DOCUMENTS_A_SECOND = 500.0


@dataclass(kw_only=True)
class _Run:
    aggregate: Aggregate
    to: str
    sides: Mapping[str, Side]
    actor: str
    progress: Callable[[str], None]
    terms: Terms = field(default_factory=Terms)
    moved: list[int] = field(default_factory=list)
    stayed: dict[int, str] = field(default_factory=dict)
    undecided: dict[int, str] = field(default_factory=dict)
    away: bool = False


@contextmanager
def _announced(run: _Run, buckets: tuple[int, ...]) -> Iterator[None]:
    """Say that these buckets are about to change hands; take it back, in the end, of those whose turn never came."""
    states = _states(run.aggregate, run.sides)
    untouched = {bucket for bucket in buckets if not _in_between(states, bucket)}
    goals.set_goals(run.aggregate, buckets, run.to, run.actor)
    if buckets:
        run.terms.wait(run.terms.announce_seconds)
    try:
        yield
    finally:
        never = untouched - {*run.moved, *run.stayed, *run.undecided}
        goals.settle(run.aggregate, never, next(name for name in run.sides if name != run.to), run.actor)


def _move_one(run: _Run, bucket: int) -> Done | None:
    goals.set_goals(run.aggregate, [bucket], run.to, run.actor)
    try:
        done = drive(run.aggregate, bucket, run.sides, run.terms)
    except NotYet as reason:
        run.stayed[bucket] = str(reason)
        goals.set_goals(run.aggregate, [bucket], next(name for name in run.sides if name != run.to), run.actor)
        return None
    except (Undecided, PeerUnavailable, PeerRefused) as trouble:
        run.stayed.pop(bucket, None)
        run.undecided[bucket] = str(trouble)
        run.away = True
        return None
    run.stayed.pop(bucket, None)
    if done.owner == run.to:
        run.moved.append(bucket)
    else:
        run.stayed[bucket] = f"Somebody wanted it at {done.owner} meanwhile."
    return done


def _elsewhere(run: _Run, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return those of the buckets that are not at the wanted side, or not wholly."""
    states = _states(run.aggregate, run.sides)
    other = next(name for name in run.sides if name != run.to)
    return tuple(
        bucket
        for bucket in wanted
        if (states[run.to][bucket].state, states[other][bucket].state) != (State.OWNER, State.REPLICA)
    )


def _states(aggregate: Aggregate, found: Mapping[str, Side]) -> dict[str, dict[int, BucketState]]:
    states = {name: {one.bucket: one for one in side.ownership(aggregate.name)} for name, side in found.items()}
    for name, known in states.items():
        if len(known) != BUCKETS:
            raise NotYet(
                f"{name} says who it is to {len(known)} of {BUCKETS} buckets of {aggregate.group}. "
                f"`sync install {aggregate.name}` there writes it down."
            )
    return states


def _in_between(states: Mapping[str, Mapping[int, BucketState]], bucket: int) -> bool:
    return {one[bucket].state for one in states.values()} != {State.OWNER, State.REPLICA}


def _frozen_side(aggregate: Aggregate, states: Mapping[str, Mapping[int, BucketState]], bucket: int) -> str:
    owning = [name for name, known in states.items() if known[bucket].state is State.OWNER]
    frozen = [(known[bucket].epoch, name) for name, known in states.items() if known[bucket].state is State.FROZEN]
    if not owning and not frozen:
        raise Undecided(
            f"Both sides say that they are the replica of bucket {bucket} of {aggregate.group}: nobody writes there. "
            "Has one of their databases been restored from a backup? `sync owners` shows both."
        )
    return owning[0] if owning else max(frozen)[1]


def _settle_goal(aggregate: Aggregate, states: Mapping[str, Mapping[int, BucketState]], bucket: int) -> None:
    (owner,) = (name for name, known in states.items() if known[bucket].state is State.OWNER)
    goals.settle(aggregate, [bucket], owner, actor="sweeper")


def pause(seconds: float) -> None:
    """Do nothing for some time."""
    Event().wait(seconds)
