"""The public face of the router, for the plan and for everybody else's commands and pages."""

from router.holders import LEGACY, Holder, Ownership
from router.shadow.findings import verdicts as shadow_verdicts
from router.shadow.verdicts import RouteVerdict
from router.snapshot import Envelope, OwnershipSource, Snapshot, SnapshotSource
from router.steering import (
    Effective,
    FlagState,
    effective,
    flags,
    kill_switches,
    known_services,
    routed_services,
    stores,
)
from router.traffic_api import (
    BreakerState,
    FieldCount,
    HandoverSummary,
    Health,
    ShadowSummary,
    SideTraffic,
    TrafficSummary,
    breaker_openings,
    breaker_states,
    handovers,
    shadow_summary,
    traffic,
    upstream_health,
)

__all__ = [
    "LEGACY",
    "BreakerState",
    "Effective",
    "Envelope",
    "FieldCount",
    "FlagState",
    "HandoverSummary",
    "Health",
    "Holder",
    "Ownership",
    "OwnershipSource",
    "RouteVerdict",
    "ShadowSummary",
    "SideTraffic",
    "Snapshot",
    "SnapshotSource",
    "TrafficSummary",
    "breaker_openings",
    "breaker_states",
    "effective",
    "flags",
    "handovers",
    "kill_switches",
    "known_services",
    "routed_services",
    "shadow_summary",
    "shadow_verdicts",
    "stores",
    "traffic",
    "upstream_health",
]
