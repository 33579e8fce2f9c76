"""What two answers about one aggregate mean: every combination, without a database."""

import itertools

import pytest

from migrations_plan.sync.comparison import Kind, Opinion, comparable, judge
from migrations_plan.sync.messages import BucketState, Entry, State

A, B, BAD = "a" * 32, "b" * 32, "!legacy: no such state"


def entry(gen: int | None, digest: str | None, acked: int | None = None) -> Entry | None:
    return None if gen is None and digest is None else Entry(key="1", bucket=0, gen=gen, digest=digest, acked=acked)


ROWS = [
    # owner: gen, digest, acked; replica: gen, digest; what it means, once everything is backfilled
    ((None, None, None), (None, None), Opinion.SAME, None),
    ((3, A, 3), (3, A), Opinion.SAME, None),
    ((3, A, 2), (3, A), Opinion.SAME, None),  # applied, and not acknowledged yet
    ((3, None, 3), (3, None), Opinion.SAME, None),
    ((None, A, None), (None, A), Opinion.SAME, None),  # the replica was the owner, and nobody has written since
    ((3, A, 3), (3, B), Opinion.CORRUPT, Kind.CHANGED),
    ((3, A, 2), (3, B), Opinion.CORRUPT, Kind.CHANGED),
    ((3, A, 3), (3, None), Opinion.CORRUPT, Kind.MISSING),
    ((3, None, 3), (3, B), Opinion.CORRUPT, Kind.EXTRA),
    ((3, BAD, 3), (3, BAD), Opinion.CORRUPT, Kind.CHANGED),
    ((3, A, 2), (2, B), Opinion.MOVING, None),
    ((3, A, 2), (2, A), Opinion.MOVING, None),
    ((3, None, 2), (2, B), Opinion.MOVING, None),
    ((1, A, 0), (None, None), Opinion.MOVING, None),
    ((1, A, 0), (None, B), Opinion.MOVING, None),
    ((3, A, 3), (2, A), Opinion.SUSPECT, Kind.VERSION),
    ((3, A, 3), (2, B), Opinion.SUSPECT, Kind.VERSION),
    ((3, A, 3), (None, A), Opinion.SUSPECT, Kind.VERSION),
    ((3, A, 3), (None, None), Opinion.SUSPECT, Kind.MISSING),
    ((3, None, 3), (None, B), Opinion.SUSPECT, Kind.EXTRA),
    ((3, None, 3), (None, None), Opinion.SUSPECT, Kind.VERSION),  # a late message could bring it back
    ((3, A, 2), (4, A), Opinion.SUSPECT, Kind.VERSION),
    ((3, A, 3), (4, B), Opinion.SUSPECT, Kind.VERSION),
    ((None, None, None), (2, A), Opinion.SUSPECT, Kind.EXTRA),
    ((None, None, None), (2, None), Opinion.SUSPECT, Kind.VERSION),
    ((None, None, None), (None, A), Opinion.CORRUPT, Kind.EXTRA),
    ((None, A, None), (None, None), Opinion.CORRUPT, Kind.UNMARKED),
    ((None, A, None), (None, B), Opinion.CORRUPT, Kind.UNMARKED),
    ((None, A, None), (2, A), Opinion.CORRUPT, Kind.UNMARKED),
]


@pytest.mark.parametrize(("owner", "replica", "opinion", "kind"), ROWS)
def test_each_combination(
    owner: tuple[int | None, str | None, int | None],
    replica: tuple[int | None, str | None],
    opinion: Opinion,
    kind: Kind | None,
) -> None:
    assert judge(entry(*owner), entry(*replica), backfilled=True) == (opinion, kind)


@pytest.mark.parametrize(("gen", "digest"), [(None, None), (None, B), (2, A)])
def test_what_the_backfill_has_not_reached_is_no_fault(gen: int | None, digest: str | None) -> None:
    assert judge(entry(None, A), entry(gen, digest), backfilled=False) == (Opinion.PENDING, None)


def test_nothing_is_same_that_has_other_contents() -> None:
    gens, digests = (None, 1, 2), (None, A, B, BAD)
    for gen, acked, has, applied, had in itertools.product(gens, (0, 1, 2), digests, gens, digests):
        for backfilled in (True, False):
            opinion, _ = judge(entry(gen, has, acked), entry(applied, had), backfilled=backfilled)
            assert (opinion is Opinion.SAME) == ((gen, has) == (applied, had) and has != BAD)


@pytest.mark.parametrize(
    ("owner", "replica", "wanted"),
    [
        ((State.OWNER, 3), (State.REPLICA, 3), True),
        ((State.OWNER, 3), (State.REPLICA, 1), True),
        ((State.OWNER, 3), (State.REPLICA, 4), False),
        ((State.FROZEN, 3), (State.REPLICA, 1), False),
        ((State.REPLICA, 1), (State.OWNER, 3), False),
        ((State.REPLICA, 3), (State.REPLICA, 3), False),
        ((State.OWNER, 3), (State.OWNER, 2), False),
        ((State.FROZEN, 3), (State.OWNER, 3), False),
        (None, (State.REPLICA, 1), False),
        ((State.OWNER, 1), None, False),
    ],
)
def test_only_an_owner_with_its_replica_can_be_compared(
    owner: tuple[State, int] | None, replica: tuple[State, int] | None, wanted: bool
) -> None:
    one, two = (None if it is None else BucketState(bucket=0, state=it[0], epoch=it[1]) for it in (owner, replica))
    assert comparable(one, two) is wanted
