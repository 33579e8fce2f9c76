"""Who answers a request: a pure function of the request's facts and the snapshot."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from router.buckets import bucket as bucket_of
from router.limits import BLOCKERS, CHANNEL_OF, Limits, limits
from router.routes import Key, Kind, Route
from router.snapshot import Snapshot

Side: TypeAlias = Literal["legacy", "extracted"]

_SHADOWED_METHODS = frozenset({"GET", "HEAD"})


class Facts(NamedTuple):
    """What the decision looks at, besides the snapshot. A tuple, since one is made for each request."""

    method: str
    route: Route
    key: Key | None = None
    """Whose data is touched."""
    subject: str | None = None
    """Who asks: a user's primary key as text, None for an anonymous visitor."""
    staff: bool = False
    superuser: bool = False
    authenticated: bool = False


class _Case(NamedTuple):
    """One request on one channel, as the rules see it."""

    facts: Facts
    limits: Limits
    bucket: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Who answers, and why."""

    side: Side
    reason: str
    """A code from RULES."""
    grounds: _Case = field(repr=False, compare=False)
    service: str
    route: str
    bucket: int | None = None
    requested_percent: int = 0
    """What the flag asks for."""
    effective_percent: int = 0
    """What it gets: no more than the envelope."""
    store: str = "shared"
    shadow: bool = False
    """Whether a copy of the read is sent elsewhere as well, for comparison."""
    shadow_store: str = ""
    """The service's store that the copy goes to, empty where there is none."""
    compares_stores: bool = False
    """Whether the copy goes to a store with data of its own, which follows the other's a moment later."""

    @property
    def detail(self) -> str:
        """Return the reason in a sentence; put together when somebody reads it, which few requests need."""
        return _sentence(self.reason, self.grounds)


@dataclass(frozen=True, slots=True)
class Rule:
    """If it applies, this side answers, for the reason in the sentence."""

    side: Side
    applies: Callable[[_Case], bool]
    sentence: str


def _blocked_by(code: str) -> Callable[[_Case], bool]:
    return lambda case: case.limits.blocked == code


RULES: dict[str, Rule] = {
    **{
        code: Rule("legacy", _blocked_by(code), f"legacy answers: {sentence}")
        for code, (_, sentence) in BLOCKERS.items()
    },
    "not-yet": Rule(
        "legacy",
        lambda case: case.limits.envelope == 0,
        "{step} diverts none of the {channel} of {service}",
    ),
    "flag-off": Rule(
        "legacy",
        lambda case: case.limits.rule.everyone is False,
        "the flag {flag} is off for everyone",
    ),
    "flag-nobody": Rule(
        "legacy",
        lambda case: case.limits.requested == 0 and not case.limits.rule.names_people,
        "the flag {flag} lets nobody in",
    ),
    "everyone": Rule(
        "extracted",
        lambda case: case.limits.effective == 100,
        "{step} diverts all {channel} of {service}",
    ),
    "no-key": Rule(
        "legacy",
        lambda case: case.bucket is None,
        "the request has no partition key; such traffic moves last, at 100 %, and {flag} is at {effective} %",
    ),
    "outside-envelope": Rule(
        "legacy",
        lambda case: case.bucket is None or case.bucket >= case.limits.envelope,
        "bucket {bucket} is outside of the {envelope} % that {step} diverts",
    ),
    "in-envelope": Rule(
        "extracted",
        lambda case: case.limits.rule.everyone is True,
        "bucket {bucket} is inside of the {envelope} % that {step} diverts",
    ),
    "flag-percent": Rule(
        "extracted",
        lambda case: case.bucket is not None and case.bucket < case.limits.requested,
        "bucket {bucket} is inside of the {requested} % that the flag {flag} lets in",
    ),
    "flag-user": Rule(
        "extracted",
        lambda case: case.facts.subject is not None and case.facts.subject in case.limits.rule.users,
        "the flag {flag} names user {subject}, and bucket {bucket} is inside of the {envelope} % of {step}",
    ),
    "flag-superuser": Rule(
        "extracted",
        lambda case: case.limits.rule.superusers and case.facts.superuser,
        "the flag {flag} lets superusers in, and bucket {bucket} is inside of the {envelope} % of {step}",
    ),
    "flag-staff": Rule(
        "extracted",
        lambda case: case.limits.rule.staff and case.facts.staff,
        "the flag {flag} lets staff in, and bucket {bucket} is inside of the {envelope} % of {step}",
    ),
    "flag-authenticated": Rule(
        "extracted",
        lambda case: case.limits.rule.authenticated and case.facts.authenticated,
        "the flag {flag} lets logged-in users in, and bucket {bucket} is inside of the {envelope} % of {step}",
    ),
    "outside-flag": Rule(
        "legacy",
        lambda case: True,
        "bucket {bucket} is outside of the {requested} % that the flag {flag} lets in",
    ),
}
"""By reason code; the first that applies decides, and the last always does."""


