"""Every reason has a row, and what is needed for a decision is known beforehand."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.buckets import bucket
from router.decide import RULES, Decision, Facts, decide, decide_for, needs_identity
from router.holders import Ownership
from router.routes import Kind, Route, Scatter, Visitor
from router.shadow import sampling
from router.snapshot import NOTHING, Envelope, FlagRule, Snapshot

READ = Route(service="orders", name="list", pattern="/orders/", key=Visitor())
WRITE = Route(service="orders", name="place", pattern="/orders/", methods=("POST",), key=Visitor())
STAFF = Route(service="orders", name="all", pattern="/all/", key=Scatter())

KEYS = {bucket("orders", str(key)): str(key) for key in range(5_000, 0, -1)}
"""A customer in each bucket."""


def snapshot(
    *,
    reads: int = 0,
    writes: int = 0,
    shadow: int = 0,
    shadow_store: str = "",
    flags: tuple[FlagRule, ...] = (),
    killed: tuple[str, ...] = (),
    owned: Ownership | None = None,
) -> Snapshot:
    envelope = Envelope(step="shared.reads@10", reads=reads, writes=writes, shadow=shadow, shadow_store=shadow_store)
    return Snapshot(
        envelopes={"orders": envelope},
        flags={rule.name: rule for rule in flags},
        killed=frozenset(killed),
        ownership={} if owned is None else {"orders": owned},
    )


def reads(**rule: Any) -> tuple[FlagRule, ...]:
    return (FlagRule(name="orders.reads", **rule),)


def by(in_bucket: int | None, *, route: Route = READ, method: str = "GET", **facts: Any) -> Facts:
    key = None if in_bucket is None else KEYS[in_bucket]
    return Facts(method=method, route=route, key=key, subject=facts.pop("subject", key), **facts)


SOME = Ownership(extracted=frozenset(range(25)), changing=frozenset({25}))
ALL = Ownership(extracted=frozenset(range(100)))


def write(in_bucket: int | None) -> Facts:
    return by(in_bucket, route=WRITE, method="POST")


TABLE: list[tuple[str, Facts, Snapshot, str, str]] = [
    (
        "nothing loaded yet",
        by(0),
        NOTHING,
        "no-snapshot",
        "legacy answers: this process has not been able to read the routing rules yet",
    ),
    (
        "all killed",
        by(0),
        snapshot(reads=100, killed=("strangler.off",)),
        "killed",
        "legacy answers: the kill switch strangler.off is on",
    ),
    (
        "the service killed",
        by(0),
        snapshot(reads=100, killed=("orders.off",)),
        "killed",
        "legacy answers: the kill switch orders.off is on",
    ),
    ("no plan", by(0), Snapshot(), "no-plan", "legacy answers: orders has no plan"),
    ("envelope closed", by(0), snapshot(reads=0), "not-yet", "shared.reads@10 diverts none of the reads of orders"),
    (
        "flag off",
        by(0),
        snapshot(reads=10, flags=reads(everyone=False, users=frozenset({KEYS[0]}))),
        "flag-off",
        "the flag orders.reads is off for everyone",
    ),
    (
        "flag at nothing",
        by(0),
        snapshot(reads=100, flags=reads(percent=0)),
        "flag-nobody",
        "the flag orders.reads lets nobody in",
    ),
    (
        "flag with no rule",
        by(0),
        snapshot(reads=100, flags=reads()),
        "flag-nobody",
        "the flag orders.reads lets nobody in",
    ),
    ("all", by(99), snapshot(reads=100), "everyone", "shared.reads@10 diverts all reads of orders"),
    ("all, without a key", by(None), snapshot(reads=100), "everyone", "shared.reads@10 diverts all reads of orders"),
    (
        "all by percentage, scattered",
        by(None, route=STAFF),
        snapshot(reads=100, flags=reads(percent=100)),
        "everyone",
        "shared.reads@10 diverts all reads of orders",
    ),
    (
        "no key in an open envelope",
        by(None),
        snapshot(reads=99),
        "no-key",
        "the request has no partition key; such traffic moves last, at 100 %, and orders.reads is at 99 %",
    ),
    (
        "no key under a flag",
        by(None),
        snapshot(reads=100, flags=reads(percent=99)),
        "no-key",
        "the request has no partition key; such traffic moves last, at 100 %, and orders.reads is at 99 %",
    ),
    (
        "no key, though a tester",
        by(None, route=STAFF, subject="7"),
        snapshot(reads=100, flags=reads(users=frozenset({"7"}))),
        "no-key",
        "the request has no partition key; such traffic moves last, at 100 %, and orders.reads is at 0 %",
    ),
    (
        "outside",
        by(57),
        snapshot(reads=10),
        "outside-envelope",
        "bucket 57 is outside of the 10 % that shared.reads@10 diverts",
    ),
    (
        "just outside",
        by(10),
        snapshot(reads=10, flags=reads(everyone=True)),
        "outside-envelope",
        "bucket 10 is outside of the 10 % that shared.reads@10 diverts",
    ),
    (
        "a tester outside",
        by(10),
        snapshot(reads=10, flags=reads(users=frozenset({KEYS[10]}))),
        "outside-envelope",
        "bucket 10 is outside of the 10 % that shared.reads@10 diverts",
    ),
    (
        "owned",
        by(24),
        snapshot(owned=SOME, flags=reads(everyone=False)),
        "owned-by-service",
        "orders owns bucket 24, whatever shared.reads@10 and the flag orders.reads say",
    ),
    (
        "owned, a write",
        write(24),
        snapshot(owned=SOME),
        "owned-by-service",
        "orders owns bucket 24, whatever shared.reads@10 and the flag orders.writes say",
    ),
    (
        "all owned, without a key",
        by(None),
        snapshot(owned=ALL),
        "owned-by-service",
        "orders owns all buckets, whatever shared.reads@10 and the flag orders.reads say",
    ),
    (
        "owned, killed",
        by(24),
        snapshot(reads=100, owned=SOME, killed=("orders.off",)),
        "killed-read",
        "the kill switch orders.off is on: legacy answers from its copy of bucket 24, which orders owns",
    ),
    (
        "owned, a write, killed",
        write(24),
        snapshot(writes=100, owned=SOME, killed=("orders.off",)),
        "killed-write",
        "the kill switch orders.off is on, and legacy may not write bucket 24, which orders owns",
    ),
    (
        "changing hands",
        write(25),
        snapshot(writes=100, owned=SOME),
        "changing-hands",
        "bucket 25 of orders is changing hands, so writes wait until somebody owns it",
    ),
    (
        "changing hands, killed",
        write(25),
        snapshot(owned=SOME, killed=("orders.off",)),
        "changing-hands",
        "bucket 25 of orders is changing hands, so writes wait until somebody owns it",
    ),
    (
        "changing hands, a read",
        by(25),
        snapshot(reads=100, owned=SOME),
        "everyone",
        "shared.reads@10 diverts all reads of orders",
    ),
    (
        "some owned, without a key",
        by(None),
        snapshot(reads=100, owned=SOME),
        "some-left",
        "the request has no partition key; orders owns some buckets already, and legacy answers until it owns all",
    ),
    (
        "owned by legacy",
        by(57),
        snapshot(reads=10, owned=SOME),
        "outside-envelope",
        "bucket 57 is outside of the 10 % that shared.reads@10 diverts",
    ),
    (
        "just inside",
        by(9),
        snapshot(reads=10),
        "in-envelope",
        "bucket 9 is inside of the 10 % that shared.reads@10 diverts",
    ),
    (
        "inside, flag on",
        by(9),
        snapshot(reads=10, flags=reads(everyone=True)),
        "in-envelope",
        "bucket 9 is inside of the 10 % that shared.reads@10 diverts",
    ),
    (
        "by percentage",
        by(4),
        snapshot(reads=10, flags=reads(percent=5)),
        "flag-percent",
        "bucket 4 is inside of the 5 % that the flag orders.reads lets in",
    ),
    (
        "past the percentage",
        by(5),
        snapshot(reads=10, flags=reads(percent=5)),
        "outside-flag",
        "bucket 5 is outside of the 5 % that the flag orders.reads lets in",
    ),
    (
        "a tester",
        by(5),
        snapshot(reads=10, flags=reads(users=frozenset({KEYS[5]}))),
        "flag-user",
        f"the flag orders.reads names user {KEYS[5]}, and bucket 5 is inside of the 10 % of shared.reads@10",
    ),
    (
        "a superuser",
        by(5, superuser=True, staff=True, authenticated=True),
        snapshot(reads=10, flags=reads(superusers=True)),
        "flag-superuser",
        "the flag orders.reads lets superusers in, and bucket 5 is inside of the 10 % of shared.reads@10",
    ),
    (
        "staff",
        by(5, staff=True, authenticated=True),
        snapshot(reads=10, flags=reads(staff=True)),
        "flag-staff",
        "the flag orders.reads lets staff in, and bucket 5 is inside of the 10 % of shared.reads@10",
    ),
    (
        "somebody logged in",
        by(5, authenticated=True),
        snapshot(reads=10, flags=reads(authenticated=True)),
        "flag-authenticated",
        "the flag orders.reads lets logged-in users in, and bucket 5 is inside of the 10 % of shared.reads@10",
    ),
    (
        "not staff",
        by(5, authenticated=True),
        snapshot(reads=10, flags=reads(staff=True)),
        "outside-flag",
        "bucket 5 is outside of the 0 % that the flag orders.reads lets in",
    ),
]


@pytest.mark.parametrize(
    ("facts", "rules", "reason", "detail"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_reason_and_sentence(facts: Facts, rules: Snapshot, reason: str, detail: str) -> None:
    decision = decide(facts, rules)

    assert (decision.reason, decision.detail, decision.side) == (reason, detail, RULES[reason].side)


def test_every_reason_has_a_row() -> None:
    assert {row[3] for row in TABLE} == set(RULES)


def test_the_decision_says_what_it_was_made_of() -> None:
    rules = snapshot(reads=10, flags=reads(percent=25))

    decision = decide(by(9), rules)
    assert decision.detail == "bucket 9 is inside of the 25 % that the flag orders.reads lets in"
    assert decision == Decision(
        side="extracted",
        reason="flag-percent",
        grounds=decision.grounds,
        service="orders",
        route="list",
        bucket=9,
        requested_percent=25,
        effective_percent=10,
        store="shared",
        shadow=False,
    )


def test_writes_have_an_envelope_and_a_flag_of_their_own() -> None:
    rules = snapshot(reads=100, writes=10, flags=(FlagRule(name="orders.writes", percent=5), *reads(everyone=False)))
    sides = [decide(by(n, route=WRITE, method="POST"), rules).side for n in (4, 5, 10)]

    assert sides == ["extracted", "legacy", "legacy"]


def test_the_store_comes_from_the_envelope() -> None:
    rules = Snapshot(envelopes={"orders": Envelope(step="bake", reads=100, store="own")})

    assert decide(by(1), rules).store == "own"


def test_paused_changes_nothing() -> None:
    envelope = Envelope(step="shared.reads@10", reads=10, shadow=50)
    going, paused = (Snapshot(envelopes={"orders": replace(envelope, paused=paused)}) for paused in (False, True))

    assert [decide(by(n), going) for n in range(100)] == [decide(by(n), paused) for n in range(100)]


def at(place: int) -> int:
    """Return the bucket at a place of the route's own order."""
    return next(n for n in range(100) if sampling.of_bucket("orders", "list", n) == place)


