"""The setting STRANGLER, typed and read lazily."""

import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from router.exceptions import ConfigurationError, UnknownService

SETTING = "STRANGLER"


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long one call to a service may take, in seconds."""

    connect: float = 0.5
    """Until the connection stands."""
    first_byte: float = 2.0
    """From the last byte of the request to the first of the answer."""
    total: float = 5.0
    """Until the last byte of the answer."""


@dataclass(frozen=True, kw_only=True)
class BreakerSettings:
    """When calls to an upstream are given up, and when they are tried again."""

    fail_max: int = 5
    """Consecutive failures that open the breaker."""
    reset_seconds: float = 2.0
    """How long it stays open before one probe is let through."""
    window_seconds: float = 10.0
    """The window over which the failure rate is measured."""
    min_calls: int = 20
    """Fewer calls than this in the window prove nothing."""
    failure_rate: float = 0.5
    """The share of failed calls in the window that opens the breaker, 0 to 1."""
    slow_seconds: float = 1.0
    """A call that takes longer counts as slow."""
    slow_rate: float = 0.8
    """The share of slow calls in the window that opens the breaker, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class ShadowSettings:
    """The limits of the shadow pool, which works off the request path."""

    workers: int = 2
    """Threads per process."""
    queue: int = 100
    """Comparisons that may wait; newer ones are dropped and counted."""
    deadline_seconds: float = 2.0
    """How long one shadow request may take."""
    lag_seconds: float = 1.0
    """After how long a store with data of its own is asked again, where it differs."""
    patience_seconds: float = 30.0
    """How long such a store may be behind; after that there is nothing to compare."""
    max_bytes: int = 262_144
    """Answers longer than this are not compared."""
    max_request_bytes: int = 65_536
    """Requests with a longer body are not sent as dry-runs."""
    queue_bytes: int = 8_388_608
    """How many bytes of requests and answers all comparisons of a process may hold; newer ones are dropped."""
    slow_factor: float = 2.0
    """Shadowing is switched off while a side takes so many times as long for its clients as it usually does."""
    slow_window_seconds: float = 5.0
    """Over which that is measured, and for which it is switched off at least."""
    memory_share: float = 0.9
    """Shadowing is switched off while more than this of the container's memory is used, or of the machine's."""
    rss_bytes: int = 0
    """Likewise, while this process holds more; 0 for no limit of its own."""
    keep: int = 1_000
    """Stored mismatches per service; the oldest go first."""
    keep_bytes: int = 8_388_608
    """What the stored mismatches of a service may take; the oldest go first."""
    keep_days: float = 14.0
    """How old a stored mismatch becomes."""
    noise_share: float = 0.05
    """The share of comparisons in which the side that answered is asked a second time, to learn its noise."""
    redact: tuple[str, ...] = ("password", "token", "secret", "card", "authorization", "cookie")
    """Field names whose values are never stored (a name that contains one of these)."""


