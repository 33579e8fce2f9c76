"""The router's tables."""

from router.models.flag import BreakerOverride, Flag
from router.models.shadow import ShadowFieldCount, ShadowRule
from router.models.traffic import BreakerEvent, ShadowMismatch, TrafficCount

__all__ = [
    "BreakerEvent",
    "BreakerOverride",
    "Flag",
    "ShadowFieldCount",
    "ShadowMismatch",
    "ShadowRule",
    "TrafficCount",
]
