"""Who answers a request: a pure function of the request's facts and the snapshot."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from router.buckets import bucket as bucket_of
from router.holders import LEGACY, Holder
from router.limits import BLOCKERS, CHANNEL_OF, Limits, limits
from router.routes import Key, Kind, Route
from router.shadow import sampling
from router.snapshot import Snapshot

Side: TypeAlias = Literal["legacy", "extracted", "none"]
"""Who answers. ``none``: nobody may now, so a write waits for an owner or is told to come back."""
Owner: TypeAlias = Holder | Literal["some"]
"""Who owns what a request touches; ``some``: it has no key, and some buckets have left legacy."""

_SHADOWED_METHODS = {Kind.READ: frozenset({"GET", "HEAD"}), Kind.WRITE: frozenset({"POST", "PUT", "PATCH", "DELETE"})}


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
    sample: int | None = None
    """The place of a request without a key in the sample of those that are compared; see ``samples_requests``."""


class _Case(NamedTuple):
    """One request on one channel, as the rules see it."""

    facts: Facts
    limits: Limits
    bucket: int | None
    owner: Owner = "legacy"

    @property
    def away(self) -> bool:
        """Whether legacy has no more than a copy of the data, or of some of it."""
        return self.owner in _LEFT

    @property
    def whose(self) -> str:
        """Say what the request touches."""
        return "all buckets" if self.bucket is None else f"bucket {self.bucket}"


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
    owner: Owner = "legacy"
    """Who owns the data; legacy's is steered by envelope and flag, the service's is not."""
    requested_percent: int = 0
    """What the flag asks for."""
    effective_percent: int = 0
    """What it gets: no more than the envelope."""
    store: str = "shared"
    shadow: bool = False
    """Whether a copy of the request is sent elsewhere as well, for comparison; a write's is a dry-run."""
    shadow_store: str = ""
    """The service's store that the copy goes to, or ``legacy`` for the monolith; empty where there is none."""
    compares_stores: bool = False
    """Whether the copy meets data of its own there, which follows the other's a moment later."""

    @property
    def has_left(self) -> bool:
        """Whether legacy has no more than a copy of the data, or of some of it, so that its answers may be stale."""
        return self.owner in _LEFT

    @property
    def unsettled(self) -> bool:
        """Whether somebody else may own the data by now than the snapshot says."""
        moved = self.grounds.limits.moved
        return moved is not None and self.bucket is not None and moved.unsettled(self.bucket)

    @property
    def held(self) -> bool:
        """Whether the write waits until somebody owns the data."""
        return self.reason == CHANGING_HANDS

    @property
    def detail(self) -> str:
        """Return the reason in a sentence; put together when somebody reads it, which few requests need."""
        return _sentence(self.reason, self.grounds)


_LEFT: frozenset[Owner] = frozenset({"extracted", "some"})
CHANGING_HANDS = "changing-hands"


@dataclass(frozen=True, slots=True)
class Rule:
    """If it applies, this side answers, for the reason in the sentence."""

    side: Side
    applies: Callable[[_Case], bool]
    sentence: str


def _blocked_by(code: str) -> Callable[[_Case], bool]:
    return lambda case: case.limits.blocked == code


def _writes(case: _Case) -> bool:
    return case.facts.route.kind is Kind.WRITE


def _owned(case: _Case) -> bool:
    return case.owner == "extracted"


BY_OWNERSHIP: dict[str, Rule] = {
    "killed-write": Rule(
        "none",
        lambda case: _owned(case) and case.limits.blocked == "killed" and _writes(case),
        "the kill switch {switch} is on, and legacy may not write {whose}, which {service} owns",
    ),
    "killed-read": Rule(
        "legacy",
        lambda case: _owned(case) and case.limits.blocked == "killed",
        "the kill switch {switch} is on: legacy answers from its copy of {whose}, which {service} owns",
    ),
    "owned-by-service": Rule(
        "extracted",
        _owned,
        "{service} owns {whose}, whatever {step} and the flag {flag} say",
    ),
    CHANGING_HANDS: Rule(
        "none",
        lambda case: case.owner == "none" and _writes(case),
        "{whose} of {service} is changing hands, so writes wait until somebody owns it",
    ),
    "some-left": Rule(
        "legacy",
        lambda case: case.owner == "some",
        "the request has no partition key; {service} owns some buckets already, and legacy answers until it owns all",
    ),
}
"""What overrides kill switch, envelope and flag. Reads of what changes hands go on as if legacy still owned it."""