SHADOW = [
    ("legacy answers", by(50), snapshot(shadow=100), True),
    ("without a key, all", by(None), snapshot(shadow=100), True),
    ("without a key, some", by(None), snapshot(shadow=99), False),
    ("inside", by(at(9)), snapshot(shadow=10), True),
    ("outside", by(at(10)), snapshot(shadow=10), False),
    ("the service answers", by(9), snapshot(reads=10, shadow=100), False),
    ("beside a partial envelope", by(10), snapshot(reads=10, shadow=100), True),
    ("HEAD", by(50, method="HEAD"), snapshot(shadow=100), True),
    ("OPTIONS", by(50, method="OPTIONS"), snapshot(shadow=100), False),
    ("a write", by(50, route=WRITE, method="POST"), snapshot(shadow=100), False),
    ("a read that is not to be shadowed", by(50, route=replace(READ, shadow=False)), snapshot(shadow=100), False),
    (
        "a POST that only reads",
        by(50, route=replace(WRITE, kind=Kind.READ), method="POST"),
        snapshot(shadow=100),
        False,
    ),
    ("flag off", by(50), snapshot(shadow=100, flags=(FlagRule(name="orders.shadow", everyone=False),)), False),
    ("flag inside", by(at(4)), snapshot(shadow=100, flags=(FlagRule(name="orders.shadow", percent=5),)), True),
    ("flag outside", by(at(5)), snapshot(shadow=100, flags=(FlagRule(name="orders.shadow", percent=5),)), False),
    ("killed", by(50), snapshot(shadow=100, killed=("orders.off",)), False),
    ("nothing loaded", by(50), NOTHING, False),
]


