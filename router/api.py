"""The public face of the router, for the plan and for everybody else's commands and pages."""

from router.snapshot import Envelope, Snapshot, SnapshotSource
from router.steering import (
    Effective,
    FlagState,
    effective,
    flags,
    kill_switches,
    known_services,
    routed_services,
)

__all__ = [
    "Effective",
    "Envelope",
    "FlagState",
    "Snapshot",
    "SnapshotSource",
    "effective",
    "flags",
    "kill_switches",
    "known_services",
    "routed_services",
]
