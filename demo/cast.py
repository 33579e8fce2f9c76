"""Choose who shops in the demo, so that every step of the migration has customers on both sides of its line."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from demo import tables
from demo.customers import Client
from demo.documents import Document
from demo.records import Log
from demo.shopping import Clerk, Customer, Goods, Visitor
from demo.site import ADMIN_NAME, ADMIN_PASSWORD, Site
from demo.storefront import PageCustomer, log_in
from demo.tables import Person
from demo.traffic import Actor
from router.buckets import bucket

SERVICE = "orders"
PASSWORD = "demo-password"
"""What seed_shop and load_history give every customer."""
# Buckets from, to; how many customers of them; how often each acts compared with the others.
BANDS = ((0, 1, 4, 3.0), (1, 10, 7, 1.2), (10, 50, 17, 1.0), (50, 100, 20, 1.0))
PAGES_EVERY = 4
"""Every fourth customer uses the pages of the shop."""
SESSIONS_EVERY = 5
"""Every fifth of the others uses a program in a browser with a session, the rest programs with a token."""
KEYLESS_EVERY = 5
"""Every fifth customer's program has never heard of idempotency keys."""


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Everybody who acts."""

    customers: Sequence[Customer]
    others: Sequence[Actor]

    @property
    def actors(self) -> list[Actor]:
        """Everybody, in an order that spreads visitors and staff over the threads."""
        return [*self.customers, *self.others]


def choose(people: Sequence[Person], dice: random.Random) -> list[tuple[Person, int, float]]:
    """Return customers of every band with bucket and weight; a band that nobody is in stays empty."""
    buckets = {person.user_id: bucket(SERVICE, person.user_id) for person in people}
    chosen: list[tuple[Person, int, float]] = []
    for low, high, wanted, weight in BANDS:
        fitting = [person for person in people if low <= buckets[person.user_id] < high]
        picked = dice.sample(fitting, min(wanted, len(fitting)))
        chosen += [(person, buckets[person.user_id], weight * wanted / max(1, len(picked))) for person in picked]
    return chosen


def assemble(site: Site, log: Log, *, seed: int, histories: Sequence[str]) -> Cast:
    """Return the cast: customers whose names begin with one of ``histories``, visitors, and a clerk."""
    dice = random.Random(f"{seed}-cast")
    with tables.reading(site.database) as connection:
        groups = [tables.people(connection, prefix) for prefix in histories]
    chosen: list[tuple[Person, int, float]] = []
    for people in groups:
        share = choose(people, dice)
        chosen += share if len(groups) == 1 else dice.sample(share[3:], max(0, len(share) // 2)) + share[:3]
    if not chosen:
        raise ValueError(f"No customer's name begins with any of {', '.join(histories)}: nobody to shop in the demo.")
    visitor = Client(site.url("shop"), log)
    goods = Goods(products=_goods(visitor))
    customers = [
        _customer(site, log, entry, number, seed=seed, goods=goods) for number, entry in enumerate(chosen, start=1)
    ]
    pages = ["/", "/products/", *(f"/api/products/{product['id']}/" for product in goods.products[:3])]
    visitors = [
        Visitor(Client(site.url("shop"), log), random.Random(f"{seed}-visitor-{number}"), pages) for number in range(3)
    ]
    staff = Client(site.url("shop"), log)
    staff.login(ADMIN_NAME, ADMIN_PASSWORD)
    return Cast(customers=customers, others=[*visitors, Clerk(staff, random.Random(f"{seed}-clerk"))])


def _goods(client: Client) -> list[Document]:
    """Return products that are not about to run out."""
    found: list[Document] = []
    for page in (1, 2):
        reply = client.get("browse", f"/api/products/?page={page}")
        if reply.status != 200:
            raise ValueError(f"The catalogue cannot be read: {reply.status} {reply.error}")
        found += [product for product in reply.data["results"] if product["available"] >= 1000]
        if reply.data["pages"] < 2:
            break
    if len(found) < 5:
        raise ValueError(f"Only {len(found)} products have 1,000 pieces or more; the demo needs 5.")
    return found


def _customer(
    site: Site, log: Log, entry: tuple[Person, int, float], number: int, *, seed: int, goods: Goods
) -> Customer:
    person, place, weight = entry
    pages = number % PAGES_EVERY == 0
    session = pages or number % SESSIONS_EVERY == 0
    client = Client(
        site.url("shop"),
        log,
        token=None if session else person.token,
        bucket=place,
        sends_keys=not pages and number % KEYLESS_EVERY != 1,
        keys=random.Random(f"{seed}-keys-{person.user_id}"),
    )
    if pages:
        log_in(client, person.username, PASSWORD)
    elif session:
        client.login(person.username, PASSWORD)
    return (PageCustomer if pages else Customer)(
        user_id=person.user_id,
        username=person.username,
        bucket=place,
        client=client,
        dice=random.Random(f"{seed}-customer-{person.user_id}"),
        goods=goods,
        weight=weight,
    )