@pytest.mark.parametrize(("facts", "rules", "shadowed"), [row[1:] for row in SHADOW], ids=[row[0] for row in SHADOW])
def test_shadow(facts: Facts, rules: Snapshot, shadowed: bool) -> None:
    assert decide(facts, rules).shadow is shadowed


OTHER_STORE = [
    ("the service answers", by(50), snapshot(reads=100, shadow=100, shadow_store="own"), ("extracted", "own")),
    ("without a key", by(None), snapshot(reads=100, shadow=100, shadow_store="own"), ("extracted", "own")),
    ("legacy answers", by(50), snapshot(shadow=100, shadow_store="own"), ("legacy", "own")),
    ("legacy answers the rest", by(10), snapshot(reads=10, shadow=100, shadow_store="own"), ("legacy", "own")),
    ("outside", by(at(10)), snapshot(reads=100, shadow=10, shadow_store="own"), ("extracted", "")),
    ("inside", by(at(9)), snapshot(reads=100, shadow=10, shadow_store="own"), ("extracted", "own")),
    ("the same store", by(50), snapshot(reads=100, shadow=100, shadow_store="shared"), ("extracted", "")),
    ("the same store, in legacy", by(50), snapshot(shadow=100, shadow_store="shared"), ("legacy", "shared")),
    ("no other store", by(50), snapshot(shadow=100), ("legacy", "shared")),
    (
        "flag off",
        by(50),
        snapshot(reads=100, shadow=100, shadow_store="own", flags=(FlagRule(name="orders.shadow", everyone=False),)),
        ("extracted", ""),
    ),
    (
        "a write",
        by(50, route=WRITE, method="POST"),
        snapshot(writes=100, shadow=100, shadow_store="own"),
        ("extracted", ""),
    ),
    (
        "killed",
        by(50),
        snapshot(reads=100, shadow=100, shadow_store="own", killed=("orders.off",)),
        ("legacy", ""),
    ),
]


