"""The two sides of an aggregate, as this program reaches them."""

from dataclasses import dataclass

from migrations_plan.sync.aggregates import declared
from migrations_plan.sync.conf import SETTING, Peer, conf
from migrations_plan.sync.errors import NotConfigured
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.messages import Side
from migrations_plan.sync.wire.client import RemoteSide


@dataclass(frozen=True, kw_only=True)
class Direction:
    """One way that changes take."""

    source: Side
    target: Side

    @property
    def name(self) -> str:
        """Return the name that commands and histograms use: ``legacy->extracted``."""
        return f"{self.source.name}->{self.target.name}"


def here() -> LocalSide:
    """Return this program's own side."""
    return LocalSide()


def peer_of(aggregate: str) -> Peer | None:
    """Return where the other side of an aggregate is: where the settings say, or where that of its leader is."""
    peers = conf().peers
    leaders = [one.moves_with for one in declared() if one.name == aggregate]
    return next((peers[name] for name in (aggregate, *leaders) if name in peers), None)


def there(aggregate: str) -> RemoteSide:
    """Return the other side of an aggregate; raise NotConfigured where the settings do not say where it is."""
    settings, peer = conf(), peer_of(aggregate)
    if peer is None:
        known = ", ".join(sorted(settings.peers)) or "none"
        raise NotConfigured(
            f"{SETTING}['PEERS'] does not say where the other side of {aggregate!r} is (known: {known}). Sync is run "
            "by the control plane, whose settings name every peer."
        )
    return RemoteSide(peer, name="extracted" if settings.side == "legacy" else "legacy")


def directions(aggregate: str) -> tuple[Direction, Direction]:
    """Return both ways of an aggregate: out of this side, and into it."""
    mine, other = here(), there(aggregate)
    return Direction(source=mine, target=other), Direction(source=other, target=mine)
