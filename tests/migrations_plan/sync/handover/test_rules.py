"""The table of the protocol, searched exhaustively: coordinators that look at different moments, act late, or die.

Two coordinators, each with what it has seen of either side and the swap it is about to make; the goal changes under
them. In no state are there two owners or two replicas, no epoch falls, and from every state one coordinator alone gets
the bucket to its goal. Each rule that is taken out leads to a state in which that is not so.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from migrations_plan.sync.handover.rules import Action, Do, next_action
from migrations_plan.sync.messages import BucketState, Change, Standing, State

pytestmark = pytest.mark.any_database

OWNER, FROZEN, REPLICA = State.OWNER, State.FROZEN, State.REPLICA
HIGHEST_EPOCH, CHANGES_OF_MIND, COORDINATORS = 7, 3, 2
Row = tuple[State, int]
Decide = Callable[[BucketState, BucketState], Action]


class Seen(NamedTuple):
    """What a coordinator holds: the goal it read, both rows as it read them, and the swap it decided on."""

    goal: int
    rows: tuple[Row | None, Row | None]
    swap: tuple[int, Row, Row] | None


NOTHING_SEEN = Seen(0, (None, None), None)


class World(NamedTuple):
    """One bucket: what each side is to it, who is to own it, how often that may change, what coordinators hold."""

    rows: tuple[Row, Row]
    goal: int
    minds: int
    coordinators: tuple[Seen, ...]


@dataclass(frozen=True)
class Protocol:
    """What is searched: how the next step is chosen, and how a row is swapped."""

    decide: Decide = next_action
    compare: bool = True
    """Whether a swap looks at what stands there."""


def state(row: Row) -> BucketState:
    return BucketState(bucket=0, state=row[0], epoch=row[1])


def chosen(protocol: Protocol, goal: int, rows: tuple[Row, Row]) -> tuple[int, Row, Row] | None:
    action = protocol.decide(state(rows[goal]), state(rows[1 - goal]))
    if action.change is None:
        return None
    old, new = action.change.old, action.change.new
    return (goal if action.at_target else 1 - goal), (old.state, old.epoch), (new.state, new.epoch)


def swapped(protocol: Protocol, rows: tuple[Row, Row], swap: tuple[int, Row, Row]) -> tuple[Row, Row]:
    side, old, new = swap
    if protocol.compare and rows[side] != old:
        return rows
    changed = list(rows)
    changed[side] = new
    return changed[0], changed[1]


def steps(protocol: Protocol, world: World) -> Iterator[World]:
    """Yield what may happen next: a change of mind, or a coordinator that reads, decides, swaps or dies."""
    if world.minds:
        yield world._replace(goal=1 - world.goal, minds=world.minds - 1)
    for place, seen in enumerate(world.coordinators):
        for after, rows in coordinator_steps(protocol, world, seen):
            held = sorted((*world.coordinators[:place], after, *world.coordinators[place + 1 :]), key=repr)
            yield world._replace(rows=rows, coordinators=tuple(held))


def coordinator_steps(protocol: Protocol, world: World, seen: Seen) -> Iterator[tuple[Seen, tuple[Row, Row]]]:
    if seen.swap is not None:
        yield NOTHING_SEEN, swapped(protocol, world.rows, seen.swap)
        yield NOTHING_SEEN, world.rows  # it died, or its swap got lost
        return
    if seen.rows == (None, None):
        for first in (0, 1):
            rows: list[Row | None] = [None, None]
            rows[first] = world.rows[first]
            yield Seen(world.goal, (rows[0], rows[1]), None), world.rows
        return
    one, other = (world.rows[place] if row is None else row for place, row in enumerate(seen.rows))
    swap = chosen(protocol, seen.goal, (one, other))
    yield (NOTHING_SEEN if swap is None else Seen(seen.goal, (one, other), swap)), world.rows


def problem(before: World | None, world: World, protocol: Protocol) -> str:
    """Return what is wrong in a state; empty if nothing is."""
    states = [row[0] for row in world.rows]
    if states == [OWNER, OWNER]:
        return "two owners"
    if states == [REPLICA, REPLICA]:
        return "two replicas"
    if before is not None and any(new[1] < old[1] for old, new in zip(before.rows, world.rows, strict=True)):
        return "an epoch fell"
    return "" if ends(protocol, world) else "it never ends"


def ends(protocol: Protocol, world: World) -> bool:
    """Return whether one coordinator alone brings the bucket to its goal."""
    rows = world.rows
    for _ in range(20):
        swap = chosen(protocol, world.goal, rows)
        if swap is None:
            return rows[world.goal][0] is OWNER and rows[1 - world.goal][0] is REPLICA
        rows = swapped(protocol, rows, swap)
    return False


def search(protocol: Protocol) -> tuple[str, int]:
    """Return the first thing that goes wrong, empty if nothing does, and how many states were seen."""
    start = World(((OWNER, 1), (REPLICA, 1)), 0, CHANGES_OF_MIND, (NOTHING_SEEN,) * COORDINATORS)
    queue, known = deque([start]), {start}
    while queue:
        world = queue.popleft()
        for after in steps(protocol, world):
            if after in known or max(row[1] for row in after.rows) > HIGHEST_EPOCH:
                continue
            found = problem(world, after, protocol)
            if found:
                return found, len(known)
            known.add(after)
            queue.append(after)
    return "", len(known)


def test_nothing_goes_wrong() -> None:
    found, states = search(Protocol())
    assert found == ""
    assert states > 1_000


# --- what taking a rule out means --------------------------------------------------------------------------------
def reopening_without_refusing(target: BucketState, source: BucketState) -> Action:
    action = next_action(target, source)
    if action.do is Do.REFUSE:
        return changed(target, OWNER, target.epoch + 1, Do.REOPEN, at_target=True)
    return action


def committing_whatever_the_epoch(target: BucketState, source: BucketState) -> Action:
    action = next_action(target, source)
    if target.state is REPLICA and source.state is FROZEN:
        return changed(target, OWNER, source.epoch, Do.COMMIT, at_target=True)
    return action


def committing_without_freezing(target: BucketState, source: BucketState) -> Action:
    action = next_action(target, source)
    if action.do is Do.FREEZE:
        return changed(target, OWNER, source.epoch + 1, Do.COMMIT, at_target=True)
    return action


def learning_before_the_commit(target: BucketState, source: BucketState) -> Action:
    action = next_action(target, source)
    if action.do is Do.COMMIT:
        return changed(source, REPLICA, source.epoch, Do.LEARN, at_target=False)
    return action


def freezing_in_the_same_epoch(target: BucketState, source: BucketState) -> Action:
    action = next_action(target, source)
    if action.do is Do.FREEZE:
        return changed(source, FROZEN, source.epoch, Do.FREEZE, at_target=False)
    return action


def changed(old: BucketState, new: State, epoch: int, do: Do, *, at_target: bool) -> Action:
    change = Change(
        bucket=old.bucket, old=Standing(state=old.state, epoch=old.epoch), new=Standing(state=new, epoch=epoch)
    )
    return Action(do=do, line="broken", at_target=at_target, change=change)


@pytest.mark.parametrize(
    "broken",
    [
        Protocol(compare=False),
        Protocol(decide=reopening_without_refusing),
        Protocol(decide=committing_whatever_the_epoch),
        Protocol(decide=committing_without_freezing),
        Protocol(decide=learning_before_the_commit),
        Protocol(decide=freezing_in_the_same_epoch),
    ],
    ids=lambda broken: getattr(broken.decide, "__name__", "") if broken.compare else "without_comparing",
)
def test_each_rule_is_needed(broken: Protocol) -> None:
    found, _ = search(broken)
    assert found


# --- the lines, one by one -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("target", "source", "line", "do"),
    [
        ((OWNER, 3), (FROZEN, 3), "C1", Do.LEARN),
        ((OWNER, 3), (FROZEN, 2), "C1", Do.LEARN),
        ((OWNER, 3), (REPLICA, 2), "C2", Do.NOTHING),
        ((REPLICA, 1), (OWNER, 1), "C3", Do.FREEZE),
        ((REPLICA, 1), (OWNER, 4), "C3", Do.FREEZE),
        ((REPLICA, 1), (FROZEN, 2), "C4", Do.COMMIT),
        ((REPLICA, 3), (FROZEN, 2), "C5", Do.REOPEN),
        ((FROZEN, 2), (REPLICA, 1), "C6", Do.REFUSE),
        ((FROZEN, 2), (REPLICA, 3), "C7", Do.REOPEN),
        ((FROZEN, 2), (OWNER, 2), "C8", Do.LEARN),
        ((FROZEN, 2), (FROZEN, 3), "C9", Do.LEARN),
        ((FROZEN, 3), (FROZEN, 2), "C9", Do.LEARN),
        ((OWNER, 2), (FROZEN, 3), "torn", Do.LOOK_AGAIN),
        ((OWNER, 2), (OWNER, 2), "torn", Do.LOOK_AGAIN),
        ((REPLICA, 2), (REPLICA, 2), "torn", Do.LOOK_AGAIN),
        ((FROZEN, 2), (REPLICA, 2), "torn", Do.LOOK_AGAIN),
    ],
)
def test_the_table(target: Row, source: Row, line: str, do: Do) -> None:
    action = next_action(state(target), state(source))
    assert (action.line, action.do) == (line, do)


def test_a_change_of_hands_raises_the_epoch_once() -> None:
    rows = ((OWNER, 1), (REPLICA, 1))
    taken = []
    while (action := next_action(state(rows[1]), state(rows[0]))).change is not None:
        taken.append(action.do)
        rows = swapped(Protocol(), rows, chosen(Protocol(), 1, rows))  # type: ignore[arg-type]
    assert taken == [Do.FREEZE, Do.COMMIT, Do.LEARN]
    assert rows == ((REPLICA, 2), (OWNER, 2))


def test_an_abort_that_comes_too_late_says_so() -> None:
    assert next_action(state((FROZEN, 2)), state((OWNER, 2))).late
    assert not next_action(state((FROZEN, 2)), state((REPLICA, 1))).late


def test_learning_settles_what_is_marked() -> None:
    learn = next_action(state((OWNER, 2)), state((FROZEN, 2))).change
    assert learn is not None
    assert learn.settle