@pytest.mark.parametrize(
    ("facts", "rules", "expected"), [row[1:] for row in OTHER_STORE], ids=[row[0] for row in OTHER_STORE]
)
def test_which_store_copies_go_to(facts: Facts, rules: Snapshot, expected: tuple[str, str]) -> None:
    decision = decide(facts, rules)
    assert (decision.side, decision.shadow_store) == expected
    assert decision.shadow is bool(expected[1])
    assert decision.compares_stores is (expected[1] == "own")
    assert decision.store == "shared"


def test_routes_that_come_and_go_do_not_inherit_decisions() -> None:
    rules = snapshot(reads=100)
    sides = set()
    for n in range(50):
        passing = Route(service="orders" if n % 2 else "users", name="r", pattern="/x/")
        sides.add((n % 2, decide(Facts(method="GET", route=passing), rules).side))

    assert sides == {(1, "extracted"), (0, "legacy")}


@pytest.mark.parametrize(
    ("rules", "needed"),
    [
        (NOTHING, False),
        (Snapshot(), False),
        (snapshot(), False),
        (snapshot(reads=10), True),
        (snapshot(reads=100), False),
        (snapshot(reads=100, shadow=50), True),
        (snapshot(reads=100, shadow=50, shadow_store="own"), True),
        (snapshot(reads=100, shadow=100, shadow_store="own"), False),
        (snapshot(reads=100, shadow_store="own"), False),
        (snapshot(shadow=50), True),
        (snapshot(shadow=100), False),
        (snapshot(reads=10, killed=("orders.off",)), False),
        (snapshot(reads=10, flags=reads(everyone=False)), False),
        (snapshot(reads=10, flags=reads(percent=0)), False),
        (snapshot(reads=10, flags=reads(percent=0, staff=True)), True),
        (snapshot(reads=100, flags=reads(everyone=True)), False),
        (snapshot(reads=100, flags=reads(percent=100)), False),
        (snapshot(reads=100, flags=reads(percent=99)), True),
        (snapshot(writes=10), False),
    ],
)
def test_needs_identity(rules: Snapshot, needed: bool) -> None:
    assert needs_identity(READ, rules) is needed


