"""Growth never moves anybody back; nothing is diverted beyond the envelope; what needs no identity is decided alike."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router.decide import Facts, decide, needs_identity
from router.routes import Kind, Route, Scatter
from router.snapshot import Envelope, FlagRule, Snapshot
from tests.router.test_decide import READ, STAFF, WRITE

PERCENT = st.integers(min_value=0, max_value=100)
ROUTES = st.sampled_from([READ, WRITE, STAFF, replace(READ, shadow=False)])
SUBJECTS = st.none() | st.integers(min_value=1, max_value=300).map(str)


@st.composite
def facts(draw: st.DrawFn, route: Route | None = None) -> Facts:
    chosen = route or draw(ROUTES)
    subject = draw(SUBJECTS)
    key = None if chosen.key == Scatter() else draw(st.just(subject) | SUBJECTS | st.uuids())
    return Facts(
        method=draw(st.sampled_from(sorted(chosen.methods))),
        route=chosen,
        key=key,
        subject=subject,
        staff=draw(st.booleans()),
        superuser=draw(st.booleans()),
        authenticated=subject is not None,
    )


@st.composite
def flag_rules(draw: st.DrawFn, name: str) -> FlagRule:
    return FlagRule(
        name=name,
        everyone=draw(st.none() | st.booleans()),
        percent=draw(st.none() | PERCENT | st.just(100)),
        users=frozenset(draw(st.sets(st.integers(min_value=1, max_value=300).map(str), max_size=5))),
        superusers=draw(st.booleans()),
        staff=draw(st.booleans()),
        authenticated=draw(st.booleans()),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    names = draw(st.sets(st.sampled_from(["orders.reads", "orders.writes", "orders.shadow"])))
    envelope = Envelope(
        step="a",
        reads=draw(PERCENT | st.just(100)),
        writes=draw(PERCENT | st.just(100)),
        shadow=draw(PERCENT | st.just(100)),
        shadow_store=draw(st.sampled_from(["", "own", "shared"])),
    )
    return Snapshot(
        version=draw(st.sampled_from([1, 1, 1, 1, 0])),
        envelopes={"orders": envelope} if draw(st.integers(0, 9)) else {},
        flags={name: draw(flag_rules(name)) for name in sorted(names)},
        killed=frozenset(draw(st.sampled_from([(), (), (), ("orders.off",), ("strangler.off",), ("users.off",)]))),
    )


def grown(rules: Snapshot, envelope: tuple[int, int], flag: int) -> Snapshot:
    """Return the rules with percentages that are as large or larger."""
    return replace(
        rules,
        envelopes={
            service: replace(before, reads=max(before.reads, envelope[0]), writes=max(before.writes, envelope[1]))
            for service, before in rules.envelopes.items()
        },
        flags={name: replace(rule, percent=max(rule.percent or 0, flag)) for name, rule in rules.flags.items()},
    )


@given(asked=facts(), rules=snapshots(), envelope=st.tuples(PERCENT, PERCENT), flag=PERCENT)
def test_growing_a_percentage_moves_nobody_back(
    asked: Facts, rules: Snapshot, envelope: tuple[int, int], flag: int
) -> None:
    if decide(asked, rules).side == "extracted":
        assert decide(asked, grown(rules, envelope, flag)).side == "extracted"


@given(asked=facts(), rules=snapshots())
def test_nothing_is_diverted_beyond_the_envelope(asked: Facts, rules: Snapshot) -> None:
    decision = decide(asked, rules)
    if decision.side == "extracted":
        envelope = rules.envelopes["orders"]
        allowed = envelope.writes if asked.route.kind is Kind.WRITE else envelope.reads
        assert allowed == 100 or (decision.bucket is not None and decision.bucket < allowed)
        assert not rules.killed & {"strangler.off", "orders.off"}


@given(route=ROUTES, rules=snapshots(), data=st.data())
def test_what_needs_no_identity_is_decided_alike_for_all(route: Route, rules: Snapshot, data: st.DataObject) -> None:
    if needs_identity(route, rules):
        return
    one, other = (replace_method(data.draw(facts(route)), "GET") for _ in range(2))
    unknown = Facts(method="GET", route=route)
    answers = {(d.side, d.reason, d.shadow_store) for d in (decide(case, rules) for case in (one, other, unknown))}

    assert len(answers) == 1


def replace_method(asked: Facts, method: str) -> Facts:
    return asked._replace(method=method)


@given(asked=facts(), rules=snapshots())
def test_the_same_facts_are_decided_alike_whatever_was_asked_before(asked: Facts, rules: Snapshot) -> None:
    first = decide(asked, rules)
    decide(asked._replace(subject="1", key="1"), rules)
    fresh = replace(rules, envelopes=dict(rules.envelopes), flags=dict(rules.flags))

    assert first == decide(asked, rules) == decide(asked, fresh)


@given(asked=facts(), rules=snapshots())
def test_without_a_key_nothing_about_the_client_counts(asked: Facts, rules: Snapshot) -> None:
    keyless = Facts(method=asked.method, route=asked.route)
    fresh = replace(rules, killed=rules.killed)

    assert decide(asked._replace(key=None), rules) == decide(keyless, fresh)
