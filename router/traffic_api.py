"""What the traffic of a service was like: counts, latencies, breakers, comparisons. Gates, commands, pages read it."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from router import metrics
from router.breaker import breakers
from router.conf import conf
from router.forward import ForwardError, OutboundRequest, send
from router.metrics import FALLBACKS, Outcome
from router.models.traffic import BreakerEvent, ShadowMismatch, TrafficCount
from router.shadow.pool import SIDE as SHADOW
from router.upstreams import upstream_for

HEALTH_PATH = "/health/ready/"
SHOWN = ("store", "answered_by", "route", "method", "path", "outcome", "cause", "fields", "differences", "rounds")
"""What is told of a stored example."""
Z_95 = 1.959964
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class SideTraffic:
    """The requests of one kind that one side answered."""

    kind: str
    """``read`` or ``write``."""
    side: str
    """``legacy`` or ``extracted``."""
    requests: int
    outcomes: Mapping[str, int]
    p50_seconds: float | None
    p99_seconds: float | None

    @property
    def failed(self) -> int:
        """Return how many were answered by a server error or not at all."""
        return self.outcomes.get(Outcome.SERVER_ERROR, 0) + self.outcomes.get(Outcome.UNAVAILABLE, 0)


@dataclass(frozen=True, kw_only=True)
class TrafficSummary:
    """The requests of a service since a moment, as far as processes have written them down."""

    service: str
    since: datetime
    until: datetime | None
    """The youngest count; None if there is none."""
    sides: tuple[SideTraffic, ...]
    fallbacks: Mapping[str, int]
    """Requests that legacy answered in place of the service, by cause."""

    @property
    def requests(self) -> int:
        """Return how many requests were answered."""
        return sum(side.requests for side in self.sides)

    @property
    def failed(self) -> int:
        """Return how many were answered by a server error or not at all."""
        return sum(side.failed for side in self.sides)

    def of(self, kind: str, side: str) -> SideTraffic:
        """Return one kind and side, with zero requests if there were none."""
        for traffic in self.sides:
            if (traffic.kind, traffic.side) == (kind, side):
                return traffic
        return SideTraffic(kind=kind, side=side, requests=0, outcomes={}, p50_seconds=None, p99_seconds=None)


@dataclass(frozen=True, kw_only=True)
class HandoverSummary:
    """What happened to writes since a moment because their data was changing hands."""

    service: str
    since: datetime
    held: int
    """Waited for an owner."""
    held_p99_seconds: float | None
    redispatched: int
    """Were refused by a fence and sent to the owner."""
    refused: Mapping[str, int]
    """Were answered 503, by cause."""


@dataclass(frozen=True, kw_only=True)
class FieldCount:
    """A field and in how many stored examples it differed."""

    field: str
    count: int


@dataclass(frozen=True, kw_only=True)
class ShadowSummary:
    """What the comparisons of a service came to since a moment."""

    service: str
    since: datetime
    until: datetime | None
    matched: int
    mismatched: int
    changed: int
    """Differences that went away, or moved, when both sides were asked again: noise."""
    errors: int
    """The service failed to answer; as bad as a mismatch."""
    dropped: Mapping[str, int]
    """Comparisons that were not made, by cause."""
    error_causes: Mapping[str, int]
    switched: Mapping[str, int]
    """How often a process has switched comparing off or on by itself: ``off:slowed_down``, ``on:memory`` and so on."""
    worst_fields: tuple[FieldCount, ...]
    examples: tuple[Mapping[str, Any], ...]

    @property
    def compared(self) -> int:
        """Return how many comparisons came to a verdict about the service: match, mismatch or error."""
        return self.matched + self.mismatched + self.errors

    @property
    def match_rate(self) -> float | None:
        """Return the share that matched; None, which is no success, where nothing was compared."""
        return self.matched / self.compared if self.compared else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % Wilson interval of the match rate; None where nothing was compared."""
        return wilson(self.matched, self.compared)

    @property
    def noise(self) -> float | None:
        """Return the share of comparisons spoilt by data that changed meanwhile."""
        asked = self.compared + self.changed
        return self.changed / asked if asked else None

    @property
    def conclusive(self) -> bool:
        """Return whether anything was compared at all."""
        return self.compared > 0


@dataclass(frozen=True, kw_only=True)
class BreakerState:
    """The breaker of one upstream in one process."""

    upstream: str
    process: str
    state: str
    since: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class Health:
    """Whether an upstream answers, asked just now."""

    service: str
    store: str
    base_url: str
    ok: bool
    status: int | None
    seconds: float
    detail: str


def traffic(service: str, since: datetime) -> TrafficSummary:
    """Add up what all processes wrote since a moment; what they still hold (2 s) is missing."""
    outcomes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    histograms: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    fallbacks: Counter[str] = Counter()
    until: datetime | None = None
    for row in _counts(service, since).exclude(side=SHADOW).exclude(kind=metrics.OWNERSHIP):
        key = (row.kind, row.side)
        outcomes[key][row.outcome] += row.count
        histograms[key].update({int(slot): count for slot, count in row.histogram.items()})
        if row.outcome in FALLBACKS:
            fallbacks[row.cause or row.outcome] += row.count
        until = row.at if until is None else max(until, row.at)
    sides = tuple(
        SideTraffic(
            kind=kind,
            side=side,
            requests=counts.total(),
            outcomes=dict(counts),
            p50_seconds=metrics.quantile(histograms[kind, side], 0.5),
            p99_seconds=metrics.quantile(histograms[kind, side], 0.99),
        )
        for (kind, side), counts in sorted(outcomes.items())
    )
    return TrafficSummary(service=service, since=since, until=until, sides=sides, fallbacks=dict(fallbacks))