RULES: dict[str, Rule] = {
    **BY_OWNERSHIP,
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
    bucket = bucket_for(facts)
    case = _Case(facts, allowed, bucket, _owner(allowed, bucket))
    if bucket is not None and (allowed.rule.names_people or _shadow_names_people(route, snapshot)):
        return _decided(case, snapshot)
    # No rule looks at the client, so each bucket of a route is worked out once per snapshot. The route is kept with the
    # decision: as long as it lives, no other can have its id.
    place = (id(route), facts.method, bucket, facts.sample)
    known: tuple[Route, Decision] | None = snapshot.memo.get(place)
    if known is None:
        known = snapshot.memo[place] = (route, _decided(case, snapshot))
    return known[1]


def decide_for(owner: Holder, facts: Facts, snapshot: Snapshot) -> Decision:
    """Decide a request anew whose data turned out to be owned by somebody else than the snapshot says."""
    allowed = limits(facts.route.service, CHANNEL_OF[facts.route.kind], snapshot)
    return _decided(_Case(facts, allowed, bucket_for(facts), owner), snapshot)


def bucket_for(facts: Facts) -> int | None:
    """Return the bucket that a request touches, None where it has no key."""
    return None if facts.key is None else bucket_of(facts.route.service, facts.key)


def _owner(allowed: Limits, bucket: int | None) -> Owner:
    moved = allowed.moved
    if moved is None:
        return "legacy"
    if bucket is not None:
        return moved.holder(bucket)
    if moved.wholly_extracted:
        return "extracted"
    return "some" if moved.extracted else "legacy"


def _decided(case: _Case, snapshot: Snapshot) -> Decision:
    facts, allowed, bucket, owner = case
    reason = _first(case)
    side = RULES[reason].side
    owned = reason == "owned-by-service"
    copy = _copy(case, side, owned)
    shadow = copy is not None and _shadowed(case, copy, snapshot)
    return Decision(
        side=side,
        reason=reason,
        grounds=case,
        service=facts.route.service,
        route=facts.route.name,
        bucket=bucket,
        owner=owner,
        requested_percent=allowed.requested,
        effective_percent=allowed.effective,
        store=allowed.owned_store if owned else allowed.store,
        shadow=shadow,
        shadow_store=copy.to if shadow and copy is not None else "",
        compares_stores=shadow and copy is not None and copy.follows,
    )


class _Copy(NamedTuple):
    """Where a copy of a request would go."""

    to: str
    follows: bool
    """Whether it meets data there that follows the other's a moment later."""
    percent: int
    """The share of the buckets that the route lets be compared in this way."""


def _copy(case: _Case, side: Side, owned: bool) -> _Copy | None:
    """Return where a copy goes: away from who answers. A write's only goes where the data is the same."""
    route, allowed = case.facts.route, case.limits
    if route.kind is Kind.WRITE:
        return _Copy(allowed.store, False, route.shadow_percent) if side == "legacy" and not case.away else None
    if owned:
        return _Copy(allowed.replica_store, True, route.shadow_percent)
    same_data = allowed.shadow_store in {allowed.store, LEGACY}
    if side == "extracted":
        if same_data:
            return _Copy(LEGACY, False, min(route.shadow_percent, route.shadow_back_percent))
        return _Copy(allowed.shadow_store, True, route.shadow_percent)
    if side == "legacy" and not case.away:
        return _Copy(allowed.store if same_data else allowed.shadow_store, not same_data, route.shadow_percent)
    return None


def needs_identity(route: Route, snapshot: Snapshot) -> bool:
    """Return whether the decision depends on who asks or whose data it is, so that the session has to be read."""
    allowed = limits(route.service, CHANNEL_OF[route.kind], snapshot)
    moved = allowed.moved
    if moved is not None:
        if not moved.wholly_extracted:
            return True  # each bucket has an owner of its own
    elif allowed.settled is None:
        return True
    if not _may_be_shadowed(route):
        return False
    owned = moved is not None
    case = _Case(Facts(method="", route=route), allowed, None, "extracted" if owned else "legacy")
    copy = _copy(case, "extracted" if owned or allowed.settled else "legacy", owned)
    copies = limits(route.service, "shadow", snapshot)
    if copy is None or copies.settled is False or (copies.settled and copy.percent == 100):
        return False
    return copies.rule.names_people or not _sampled_by_request(route)


def samples_requests(route: Route, snapshot: Snapshot) -> bool:
    """Return whether a request without a key has to say its place in the sample of those that are compared."""
    allowed = limits(route.service, "shadow", snapshot)
    if not _may_be_shadowed(route) or allowed.settled is False:
        return False
    return allowed.settled is None or route.kind is Kind.READ or route.shadow_percent < 100


def _sampled_by_request(route: Route) -> bool:
    """Return whether nobody need be asked whose data the request touches: it has no owner, or is open to everybody."""
    return route.public or (route.key is not None and route.key.keyless)


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
        whose=case.whose,
        subject=case.facts.subject,
    )


def _shadow_names_people(route: Route, snapshot: Snapshot) -> bool:
    return _may_be_shadowed(route) and limits(route.service, "shadow", snapshot).rule.names_people


def _may_be_shadowed(route: Route) -> bool:
    return route.shadow if route.kind is Kind.READ else route.dry_run


def _shadowed(case: _Case, copy: _Copy, snapshot: Snapshot) -> bool:
    """Return whether the request is in the sample that envelope, flag and route let be compared."""
    facts, route = case.facts, case.facts.route
    if not _may_be_shadowed(route) or facts.method not in _SHADOWED_METHODS[route.kind]:
        return False
    allowed = limits(route.service, "shadow", snapshot)
    bucket = case.bucket
    place = facts.sample if bucket is None else sampling.of_bucket(route.service, route.name, bucket)
    if copy.percent < 100 and (place is None or place >= copy.percent):
        return False
    if allowed.settled is not None:
        return allowed.settled
    return RULES[_first(_Case(facts, allowed, place))].side == "extracted"
