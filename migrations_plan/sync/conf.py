"""Settings of sync, from ``settings.STRANGLER_SYNC``, read when they are needed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from migrations_plan.sync.reading import read, text

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
    """By aggregate; only the control plane needs them. One that moves with another needs none of its own."""
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
    """How long the other side may take over documents and digests."""
    ownership_seconds: float = 5.0
    """How long it may take over saying, or changing, who it is to buckets: nobody may write in one meanwhile."""
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
    announce_seconds: float = 2.0
    """How long before the first of some buckets changes hands it is said that they will, so that every router knows."""
    capture: bool = False
    """Whether `migrate` installs the triggers; a service's own store says yes, in a monolith the plan does it."""

    def patience(self, verb: str) -> float:
        """Return how many seconds the other side may take over a verb."""
        return min(self.timeout_seconds, self.ownership_seconds) if verb == "ownership" else self.timeout_seconds


def conf() -> SyncSettings:
    """Return the settings as they are now; raise ImproperlyConfigured for a key or a value that means nothing."""
    found = read(SETTING, SyncSettings, {Mapping[str, Peer]: _peers})
    if found.side not in SIDES:
        raise ImproperlyConfigured(f"{SETTING}['SIDE'] is {found.side!r}. Use one of: {', '.join(SIDES)}.")
    return found


def other(side: str) -> str:
    """Return the name of the side that ``side`` is not."""
    return SIDES[1 - SIDES.index(side)]


def _peers(setting: str, name: str, value: Any) -> Mapping[str, Peer]:
    example = '{"orders": {"URL": "http://127.0.0.1:8103/strangler/sync/", "SECRET": "...", "AUDIENCE": "orders"}}'
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(f"{setting}[{name!r}] is a {type(value).__name__}. Use a dictionary: {example}.")
    return {str(aggregate): _peer(f"{name}.{aggregate}", given, example) for aggregate, given in value.items()}


def _peer(place: str, given: Any, example: str) -> Peer:
    """Return one peer; what is wrong is told by its keys, since its values hold a secret."""
    wanted = {"URL", "SECRET"}
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{SETTING}[{place!r}] is a {type(given).__name__}. Use: {example}.")
    if not wanted <= set(given) <= wanted | {"AUDIENCE"}:
        keys = ", ".join(sorted(map(str, given))) or "no key"
        raise ImproperlyConfigured(f"{SETTING}[{place!r}] has {keys}. Use: {example}.")
    url = text(SETTING, f"{place}.URL", given["URL"])
    if not url.startswith(("http://", "https://")) or not url.endswith("/"):
        raise ImproperlyConfigured(
            f"{SETTING}[{place!r}]['URL'] is {url!r}. Use an http(s) address that ends with a slash."
        )
    if not isinstance(given["SECRET"], str) or not given["SECRET"]:
        raise ImproperlyConfigured(f"{SETTING}[{place!r}]['SECRET'] is empty or no text. Take it from the environment.")
    audience = text(SETTING, f"{place}.AUDIENCE", given.get("AUDIENCE", place.rpartition(".")[2]))
    return Peer(url=url, secret=given["SECRET"], audience=audience)