def test_ten_percent_of_ten_thousand_customers() -> None:
    rules = snapshot(reads=10)
    diverted = sum(
        decide(Facts(method="GET", route=READ, key=str(n), subject=str(n)), rules).side == "extracted"
        for n in range(1, 10_001)
    )

    assert abs(diverted - 1_000) <= 100


class TestOwnership:
    def test_what_legacy_owns_is_decided_as_if_nothing_moved(self) -> None:
        steer = {"reads": 60, "writes": 40, "shadow": 30, "shadow_store": "own", "flags": reads(percent=50)}
        with_it, without = snapshot(**steer, owned=SOME), snapshot(**steer)
        for facts in (make(n) for n in range(26, 100) for make in (by, write)):
            assert decide(facts, with_it) == decide(facts, without)

    @given(st.sets(st.integers(0, 99)), st.booleans(), st.integers(0, 100))
    def test_legacy_never_writes_what_it_does_not_own(self, extracted: set[int], killed: bool, writes: int) -> None:
        rules = snapshot(
            writes=writes, owned=Ownership(frozenset(extracted)), killed=("strangler.off",) if killed else ()
        )
        for number in extracted:
            decision = decide(write(number), rules)
            assert (decision.side, decision.store) == (("none", "shared") if killed else ("extracted", "own"))

    @pytest.mark.parametrize(("reader", "stale"), [(by(24), True), (by(None), True), (by(25), False), (by(57), False)])
    def test_whether_legacy_has_only_a_copy(self, reader: Facts, stale: bool) -> None:
        assert decide(reader, snapshot(owned=SOME)).has_left is stale

    def test_reads_of_what_the_service_owns_are_shadowed_back(self) -> None:
        rules = snapshot(reads=100, shadow=100, shadow_store="own", owned=SOME)
        stores = [(decide(by(n), rules).store, decide(by(n), rules).shadow_store) for n in (24, 25, 57)]
        assert stores == [("own", "shared"), ("shared", "own"), ("shared", "own")]
        assert decide(by(24), rules).compares_stores

    def test_a_stale_answer_proves_nothing_and_is_not_compared(self) -> None:
        assert not decide(by(None), snapshot(shadow=100, owned=SOME)).shadow

    def test_the_owning_store_is_the_envelopes(self) -> None:
        rules = replace(snapshot(owned=SOME), envelopes={"orders": Envelope(step="x", owned_store="new")})
        assert decide(by(1), rules).store == "new"

    def test_who_asks_matters_only_while_some_have_left(self) -> None:
        known = [needs_identity(READ, snapshot(owned=owned)) for owned in (Ownership(), SOME, ALL)]
        assert known == [False, True, False]

    def test_a_new_owner_decides_whatever_the_snapshot_says(self) -> None:
        rules = snapshot(writes=100)
        assert decide_for("extracted", write(57), rules).store == "own"
        assert decide_for("legacy", write(24), snapshot(owned=SOME)).side == "legacy"
        assert decide_for("extracted", write(57), snapshot(killed=("orders.off",))).reason == "killed-write"