def decide(facts: Facts, snapshot: Snapshot) -> Decision:
    """Decide who answers; the same facts and snapshot give the same decision in every process."""
    route = facts.route
    allowed = limits(route.service, CHANNEL_OF[route.kind], snapshot)
    bucket = None if facts.key is None else bucket_of(route.service, facts.key)
    case = _Case(facts, allowed, bucket)
    if bucket is not None and (allowed.rule.names_people or _shadow_names_people(route, snapshot)):
        return _decided(case, snapshot)
    # No rule looks at the client, so each bucket of a route is worked out once per snapshot. The route is kept with the
    # decision: as long as it lives, no other can have its id.
    place = (id(route), facts.method, bucket)
    known: tuple[Route, Decision] | None = snapshot.memo.get(place)
    if known is None:
        known = snapshot.memo[place] = (route, _decided(case, snapshot))
    return known[1]


def _decided(case: _Case, snapshot: Snapshot) -> Decision:
    facts, allowed, bucket = case
    reason = _first(case)
    side = RULES[reason].side
    shadow = (side == "legacy" or allowed.compares_stores) and _shadowed(facts, bucket, snapshot)
    return Decision(
        side=side,
        reason=reason,
        grounds=case,
        service=facts.route.service,
        route=facts.route.name,
        bucket=bucket,
        requested_percent=allowed.requested,
        effective_percent=allowed.effective,
        store=allowed.store,
        shadow=shadow,
        shadow_store=allowed.shadow_store if shadow else "",
        compares_stores=shadow and allowed.compares_stores,
    )


def needs_identity(route: Route, snapshot: Snapshot) -> bool:
    """Return whether the decision depends on who asks or whose data it is, so that the session has to be read."""
    allowed = limits(route.service, CHANNEL_OF[route.kind], snapshot)
    if allowed.settled is None:
        return True
    if allowed.settled and not allowed.compares_stores:
        return False
    return _may_be_shadowed(route) and limits(route.service, "shadow", snapshot).settled is None


def _first(case: _Case) -> str:
    for code, rule in RULES.items():
        if rule.applies(case):
            return code
    raise LookupError(f"No rule applies to {case}.")


def _sentence(reason: str, case: _Case) -> str:
    return RULES[reason].sentence.format(
        service=case.limits.service,
        channel=case.limits.channel,
        step=case.limits.step,
        flag=case.limits.flag_name,
        switch=case.limits.switch,
        envelope=case.limits.envelope,
        requested=case.limits.requested,
        effective=case.limits.effective,
        bucket=case.bucket,
        subject=case.facts.subject,
    )


def _shadow_names_people(route: Route, snapshot: Snapshot) -> bool:
    return _may_be_shadowed(route) and limits(route.service, "shadow", snapshot).rule.names_people


def _may_be_shadowed(route: Route) -> bool:
    return route.shadow and route.kind is Kind.READ


def _shadowed(facts: Facts, bucket: int | None, snapshot: Snapshot) -> bool:
    if not _may_be_shadowed(facts.route) or facts.method not in _SHADOWED_METHODS:
        return False
    allowed = limits(facts.route.service, "shadow", snapshot)
    if allowed.settled is not None:
        return allowed.settled
    return RULES[_first(_Case(facts, allowed, bucket))].side == "extracted"
