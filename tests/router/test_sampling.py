"""Which requests are compared: deterministic by bucket, another order in each route, by the request without a key."""

from dataclasses import replace

import pytest

from router.buckets import bucket
from router.decide import Facts, decide, needs_identity, samples_requests
from router.holders import Ownership
from router.routes import FromPath, Kind, Route, Scatter, Visitor
from router.shadow import sampling
from router.snapshot import Envelope, Snapshot

LIST = Route(service="orders", name="list", pattern="/orders/", key=Visitor())
STAFF = Route(service="orders", name="all", pattern="/all/", key=Scatter())
PLACE = Route(service="orders", name="place", pattern="/orders/", methods=("POST",), key=Visitor(), dry_run=True)
KEYS = {bucket("orders", key): key for key in range(5_000)}


def rules(owned: frozenset[int] = frozenset(), **envelope: object) -> Snapshot:
    ownership = {"orders": Ownership(extracted=owned)} if owned else {}
    return Snapshot(envelopes={"orders": Envelope(step="test", **envelope)}, ownership=ownership)  # type: ignore[arg-type]


def sampled(route: Route, snapshot: Snapshot, method: str = "GET") -> set[int]:
    """Return the buckets that are compared."""
    asked = {n: Facts(method=method, route=route, key=KEYS[n]) for n in range(100)}
    return {n for n, facts in asked.items() if decide(facts, snapshot).shadow}


def test_each_route_has_an_order_of_its_own() -> None:
    orders = [
        tuple(sampling.of_bucket(service, route, n) for n in range(100))
        for service, route in (("orders", "list"), ("orders", "detail"), ("users", "list"))
    ]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len(set(orders)) == 3


@pytest.mark.parametrize("percent", [0, 1, 10, 50, 100])
def test_the_envelope_lets_so_many_be_compared_and_growing_drops_nobody(percent: int) -> None:
    found = sampled(LIST, rules(shadow=percent))
    assert len(found) == percent
    assert found <= sampled(LIST, rules(shadow=min(100, percent + 7)))


def test_the_same_customers_do_not_pay_on_every_route() -> None:
    one, other = (sampled(replace(LIST, name=name), rules(shadow=10)) for name in ("list", "detail"))
    assert len(one & other) < 10
    assert one != set(range(10))


def test_a_route_caps_what_the_envelope_lets_be_compared() -> None:
    assert len(sampled(replace(LIST, shadow_percent=20), rules(shadow=100))) == 20
    assert len(sampled(replace(LIST, shadow_percent=20), rules(shadow=5))) == 5


def test_what_the_service_answers_is_compared_with_legacy_in_its_own_share() -> None:
    snapshot = rules(reads=100, shadow=100)
    assert len(sampled(LIST, snapshot)) == LIST.shadow_back_percent == 10
    assert len(sampled(replace(LIST, shadow_back_percent=30), snapshot)) == 30
    assert sampled(replace(LIST, shadow_back_percent=0), snapshot) == set()
    decision = next(one for n in range(100) if (one := decide(Facts("GET", LIST, KEYS[n]), snapshot)).shadow)
    assert (decision.side, decision.store, decision.shadow_store, decision.compares_stores) == (
        "extracted",
        "shared",
        "legacy",
        False,
    )


def test_at_the_end_legacy_is_asked_about_its_copy_of_what_the_service_owns() -> None:
    snapshot = rules(frozenset(range(50)), reads=100, shadow=100, shadow_store="legacy")
    owned, not_owned = (decide(Facts("GET", LIST, KEYS[n]), snapshot) for n in (7, 77))
    assert (owned.store, owned.shadow_store, owned.compares_stores) == ("own", "legacy", True)
    back = decide(Facts("GET", replace(LIST, shadow_back_percent=100), KEYS[77]), snapshot)
    assert (back.store, back.shadow_store, back.compares_stores) == ("shared", "legacy", False)
    assert not_owned.store == "shared"


class TestWithoutAKey:
    def test_the_request_says_its_place(self) -> None:
        snapshot = rules(shadow=30)
        assert samples_requests(STAFF, snapshot)
        decided = [decide(Facts("GET", STAFF, sample=place), snapshot).shadow for place in range(100)]
        assert decided == [place < 30 for place in range(100)]
        assert not decide(Facts("GET", STAFF), snapshot).shadow

    def test_all_or_nothing_needs_no_place(self) -> None:
        assert not samples_requests(STAFF, rules(shadow=0))
        assert not samples_requests(replace(STAFF, shadow=False), rules(shadow=30))

    def test_places_are_spread_evenly_and_the_same_everywhere(self) -> None:
        places = [sampling.of_request("GET", "/all/?page=1", second) for second in range(20_000)]
        assert sampling.of_request("GET", "/all/?page=1", 7) == places[7]
        assert 0.08 < sum(place < 10 for place in places) / len(places) < 0.12

    @pytest.mark.parametrize("route", [STAFF, Route(service="orders", name="p", pattern="/p/<int:n>/", public=True,
                                                    key=FromPath("n"))])  # fmt: skip
    def test_nobody_is_asked_who_they_are_for_the_sample(self, route: Route) -> None:
        """Public reads go on being forwarded ahead of Django."""
        assert not needs_identity(route, rules(reads=100, shadow=100))
        assert not needs_identity(route, rules(reads=100, shadow=50))

    def test_who_has_a_key_is_asked(self) -> None:
        assert needs_identity(LIST, rules(shadow=50))
        assert needs_identity(LIST, rules(reads=100, shadow=100))
        assert not needs_identity(replace(LIST, shadow_back_percent=100), rules(reads=100, shadow=100))


class TestWrites:
    def test_are_copied_where_legacy_answers_and_the_data_is_the_same(self) -> None:
        decision = decide(Facts("POST", PLACE, KEYS[50]), rules(shadow=100))
        assert (decision.side, decision.shadow, decision.shadow_store, decision.compares_stores) == (
            "legacy",
            True,
            "shared",
            False,
        )
        beside = decide(Facts("POST", PLACE, KEYS[50]), rules(shadow=100, shadow_store="own"))
        assert beside.shadow_store == "shared", "a replica is not written, not even for a moment"

    def test_never_in_the_other_direction(self) -> None:
        assert sampled(PLACE, rules(writes=100, shadow=100), "POST") == set()
        owned = rules(frozenset(range(100)), writes=100, shadow=100)
        assert sampled(PLACE, owned, "POST") == set()

    def test_only_where_they_are_declared_and_only_the_sample(self) -> None:
        assert sampled(replace(PLACE, dry_run=False), rules(shadow=100), "POST") == set()
        assert len(sampled(replace(PLACE, shadow_percent=5), rules(shadow=100), "POST")) == 5
        assert PLACE.kind is Kind.WRITE
