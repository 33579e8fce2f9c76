"""What steers a service now: requested and effective side by side, and why they differ."""

from dataclasses import dataclass

from router.conf import conf
from router.holders import Ownership
from router.limits import CHANNELS, Channel, Limits, limits
from router.poller import load
from router.registry import routes
from router.snapshot import FlagRule, Snapshot


@dataclass(frozen=True, kw_only=True)
class Effective:
    """One channel of a service: what its flag asks for and what it gets."""

    service: str
    channel: Channel
    """``reads``, ``writes`` or ``shadow``."""
    step: str
    """The step whose envelope counts."""
    envelope: int
    """The most that the step allows, in percent."""
    requested: int
    """What the flag asks for, in percent; 100 where there is no flag."""
    effective: int
    """What it gets, in percent."""
    limited_by: str
    """Why no more: ``envelope``, ``flag``, ``no-flag``, ``killed``, ``no-plan``."""
    why: str
    """The same in a sentence."""
    people: str
    """Who is let in besides the percentage, empty where nobody is."""
    store: str
    """Which of the service's stores answers, or gets the copies."""
    owned: int = 0
    """Percent of the buckets that the service owns: those it answers for, whatever is effective."""
    changing_hands: int = 0
    """Buckets that nobody owns for a moment."""


@dataclass(frozen=True, kw_only=True)
class FlagState:
    """A flag that steers a service, as it is in the database."""

    name: str
    exists: bool
    everyone: bool | None
    percent: int | None
    people: str
    requested: int


def effective(service: str, snapshot: Snapshot | None = None) -> dict[Channel, Effective]:
    """Return requested and effective of each channel, read from the database unless a snapshot is given."""
    known = snapshot or load()
    return {channel: _effective(limits(service, channel, known)) for channel in CHANNELS}


def flags(service: str, snapshot: Snapshot | None = None) -> tuple[FlagState, ...]:
    """Return the flags that steer a service, also those that are not there yet."""
    known = snapshot or load()
    return tuple(_flag_state(limits(service, channel, known)) for channel in CHANNELS)


def kill_switches(service: str, snapshot: Snapshot | None = None) -> tuple[str, ...]:
    """Return the names of the kill switches that are on for a service."""
    known = snapshot or load()
    own = {limits(service, channel, known).switch for channel in CHANNELS}
    return tuple(sorted(own & known.killed))


def known_services() -> tuple[str, ...]:
    """Return the names of all services that have settings, sorted."""
    return tuple(sorted(conf().services))


def stores(service: str) -> tuple[str, ...] | None:
    """Return the stores that have an upstream in the settings, sorted; None for a service without settings."""
    known = conf().services.get(service)
    return None if known is None else tuple(sorted(known.upstreams))


def routed_services() -> tuple[str, ...]:
    """Return the names of all services that have routes, sorted."""
    return tuple(sorted({route.service for route in routes()}))


def people(rule: FlagRule) -> str:
    """Say who a flag lets in besides its percentage."""
    if not rule.names_people:
        return ""
    named = (
        (bool(rule.users), f"{len(rule.users)} named user{'s' if len(rule.users) != 1 else ''}"),
        (rule.superusers, "superusers"),
        (rule.staff, "staff"),
        (rule.authenticated, "logged-in users"),
    )
    return ", ".join(text for applies, text in named if applies)


def _effective(found: Limits) -> Effective:
    moved = found.moved or Ownership()
    return Effective(
        service=found.service,
        channel=found.channel,
        step=found.step,
        envelope=found.envelope,
        requested=found.requested,
        effective=found.effective,
        limited_by=found.limited_by,
        why=found.why,
        people=people(found.rule),
        store=found.shadow_store if found.channel == "shadow" else found.store,
        owned=len(moved.extracted),
        changing_hands=len(moved.changing),
    )


def _flag_state(found: Limits) -> FlagState:
    return FlagState(
        name=found.flag_name,
        exists=found.has_flag,
        everyone=found.rule.everyone if found.has_flag else None,
        percent=found.rule.percent,
        people=people(found.rule),
        requested=found.requested,
    )
