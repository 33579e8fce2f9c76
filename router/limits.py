"""How much of one service's traffic may be diverted: the envelope, the flag, and the smaller of both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from router.holders import Ownership
from router.routes import Kind
from router.snapshot import Envelope, FlagRule, Snapshot

Channel: TypeAlias = Literal["reads", "writes", "shadow"]

CHANNELS: tuple[Channel, ...] = ("reads", "writes", "shadow")
"""What a flag may steer: the second half of its name."""

CHANNEL_OF: dict[Kind, Channel] = {Kind.READ: "reads", Kind.WRITE: "writes"}

KILL_ALL = "strangler.off"
"""The waffle switch that keeps everything in legacy."""

_NO_ENVELOPE = Envelope(step="no plan")
_NO_FLAG = FlagRule(name="", everyone=True)


def flag_name(service: str, channel: str) -> str:
    """Return the name of the flag that steers one channel of a service: ``orders.reads``."""
    return f"{service}.{channel}"


def kill_switch(service: str) -> str:
    """Return the name of the waffle switch that keeps one service in legacy."""
    return f"{service}.off"


BLOCKERS: dict[str, tuple[Callable[[str, Snapshot], bool], str]] = {
    "no-snapshot": (
        lambda service, snapshot: snapshot.version == 0,
        "this process has not been able to read the routing rules yet",
    ),
    "killed": (
        lambda service, snapshot: KILL_ALL in snapshot.killed or kill_switch(service) in snapshot.killed,
        "the kill switch {switch} is on",
    ),
    "no-plan": (
        lambda service, snapshot: service not in snapshot.envelopes,
        "{service} has no plan",
    ),
}
"""What keeps everything in legacy whatever envelope and flag say, first match first."""

LIMITED_BY = {
    "no-flag": "there is no flag {flag}, so all that {step} allows",
    "flag": "the flag {flag} asks for no more",
    "envelope": "{step} allows no more",
    **{code: sentence for code, (_, sentence) in BLOCKERS.items()},
}
"""Why no more is effective."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What envelope and flag allow on one channel of a service."""

    service: str
    channel: Channel
    flag_name: str
    step: str
    """The step of the plan that sets the envelope."""
    store: str
    shadow_store: str
    """The store that copies of reads go to, or ``legacy``."""
    owned_store: str
    """The store that answers for buckets that the service owns."""
    replica_store: str
    """Where copies of reads of such buckets go, on the data that was theirs before: a store, or ``legacy``."""
    ownership: Ownership | None
    """Who owns the service's data; None where it cannot move."""
    rule: FlagRule
    """The flag; where there is none, one that lets everybody in."""
    has_flag: bool
    envelope: int
    requested: int
    """What the flag asks for."""
    effective: int
    """What it gets: the smaller of both, nothing if it is blocked."""
    blocked: str | None
    """The blocker's code."""
    switch: str
    """The kill switch that counts."""
    paused: bool

    @property
    def moved(self) -> Ownership | None:
        """Return who owns the service's data if some of it has left legacy, else None: then ownership plays no part."""
        return None if self.ownership is None or self.ownership.wholly_legacy else self.ownership

    @property
    def limited_by(self) -> str:
        """Return why no more is effective, as a code from LIMITED_BY."""
        if self.blocked is not None:
            return self.blocked
        if not self.has_flag:
            return "no-flag"
        return "flag" if self.requested < self.envelope else "envelope"

    @property
    def why(self) -> str:
        """Say why no more is effective, and how much of it ownership overrides."""
        said = LIMITED_BY[self.limited_by].format(
            service=self.service, flag=self.flag_name, step=self.step, switch=self.switch
        )
        return said if self.moved is None else f"{said}; whatever that says, {self.moved}"

    @property
    def settled(self) -> bool | None:
        """Return whether envelope and flag let all in (True) or nothing (False); None where it depends on who asks."""
        if self.effective == 100:
            return True
        if self.blocked is not None or self.envelope == 0:
            return False
        return False if self.requested == 0 and not self.rule.names_people else None


def limits(service: str, channel: Channel, snapshot: Snapshot) -> Limits:
    """Return the limits of a channel, worked out once per snapshot."""
    place = (service, channel)
    found: Limits | None = snapshot.memo.get(place)
    if found is None:
        found = snapshot.memo[place] = _worked_out(service, channel, snapshot)
    return found


def _worked_out(service: str, channel: Channel, snapshot: Snapshot) -> Limits:
    envelope = snapshot.envelopes.get(service, _NO_ENVELOPE)
    name = flag_name(service, channel)
    flag = snapshot.flags.get(name)
    rule = flag or _NO_FLAG
    allowed = max(0, min(100, int(getattr(envelope, channel))))
    blocked = next((code for code, (applies, _) in BLOCKERS.items() if applies(service, snapshot)), None)
    return Limits(
        service=service,
        channel=channel,
        flag_name=name,
        step=envelope.step,
        store=envelope.store,
        shadow_store=envelope.shadow_store or envelope.store,
        owned_store=envelope.owned_store,
        replica_store=_replica_store(envelope),
        ownership=snapshot.ownership.get(service),
        rule=rule,
        has_flag=flag is not None,
        envelope=allowed,
        requested=rule.requested,
        effective=0 if blocked else min(allowed, rule.requested),
        blocked=blocked,
        switch=KILL_ALL if KILL_ALL in snapshot.killed else kill_switch(service),
        paused=envelope.paused,
    )


def _replica_store(envelope: Envelope) -> str:
    """Return the store on the data that a bucket had before it moved: the one that is not its owner's."""
    others = (store for store in (envelope.shadow_store, envelope.store) if store and store != envelope.owned_store)
    return next(others, "shared")
