"""Settings of sync, from ``settings.STRANGLER_SYNC``, read when they are needed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

SETTING = "STRANGLER_SYNC"
SIDES = ("legacy", "extracted")


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Where the other side of an aggregate is."""

    url: str
    """Under which the five verbs stand: ``http://127.0.0.1:8103/strangler/sync/``."""
    secret: str
    audience: str
    """Whom tokens are for: the name of the service."""


@dataclass(frozen=True, kw_only=True)
class SyncSettings:
    """Which side this program is, where the other is, and how hard to work."""

    side: str = "legacy"
    """``legacy`` for the control plane, ``extracted`` for a service."""
    peers: Mapping[str, Peer] = field(default_factory=dict)
    """By aggregate; only the control plane needs them."""
    audience: str = ""
    """The name that tokens for this program are made out to; only a service needs it."""
    secret: str = ""
    """What such tokens are signed with."""
    batch_documents: int = 500
    batch_bytes: int = 4_000_000
    """The most of documents, uncompressed, that are sent at once; a document that is larger goes alone."""
    max_body_bytes: int = 32_000_000
    """A larger body is refused, compressed or not."""
    max_applies: int = 2
    """Applying requests that a process serves at once; others are asked to come back."""
    timeout_seconds: float = 30.0
    lease_seconds: float = 10.0
    """A relay, backfill or verification that has not been heard of for so long is given up for dead."""
    backfill_chunk: int = 2_000
    backfill_queue: int = 20_000
    """The backfill waits while so many aggregates are marked and not sent."""
    backfill_latency_seconds: float = 0.25
    """The backfill slows down when a chunk of it takes longer in this side's database."""
    verify_range: int = 2_000
    """Aggregates that are compared at once."""
    lag_target_seconds: float = 2.0
    """Sync has caught up when its lag, p99, is below."""
    capture: bool = False
    """Whether `migrate` installs the triggers; a service's own store says yes, in a monolith the plan does it."""


def conf() -> SyncSettings:
    """Return the settings as they are now; raise ImproperlyConfigured for a key or a value that means nothing."""
    given = dict(getattr(settings, SETTING, {}))
    known = {item.name.upper(): item for item in fields(SyncSettings)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise ImproperlyConfigured(f"{SETTING} has a key {name!r}, which means nothing. Known: {', '.join(known)}.")
        values[name.lower()] = _READERS[known[name].type](name, value)
    if values.get("side", "legacy") not in SIDES:
        raise ImproperlyConfigured(f"{SETTING}['SIDE'] is {values['side']!r}. Use one of: {', '.join(SIDES)}.")
    return SyncSettings(**values)


def other(side: str) -> str:
    """Return the name of the side that ``side`` is not."""
    return SIDES[1 - SIDES.index(side)]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ImproperlyConfigured(f"{SETTING}[{name!r}] is {value!r}, which is not a text.")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ImproperlyConfigured(f"{SETTING}[{name!r}] is {value!r}, which is not a number above zero.")
    return float(value)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ImproperlyConfigured(f"{SETTING}[{name!r}] is {value!r}, which is not a whole number above zero.")
    return value


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ImproperlyConfigured(f"{SETTING}[{name!r}] is {value!r}. Use True or False.")
    return value


def _peers(name: str, value: Any) -> Mapping[str, Peer]:
    example = '{"orders": {"URL": "http://127.0.0.1:8103/strangler/sync/", "SECRET": "...", "AUDIENCE": "orders"}}'
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(f"{SETTING}[{name!r}] is {value!r}. Use a dictionary: {example}.")
    read: dict[str, Peer] = {}
    for aggregate, given in value.items():
        wanted = {"URL", "SECRET"}
        if not isinstance(given, Mapping) or not wanted <= set(given) <= wanted | {"AUDIENCE"}:
            raise ImproperlyConfigured(f"{SETTING}[{name!r}][{aggregate!r}] is {given!r}. Use: {example}.")
        url = _text(f"{name}.{aggregate}.URL", given["URL"])
        if not url.startswith(("http://", "https://")) or not url.endswith("/"):
            raise ImproperlyConfigured(
                f"{SETTING}[{name!r}][{aggregate!r}]['URL'] is {url!r}. Use an http(s) address that ends with a slash."
            )
        secret = _text(f"{name}.{aggregate}.SECRET", given["SECRET"])
        audience = _text(f"{name}.{aggregate}.AUDIENCE", given.get("AUDIENCE", aggregate))
        read[str(aggregate)] = Peer(url=url, secret=secret, audience=audience)
    return read


_READERS: dict[Any, Any] = {
    str: _text,
    float: _number,
    int: _whole,
    bool: _truth,
    Mapping[str, Peer]: _peers,
}
