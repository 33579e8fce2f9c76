"""What has to hold of orders that live in two homes. Pure functions over evidence, like the other checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from demo.homes import ONLY_OWN, ONLY_SHOP
from demo.planting import Plant
from demo.sync_tables import Delays


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a comparison by the toolkit has told."""

    compared: int = 0
    kinds: Mapping[str, str] = field(default_factory=dict)
    """By order, in what way the homes differ."""
    unresolved: int = 0

    @property
    def clean(self) -> bool:
        """Whether everything was compared and nothing differs."""
        return bool(self.compared) and not self.kinds and not self.unresolved

    def __str__(self) -> str:
        return f"{len(self.kinds)} of {self.compared} differ, {self.unresolved} could not be told"


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """What was made wrong on purpose, who saw it, and what is left of it."""

    planted: Sequence[Plant] = ()
    seen: Mapping[int, str] = field(default_factory=dict)
    """What the demo's own comparison of the rows found."""
    found: Found = field(default_factory=Found)
    repaired: Found = field(default_factory=Found)
    """What the command that repairs said in the end, when it had compared once more."""
    left: Mapping[int, str] = field(default_factory=dict)
    """What the demo's own comparison still found after the repair."""

    @property
    def mended(self) -> int:
        """How many of them are right again."""
        bad = {str(order_id) for order_id in self.left} | set(self.repaired.kinds)
        return sum(1 for one in self.planted if str(one.order_id) in self.found.kinds and str(one.order_id) not in bad)


@dataclass(frozen=True, kw_only=True)
class Standstill:
    """A time in which nothing could be synced, because somebody was killed."""

    who: str
    seconds: float
    waited: int
    """Orders that waited at the end of it."""
    caught_up: float
    """Seconds until they all had arrived."""


@dataclass(frozen=True, kw_only=True)
class Shadowed:
    """How reads compared that were answered from the shared database and copied to the service's own."""

    compared: int = 0
    matched: int = 0
    wrong: int = 0
    """Answers that differed, and those that were none."""

    @property
    def rate(self) -> float:
        """The share that agreed."""
        return self.matched / self.compared if self.compared else 0.0


@dataclass(frozen=True, kw_only=True)
class Homes:
    """How both homes compare at one moment, row by row."""

    shop: int = 0
    own: int = 0
    differences: Mapping[int, str] = field(default_factory=dict)
    verification: Found = field(default_factory=Found)
    """What the toolkit said at that time."""
    refused: int = 0
    """Changes that one side did not accept."""


@dataclass(frozen=True, kw_only=True)
class SyncFloors:
    """How much has to have happened for sync to have proved anything."""

    orders: int = 500
    delays: int = 30
    planted: int = 6
    shadowed: int = 150
    standstills: int = 2
    waited: int = 5
    """Orders that waited while somebody was dead."""


@dataclass(frozen=True, kw_only=True)
class Synced:
    """Everything that is known of the two homes at the end."""

    backfilled: Sequence[int] = ()
    """Orders that were marked, each time that sync began."""
    delays: Delays = field(default_factory=Delays)
    """Measured while nothing was broken."""
    lag: tuple[float, float] = (0.0, 0.0)
    """What the toolkit itself says of the same time: p50 and p99 in seconds."""
    corruption: Corruption = field(default_factory=Corruption)
    standstills: Sequence[Standstill] = ()
    shadowed: Shadowed = field(default_factory=Shadowed)
    homes: Homes = field(default_factory=Homes)


def lost(synced: Synced) -> list[str]:
    """Find orders that the service's store has not got."""
    return [f"order {one} {what}" for one, what in synced.homes.differences.items() if what == ONLY_SHOP]


def duplicated(synced: Synced) -> list[str]:
    """Find orders that the service's store alone has."""
    return [f"order {one} {what}" for one, what in synced.homes.differences.items() if what == ONLY_OWN]


def mismatched(synced: Synced) -> list[str]:
    """Find orders that are not the same in both homes."""
    told = synced.homes.differences.items()
    return [f"order {one} {what}" for one, what in told if what not in (ONLY_SHOP, ONLY_OWN)]


def unequal(synced: Synced) -> list[str]:
    """Find everything in which the homes differ, whoever says so."""
    homes, said = synced.homes, synced.homes.verification
    wrong = [f"order {one} {what}" for one, what in homes.differences.items()]
    if homes.shop != homes.own:
        wrong.append(f"{homes.shop} orders in the shop, {homes.own} in the service's store")
    if not said.clean:
        wrong.append(f"sync verify: {said}")
    if homes.refused:
        wrong.append(f"{homes.refused} changes were not accepted")
    if synced.shadowed.wrong:
        wrong.append(f"{synced.shadowed.wrong} of {synced.shadowed.compared} shadowed reads differed or failed")
    return wrong


def not_mended(synced: Synced) -> list[str]:
    """Find corruption that was not found or not mended, and what was found that nobody had planted."""
    done = synced.corruption
    planted = {str(one.order_id): one for one in done.planted}
    wrong = [f"{one} was not found" for key, one in planted.items() if key not in done.found.kinds]
    wrong += [
        f"{one} was found as {done.found.kinds[key]}, it is {one.kind}"
        for key, one in planted.items()
        if done.found.kinds.get(key, one.kind) != one.kind
    ]
    wrong += [
        f"order {key} was found {kind}, nobody had touched it"
        for key, kind in done.found.kinds.items()
        if key not in planted
    ]
    shown = {one.order_id for one in done.planted if one.shows}
    wrong += [f"the rows of order {one} differ in one count and not in the other" for one in shown ^ done.seen.keys()]
    wrong += [f"order {one} {what}, after the repair" for one, what in done.left.items()]
    if done.planted and not done.repaired.clean:
        wrong.append(f"after the repair: {done.repaired}")
    return wrong


def too_thin(synced: Synced, floors: SyncFloors) -> list[str]:
    """Find what happened too seldom to prove anything."""
    counted = {
        "orders in both homes": (min(synced.homes.shop, synced.homes.own), floors.orders),
        "orders whose way was measured": (synced.delays.samples, floors.delays),
        "corrupted orders": (len(synced.corruption.planted), floors.planted),
        "reads compared with the service's own store": (synced.shadowed.compared, floors.shadowed),
        "standstills": (len(synced.standstills), floors.standstills),
        "orders that waited in the shortest standstill": (
            min((one.waited for one in synced.standstills), default=0),
            floors.waited,
        ),
    }
    return [f"only {count} {name}, {floor} are needed" for name, (count, floor) in counted.items() if count < floor]