@dataclass(frozen=True, kw_only=True)
class HoldSettings:
    """How long a write waits for an owner while its data changes hands."""

    seconds: float = 3.0
    """After that it is answered 503."""
    most: int = 8
    """Writes that wait at once in a process; one more is answered 503 at once."""
    poll_seconds: float = 0.02
    """How often one that waits asks the database who owns its data."""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """One service that is being extracted: where it runs and how it is called."""

    name: str
    upstreams: Mapping[str, str] = field(default_factory=dict)
    """Base URL per store: ``{"shared": "http://127.0.0.1:8101"}``."""
    secret: str = ""
    """Signs the identity tokens for this service, at least 32 characters."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)


@dataclass(frozen=True, kw_only=True)
class StranglerSettings:
    """Everything in ``settings.STRANGLER``."""

    services: Mapping[str, ServiceSettings] = field(default_factory=dict)
    snapshot_source: str = ""
    """Dotted path of a class with ``envelopes()``. Empty: nothing is diverted."""
    identity_resolvers: tuple[str, ...] = ()
    """Dotted paths, asked in this order who the client is."""
    poller: bool = True
    """Whether processes refresh their snapshot by themselves. Tests turn it off and call ``poller.refresh()``."""
    poll_seconds: float = 1.0
    first_load_seconds: float = 2.0
    """How long the first request waits for the first snapshot; after that it stays in legacy."""
    debug_headers: bool = False
    """Show who answered, and why, to everybody and not only to staff."""
    max_body_bytes: int = 1_048_576
    """Longer request bodies are streamed and cannot be sent a second time."""
    forward_threads: int = 32
    """Threads per service and process that wait for its answers, where the project runs on an event loop (ASGI)."""
    shadow: ShadowSettings = field(default_factory=ShadowSettings)
    hold: HoldSettings = field(default_factory=HoldSettings)
    own_writes_seconds: float = 60.0
    """For how long after a write a client is not shown anything older, by a copy that has not followed yet."""

    def service(self, name: str) -> ServiceSettings:
        """Return the settings of one service, or say which ones there are."""
        try:
            return self.services[name]
        except KeyError:
            known = ", ".join(sorted(self.services)) or "none"
            raise UnknownService(f"{name!r} is no service of {SETTING}['SERVICES']. Known: {known}.") from None


@dataclass(frozen=True, kw_only=True)
class UnknownKey:
    """A key in STRANGLER that means nothing, and the ones that were perhaps meant."""

    where: str
    key: str
    suggestion: str | None


def conf() -> StranglerSettings:
    """Return the settings, parsed once and again after each change of the setting."""
    return _parsed()


@functools.cache
def _parsed() -> StranglerSettings:
    return parse(getattr(settings, SETTING, {}))


def parse(raw: object) -> StranglerSettings:
    """Turn the dictionary into settings; raise ConfigurationError for a value of the wrong type."""
    return _Reader(SETTING, StranglerSettings).read(raw)  # type: ignore[no-any-return]


def unknown_keys(raw: object) -> Iterator[UnknownKey]:
    """Yield every key that no setting has, so that a typing error does not go unnoticed."""
    yield from _Reader(SETTING, StranglerSettings).unknown(raw)


def _forget(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        _parsed.cache_clear()


setting_changed.connect(_forget, dispatch_uid="router.conf")


# --- reading -----------------------------------------------------------------------------------------------
def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ConfigurationError(f"{where} is {value!r}, which is not a number above zero.")
    return float(value)


def _whole(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ConfigurationError(f"{where} is {value!r}, which is not a whole number above zero.")
    return value


def _truth(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{where} is {value!r}. Use True or False.")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{where} is {value!r}, which is not text.")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise ConfigurationError(f"{where} is {value!r}. Use a list of texts.")
    return tuple(_text(item, f"{where}[{index}]") for index, item in enumerate(value))


def _urls(value: object, where: str) -> Mapping[str, str]:
    return MappingProxyType({key: _text(item, f"{where}[{key!r}]") for key, item in _mapping(value, where).items()})


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where} is {value!r}, which is not a dictionary.")
    return value


_PLAIN: dict[object, Callable[[object, str], Any]] = {
    float: _number,
    int: _whole,
    bool: _truth,
    str: _text,
    tuple[str, ...]: _texts,
    Mapping[str, str]: _urls,
}
_NESTED = (Timeouts, BreakerSettings, ShadowSettings, HoldSettings)


class _Reader:
    """Read one level of the setting into its dataclass."""

    def __init__(self, where: str, target: Any, **fixed: object) -> None:
        self.where = where
        self.target = target
        self.fixed = fixed
        self.fields = {item.name.upper(): item for item in dataclasses.fields(target) if item.name not in fixed}

    def read(self, raw: object) -> Any:
        values = {
            item.name: self._value(item.type, raw_value, f"{self.where}[{key!r}]")
            for key, raw_value in _mapping(raw, self.where).items()
            if (item := self.fields.get(key)) is not None
        }
        return self.target(**self.fixed, **values)

    def unknown(self, raw: object) -> Iterator[UnknownKey]:
        if not isinstance(raw, Mapping):
            return
        for key, value in raw.items():
            where = f"{self.where}[{key!r}]"
            if key not in self.fields:
                close = difflib.get_close_matches(str(key).upper(), self.fields, n=1)
                yield UnknownKey(where=self.where, key=str(key), suggestion=close[0] if close else None)
            elif (kind := self.fields[key].type) in _NESTED:
                yield from _Reader(where, kind).unknown(value)
            elif kind == Mapping[str, ServiceSettings] and isinstance(value, Mapping):
                for name, service in value.items():
                    yield from _Reader(f"{where}[{name!r}]", ServiceSettings, name=name).unknown(service)

    def _value(self, kind: Any, raw: object, where: str) -> Any:
        if kind == Mapping[str, ServiceSettings]:
            return MappingProxyType(
                {
                    name: _Reader(f"{where}[{name!r}]", ServiceSettings, name=name).read(service)
                    for name, service in _mapping(raw, where).items()
                }
            )
        if kind in _NESTED:
            return _Reader(where, kind).read(raw)
        return _PLAIN[kind](raw, where)
