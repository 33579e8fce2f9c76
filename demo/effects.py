"""What has to follow from an order, exactly once: mails and loyalty points. Pure functions over evidence."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from demo.event_tables import EventTally
from demo.mails import Mail
from demo.tables import Fate, Points

PLACED, PAID, CANCELLED = "placed", "paid", "cancelled"


@dataclass(frozen=True, kw_only=True)
class Outage:
    """How long the broker was away, and what the shop did meanwhile."""

    seconds: float
    orders: int


@dataclass(frozen=True, kw_only=True)
class Troubles:
    """What was done to the events on their way."""

    copied: int = 0
    """Messages that were put into the broker a second time."""
    held: int = 0
    """Messages that were held back and then put in, the newest first."""
    lost: int = 0
    """Messages that a killed worker had in its hands."""
    outages: Sequence[Outage] = ()


@dataclass(frozen=True, kw_only=True)
class EffectFloors:
    """How much has to have happened for the effects to prove anything."""

    mails: int = 300
    bookings: int = 100
    mails_of_service: int = 50
    """Mails about orders that the service placed."""
    pages_by_service: int = 5
    """Orders that the pages of the shop had the service place."""
    duplicates: int = 10
    late: int = 10
    messages_lost: int = 1
    outage_seconds: float = 5.0
    orders_in_outage: int = 5


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What followed from the orders of the run."""

    fates: Sequence[Fate]
    """Every order placed during the run, whoever placed it."""
    mails: Sequence[Mail]
    points: Sequence[Points]
    balances: Mapping[int, int]
    """What each customer's profile says."""
    events: EventTally
    suppressed: int = 0
    served: Collection[str] = frozenset()
    """Numbers of the orders that the service placed, as far as its answers said so."""
    pages: Mapping[str, int] = field(default_factory=dict)
    """Orders that the pages of the shop placed through the seam, by the side that did it."""
    troubles: Troubles = field(default_factory=Troubles)

    @property
    def mails_of_service(self) -> int:
        """How many mails are about orders that the service placed."""
        return sum(1 for mail in self.mails if mail.order in self.served)


def due_mails(fate: Fate) -> Counter[str]:
    """Return the mails that have to be written about an order; about one that expired nothing more."""
    happened = {PLACED: True, PAID: fate.paid, CANCELLED: fate.status == "cancelled"}
    return Counter(kind for kind, did in happened.items() if did)


def due_points(fate: Fate) -> Counter[int]:
    """Return the bookings that have to be made for an order: a point per whole unit of money, taken back if need be."""
    points = int(fate.total) if fate.paid else 0
    if not points:
        return Counter()
    return Counter([points, -points] if fate.status == "cancelled" else [points])


def lost(effects: Effects) -> list[str]:
    """Find mails that were not written, and points that were not booked."""
    mails, points = _mails(effects), _points(effects)
    missing = [
        f"order {fate.number} ({fate.status}): no mail says {kind}"
        for fate in effects.fates
        for kind in due_mails(fate) - mails[fate.number]
    ]
    return missing + [
        f"order {fate.number} ({fate.status}): {amount:+d} points were not booked"
        for fate in effects.fates
        for amount in due_points(fate) - points[fate.order_id]
    ]


def duplicated(effects: Effects) -> list[str]:
    """Find mails that were written, and points that were booked, more than once."""
    mails, points = _mails(effects), _points(effects)
    twice = [
        f"order {fate.number} ({fate.status}): {mails[fate.number][kind]} mails say {kind}"
        for fate in effects.fates
        for kind in mails[fate.number] - due_mails(fate)
        if kind in due_mails(fate)
    ]
    return twice + [
        f"order {fate.number} ({fate.status}): {amount:+d} points were booked {points[fate.order_id][amount]} times"
        for fate in effects.fates
        for amount in points[fate.order_id] - due_points(fate)
        if amount in due_points(fate)
    ]


def mismatched(effects: Effects) -> list[str]:
    """Find mails and points for what never happened, or for somebody else, and profiles that do not add up."""
    return [*_wrong_mails(effects), *_wrong_points(effects), *_wrong_balances(effects)]


def unfinished(effects: Effects) -> list[str]:
    """Find events that were not delivered, handlers that did not finish, and what was given up."""
    return [*effects.events.undelivered, *effects.events.unhandled, *effects.events.parked]


def too_thin(effects: Effects, floors: EffectFloors) -> list[str]:
    """Find what happened too seldom to prove anything."""
    longest = max(effects.troubles.outages, key=lambda outage: outage.seconds, default=Outage(seconds=0.0, orders=0))
    counted: dict[str, tuple[float, float]] = {
        "mails": (len(effects.mails), floors.mails),
        "loyalty bookings": (len(effects.points), floors.bookings),
        "mails about orders of the service": (effects.mails_of_service, floors.mails_of_service),
        "orders that the pages had the service place": (effects.pages.get("extracted", 0), floors.pages_by_service),
        "events delivered twice": (effects.events.duplicates, floors.duplicates),
        "events delivered late": (effects.events.late, floors.late),
        "messages lost with a killed worker": (effects.troubles.lost, floors.messages_lost),
        "seconds without a broker": (round(longest.seconds, 1), floors.outage_seconds),
        "orders placed without a broker": (longest.orders, floors.orders_in_outage),
    }
    return [f"only {count} {name}, {floor} are needed" for name, (count, floor) in counted.items() if count < floor]


def _mails(effects: Effects) -> defaultdict[str, Counter[str]]:
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for mail in effects.mails:
        found[mail.order][mail.kind] += 1
    return found


def _points(effects: Effects) -> defaultdict[int, Counter[int]]:
    found: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for booking in effects.points:
        found[booking.order_id][booking.points] += 1
    return found


def _wrong_mails(effects: Effects) -> list[str]:
    fates = {fate.number: fate for fate in effects.fates}
    wrong = []
    for mail in effects.mails:
        fate = fates.get(mail.order)
        if fate is None:
            wrong.append(f"a mail to {mail.to} says {mail.kind!r} of order {mail.order!r}, which nobody placed")
        elif mail.kind not in due_mails(fate):
            wrong.append(f"order {fate.number} ({fate.status}): a mail says {mail.kind!r}")
        elif mail.to != fate.email or not fate.email:
            wrong.append(f"order {fate.number}: its mail went to {mail.to!r} instead of {fate.email!r}")
    return wrong


def _wrong_points(effects: Effects) -> list[str]:
    fates = {fate.order_id: fate for fate in effects.fates}
    wrong = []
    for booking in effects.points:
        fate = fates.get(booking.order_id)
        if fate is None:
            wrong.append(f"{booking.points:+d} points were booked for order {booking.order_id}, which nobody placed")
        elif booking.points not in due_points(fate):
            wrong.append(f"order {fate.number} ({fate.status}, {fate.total}): {booking.points:+d} points were booked")
        elif booking.customer_id != fate.customer_id:
            wrong.append(f"order {fate.number}: customer {booking.customer_id} got the points of {fate.customer_id}")
    return wrong


def _wrong_balances(effects: Effects) -> list[str]:
    booked: Counter[int] = Counter()
    for booking in effects.points:
        booked[booking.customer_id] += booking.points
    said = {customer: effects.balances.get(customer, 0) for customer in effects.balances.keys() | booked.keys()}
    return [
        f"customer {customer}: the profile says {points} points, {booked[customer]} are booked"
        for customer, points in sorted(said.items())
        if points != booked[customer]
    ]
