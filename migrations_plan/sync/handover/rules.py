"""What is to be done next about one bucket: a pure function of what both sides are to it, and of who is to own it.

``C1`` to ``C9`` are the lines of the table in docs/cutover.md. Whoever acts swaps a row by compare-and-swap and then
asks again, so any number may act at once, and may die after each step.
"""

from dataclasses import dataclass
from enum import StrEnum

from migrations_plan.sync.messages import BucketState, Change, Standing, State


class Do(StrEnum):
    """What is done next."""

    NOTHING = "nothing"
    """It is done: the side that is to own the bucket does."""
    LEARN = "learn"
    """A frozen side learns that the other one owns the bucket, and becomes its replica."""
    FREEZE = "freeze"
    """The owner stops writing; from here until the commit or the reopening, nobody does."""
    COMMIT = "commit"
    """The replica becomes the owner, once everything has arrived there. This decides it."""
    REOPEN = "reopen"
    """The frozen side becomes the owner again, after the other one refused."""
    REFUSE = "refuse"
    """The would-be owner raises its epoch, so that no commit that is still on its way can succeed."""
    LOOK_AGAIN = "look again"
    """The two rows were read at different moments."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """One step: at which side, and what is swapped for what."""

    do: Do
    line: str
    """Which line of the table it comes from."""
    at_target: bool = False
    """Whether it is done at the side that is to own the bucket, or at the other one."""
    change: Change | None = None
    late: bool = False
    """Whether an abort came too late: the other side had become the owner, and still is."""


def next_action(target: BucketState, source: BucketState) -> Action:
    """Return what is to be done for ``target``, which is to own the bucket; ``source`` is what the other side is."""
    match target.state:
        case State.OWNER:
            return _owned(target, source)
        case State.REPLICA:
            return _wanted(target, source)
        case State.FROZEN:
            return _taken_back(target, source)
    raise AssertionError(target.state)


def _owned(target: BucketState, source: BucketState) -> Action:
    if source.state is State.FROZEN and source.epoch <= target.epoch:
        return _act(Do.LEARN, "C1", source, State.REPLICA, source.epoch, settle=True)
    if source.state is State.REPLICA:
        return Action(do=Do.NOTHING, line="C2")
    return _torn()


def _wanted(target: BucketState, source: BucketState) -> Action:
    if source.state is State.OWNER and source.epoch >= target.epoch:
        return _act(Do.FREEZE, "C3", source, State.FROZEN, source.epoch + 1)
    if source.state is State.FROZEN and target.epoch < source.epoch:
        return _act(Do.COMMIT, "C4", target, State.OWNER, source.epoch, at_target=True)
    if source.state is State.FROZEN and target.epoch > source.epoch:
        return _act(Do.REOPEN, "C5", source, State.OWNER, target.epoch)
    return _torn()


def _taken_back(target: BucketState, source: BucketState) -> Action:
    if source.state is State.REPLICA and source.epoch < target.epoch:
        return _act(Do.REFUSE, "C6", source, State.REPLICA, target.epoch + 1)
    if source.state is State.REPLICA and source.epoch > target.epoch:
        return _act(Do.REOPEN, "C7", target, State.OWNER, source.epoch, at_target=True)
    if source.state is State.OWNER and source.epoch >= target.epoch:
        action = _act(Do.LEARN, "C8", target, State.REPLICA, target.epoch, settle=True, at_target=True)
        return Action(do=action.do, line=action.line, at_target=True, change=action.change, late=True)
    if source.state is State.FROZEN and source.epoch != target.epoch:
        lower, at_target = (target, True) if target.epoch < source.epoch else (source, False)
        return _act(Do.LEARN, "C9", lower, State.REPLICA, lower.epoch, settle=True, at_target=at_target)
    return _torn()


def _act(
    do: Do, line: str, old: BucketState, state: State, epoch: int, *, settle: bool = False, at_target: bool = False
) -> Action:
    change = Change(
        bucket=old.bucket,
        old=Standing(state=old.state, epoch=old.epoch),
        new=Standing(state=state, epoch=epoch),
        settle=settle,
    )
    return Action(do=do, line=line, at_target=at_target, change=change)


def _torn() -> Action:
    return Action(do=Do.LOOK_AGAIN, line="torn")
