"""What has to hold before a bucket may change hands: asked of both sides, and each answer says what to do about it."""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.utils import timezone

from migrations_plan.sync import ids, verify
from migrations_plan.sync.aggregates import Aggregate, members
from migrations_plan.sync.buckets import BUCKETS
from migrations_plan.sync.errors import PeerUnavailable, SyncError
from migrations_plan.sync.messages import Outcome, Side
from migrations_plan.sync.models import Applied, Mark, ParkedDocument

SAMPLE = 20
"""Documents that are rehearsed on the way back, per aggregate."""
MOST_WAITING = 2_000
"""So many changes on their way are more than a bucket that nobody may write could wait for."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that has to hold."""

    name: str
    ok: bool
    told: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which change of hands it is about."""

    aggregate: Aggregate
    to: str
    buckets: tuple[int, ...]
    sides: Mapping[str, Side]
    verified_within: timedelta
    least_compared: int = 1

    @property
    def source(self) -> Side:
        """Return the side that is to give the buckets up."""
        return next(side for name, side in self.sides.items() if name != self.to)

    @property
    def target(self) -> Side:
        """Return the side that is to get them."""
        return self.sides[self.to]


def preflight(asked: Asked) -> tuple[Check, ...]:
    """Ask everything; a side that does not answer fails what it was asked, and the rest is asked all the same."""
    sides: Any = {name: _UntilSilent(side) for name, side in asked.sides.items()}
    asked = replace(asked, sides=sides)
    return tuple(_asked(name, check, asked) for name, check in CHECKS.items())


class _UntilSilent:
    """A side that is waited for only once: what gave no answer fails the further questions at once."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._silent: PeerUnavailable | None = None

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def ask(*given: Any, **named: Any) -> Any:
            if self._silent is not None:
                raise self._silent
            try:
                return getattr(self._side, verb)(*given, **named)
            except PeerUnavailable as away:
                if not away.busy:
                    self._silent = away
                raise

        return ask


def _asked(name: str, check: Callable[[Asked], Check], asked: Asked) -> Check:
    try:
        return check(asked)
    except SyncError as error:
        return Check(name=name, ok=False, told=str(error))


def _triggers(asked: Asked) -> Check:
    problems = [f"{name}: {told}" for name, side in asked.sides.items() for told in side.fitness(_name(asked)).problems]
    advice = f" `sync install {_name(asked)}` there puts them back." if problems else ""
    return _check("triggers", problems, "Both sides see and fence every change.", advice)


def _ids(asked: Asked) -> Check:
    here, there = (
        [ids.Range(part=one.part, first=one.first, next=one.next) for one in side.fitness(_name(asked)).mints]
        for side in asked.sides.values()
    )
    problems = ids.problems(here, there)
    return _check("ids", problems, "The two sides mint ids from ranges of their own.")


def _verification(asked: Asked) -> Check:
    problems = [problem for one in _together(asked) for problem in _unverified(one, asked)]
    fine = f"All rows were compared in the last {_told(asked.verified_within)}, and are equal."
    return _check("verification", problems, fine)


def _unverified(aggregate: Aggregate, asked: Asked) -> Iterator[str]:
    advice = f"`sync verify {aggregate.name}` compares both sides."
    found = verify.latest(aggregate)
    if found is None or found.finished_at is None:
        yield f"{aggregate.name} was never verified. {advice}"
        return
    age = timezone.now() - found.started_at
    if age > asked.verified_within:
        yield f"{aggregate.name} was verified {_told(age)} ago; {_told(asked.verified_within)} is the most. {advice}"
    if found.corrupt:
        yield f"{aggregate.name}: {found.corrupt} differ. `sync verify {aggregate.name} --repair` mends them."
    if found.unresolved + found.pending:
        yield f"{aggregate.name}: {found.unresolved + found.pending} were still on their way. {advice}"
    if aggregate.name == asked.aggregate.name and found.compared < asked.least_compared:
        yield f"{aggregate.name}: {found.compared} were compared, {asked.least_compared} are wanted. {advice}"


def _way_back(asked: Asked) -> Check:
    """Rehearse documents of the replica at the owner: once ownership has changed, that is the way they go."""
    problems, rehearsed = [], 0
    for aggregate in _together(asked):
        # A single bucket may hold nothing yet; what others hold shows as well whether the way is open.
        keys = last_keys(aggregate, asked.buckets) or last_keys(aggregate, range(BUCKETS))
        documents = asked.target.documents(aggregate.name, keys) if keys else ()
        for result in asked.source.rehearse(aggregate.name, documents) if documents else ():
            rehearsed += 1
            if result.outcome is not Outcome.APPLIED:
                problems.append(f"{aggregate.name} {result.key} could not come back: {result.reason}")
    fine = f"{rehearsed} documents went the way back, were applied, compared and rolled back."
    return _check("way back", problems, fine)


def _queue(asked: Asked) -> Check:
    problems = []
    looked = asked.source.look(_name(asked), asked.buckets)
    waiting = sum(one.waiting for one in looked)
    if waiting > MOST_WAITING:
        problems.append(f"{waiting} changes are on their way. Wait until the relay has caught up.")
    for aggregate in _together(asked):
        alias = aggregate.alias
        held = Mark.objects.using(alias).filter(
            aggregate=aggregate.name, bucket__in=asked.buckets, retry_at__isnull=False, tries__gt=1
        )
        parked = ParkedDocument.objects.using(alias).filter(aggregate=aggregate.name, bucket__in=asked.buckets)
        stuck = held.count() + parked.count()
        if stuck:
            problems.append(f"{stuck} documents were not taken. `sync waiting {aggregate.name}` says why.")
    return _check("queue", problems, f"{waiting} changes are on their way, and none was refused.")


def _backfill(asked: Asked) -> Check:
    looked = asked.source.look(_name(asked), asked.buckets)
    missing = [one.bucket for one in looked if not one.backfilled and one.state.value != "replica"]
    problems = [f"Of {len(missing)} buckets not every key was marked."] if missing else []
    return _check("backfill", problems, "Every key was marked.", f" `sync backfill {_name(asked)}` goes on with it.")


CHECKS: dict[str, Callable[[Asked], Check]] = {
    "triggers": _triggers,
    "ids": _ids,
    "backfill": _backfill,
    "queue": _queue,
    "verification": _verification,
    "way back": _way_back,
}
"""By name; a side that does not answer fails each that asks it."""


def _check(name: str, problems: Collection[str], fine: str, advice: str = "") -> Check:
    return Check(name=name, ok=not problems, told=" ".join(problems) + advice if problems else fine)


def _name(asked: Asked) -> str:
    return asked.aggregate.name


def _together(asked: Asked) -> tuple[Aggregate, ...]:
    return members(asked.aggregate.group) or (asked.aggregate,)


def last_keys(aggregate: Aggregate, buckets: Collection[int]) -> tuple[str, ...]:
    """Return some keys of the buckets: by turns of those first changed here last, and of those that came last."""
    by_model = []
    for model in (Mark, Applied):
        rows = model._default_manager.using(aggregate.alias).filter(
            aggregate=aggregate.name, bucket__in=buckets, deleted=False
        )
        by_model.append(rows.order_by("-id").values_list("key", flat=True)[:SAMPLE])
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_model))
    return tuple(dict.fromkeys(key for key in turns if key is not None))[:SAMPLE]


def _told(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    return f"{minutes:.0f} min" if minutes >= 1 else f"{span.total_seconds():.0f} s"