def handovers(service: str, since: datetime) -> HandoverSummary:
    """Add up what ownership did to writes, as far as processes have written it down."""
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    waited: Counter[int] = Counter()
    for row in _counts(service, since).filter(kind=metrics.OWNERSHIP):
        counts[row.outcome] += row.count
        if row.outcome == Outcome.REFUSED:
            refused[row.cause or "unknown"] += row.count
        if row.outcome == Outcome.HELD:
            waited.update({int(slot): count for slot, count in row.histogram.items()})
    return HandoverSummary(
        service=service,
        since=since,
        held=counts[Outcome.HELD],
        held_p99_seconds=metrics.quantile(waited, 0.99),
        redispatched=counts[Outcome.REDISPATCHED],
        refused=dict(refused),
    )


def shadow_summary(
    service: str, since: datetime, *, store: str | None = None, examples: int = 5, fields: int = 10
) -> ShadowSummary:
    """Add up the comparisons that all processes wrote down since a moment, those with one store if it is named."""
    only = {} if store is None else {"store": store}
    outcomes: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    until: datetime | None = None
    switches = Counter[str]()
    for cause, count in _counts(service, since).filter(outcome=Outcome.SWITCHED).values_list("cause", "count"):
        switches[cause] += count
    for row in _counts(service, since).filter(side=SHADOW, **only):
        outcomes[row.outcome] += row.count
        if row.outcome == Outcome.DROPPED:
            dropped[row.cause or "unknown"] += row.count
        if row.outcome == Outcome.ERROR:
            errors[row.cause or "unknown"] += row.count
        until = row.at if until is None else max(until, row.at)
    stored = ShadowMismatch.objects.filter(service=service, at__gte=since, **only).order_by("-at", "-pk")
    worst: Counter[str] = Counter()
    for names in stored.exclude(outcome=ShadowMismatch.UNSTEADY).values_list("fields", flat=True):
        worst.update(names)
    return ShadowSummary(
        service=service,
        since=since,
        until=until,
        matched=outcomes[Outcome.MATCH],
        mismatched=outcomes[Outcome.MISMATCH],
        changed=outcomes[Outcome.CHANGED],
        errors=outcomes[Outcome.ERROR],
        dropped=dict(dropped.most_common()),
        error_causes=dict(errors.most_common()),
        switched=dict(sorted(switches.items())),
        worst_fields=tuple(FieldCount(field=name, count=count) for name, count in worst.most_common(fields)),
        examples=tuple(_example(row) for row in stored[:examples]),
    )


def breaker_states(service: str) -> tuple[BreakerState, ...]:
    """Return the last known state of each breaker: this process's own, and what others wrote down."""
    known: dict[tuple[str, str], BreakerState] = {}
    for event in BreakerEvent.objects.filter(service=service).order_by("at", "pk"):
        known[event.upstream, event.process] = BreakerState(
            upstream=event.upstream, process=event.process, state=event.state, since=event.at, reason=event.reason
        )
    own = metrics.process_name()
    for breaker in breakers(service):
        before = known.get((breaker.name, own))
        if before is None or before.state != breaker.state:
            known[breaker.name, own] = BreakerState(
                upstream=breaker.name, process=own, state=breaker.state, since=datetime.now(UTC), reason=breaker.reason
            )
    return tuple(state for _, state in sorted(known.items()))


def breaker_openings(service: str, since: datetime) -> int:
    """Return how many times a breaker between clients and the service has opened since a moment."""
    opened = BreakerEvent.objects.filter(service=service, at__gte=since, state="open", previous="closed")
    return opened.exclude(upstream__endswith=f".{SHADOW}").count()


def upstream_health(service: str, store: str) -> Health:
    """Ask an upstream whether it is well; a failure is an answer too, not an error."""
    upstream = upstream_for(service, store)
    started = monotonic()
    request = OutboundRequest(
        method="GET",
        raw_path_qs=HEALTH_PATH,
        headers=[("Host", upstream.url.netloc), ("Accept", "application/json")],
        deadline=started + min(2.0, conf().service(service).timeouts.total),
    )
    status: int | None = None
    try:
        response = send(upstream, request)
        response.close()
        status, detail = response.status, f"answered {response.status}"
    except ForwardError as error:
        detail = str(error)
    return Health(
        service=service,
        store=store,
        base_url=upstream.base_url,
        ok=status == 200,
        status=status,
        seconds=monotonic() - started,
        detail=detail,
    )


def wilson(hits: int, total: int, z: float = Z_95) -> tuple[float, float] | None:
    """Return the Wilson score interval of a share; None for no samples."""
    if not total:
        return None
    share = hits / total
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    middle = share + z * z / (2 * total)
    scale = 1 + z * z / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def _counts(service: str, since: datetime) -> Any:
    return TrafficCount.objects.filter(service=service, at__gte=since).only(
        "at", "kind", "side", "outcome", "cause", "count", "histogram"
    )


def _example(row: ShadowMismatch) -> Mapping[str, Any]:
    return {"at": row.at, **{name: getattr(row, name) for name in SHOWN}}
