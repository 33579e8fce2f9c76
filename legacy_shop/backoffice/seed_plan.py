"""Invent a shop's catalogue, customers and orders: the same for the same numbers, and skewed as real ones are."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate

FIRST_DAY = datetime(2025, 1, 1, 8, tzinfo=UTC)
DAYS = 365
AMPLE_STOCK = 100_000
SOLD_OUT_SHARE = 0.02
CART_SHARE = 0.2
PRODUCT_SKEW = 1.0
"""Exponent of the popularity curve: the tenth best-seller sells a tenth of the best."""
CUSTOMER_SKEW = 0.8

CATEGORIES: tuple[tuple[str, str, tuple[str, ...], int], ...] = (
    ("Books", "books", ("Novel", "Atlas", "Cookbook", "Anthology", "Field guide"), 22),
    ("Coffee & tea", "coffee-tea", ("Espresso beans", "Green tea", "Teapot", "Pour-over cone", "Chai blend"), 16),
    ("Garden", "garden", ("Watering can", "Seed box", "Trowel", "Planter", "Herb kit"), 28),
    ("Kitchen", "kitchen", ("Saucepan", "Paring knife", "Mixing bowl", "Cutting board", "Linen towel"), 45),
    ("Music", "music", ("Record", "Songbook", "Kalimba", "Metronome", "Cassette box"), 25),
    ("Outdoors", "outdoors", ("Lantern", "Wool blanket", "Flask", "Day pack", "Hammock"), 60),
    ("Paper goods", "paper-goods", ("Notebook", "Letter set", "Wall calendar", "Ink bottle", "Sketch pad"), 14),
    ("Toys", "toys", ("Wooden train", "Puzzle", "Kite", "Marble run", "Card game"), 24),
)
QUALITIES = (
    "Amber", "Birch", "Cobalt", "Dune", "Ember", "Fern", "Granite", "Harvest", "Indigo", "Juniper", "Kestrel", "Lichen",
    "Meridian", "Nimbus", "Orchard", "Pebble", "Quarry", "Russet", "Saffron", "Tundra", "Umber", "Velvet", "Willow",
)  # fmt: skip
FIRST_NAMES = (
    "Ada", "Bruno", "Carmen", "Dmitri", "Elif", "Farid", "Grace", "Hana", "Ines", "Jonas", "Kofi", "Lucia", "Mei",
    "Noor", "Oskar", "Priya", "Quentin", "Rosa", "Samuel", "Tomas", "Uma", "Viktor", "Wanda", "Ximena", "Yusuf", "Zoe",
)  # fmt: skip
LAST_NAMES = (
    "Abbott", "Berg", "Castillo", "Diallo", "Evans", "Fischer", "Garcia", "Haddad", "Ito", "Jensen", "Kaya", "Larsen",
    "Moreau", "Nakamura", "Okafor", "Petrov", "Quinn", "Rossi", "Silva", "Tanaka", "Usman", "Varga", "Walsh", "Young",
)  # fmt: skip
OUTCOMES = ("completed", "shipped", "cancelled", "expired")
OUTCOME_WEIGHTS = (80, 10, 6, 4)
QUANTITIES = (1, 2, 3, 5)
QUANTITY_WEIGHTS = (75, 17, 6, 2)
BASKET_SIZES = (1, 2, 3, 4, 6)
BASKET_WEIGHTS = (55, 25, 12, 6, 2)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much to invent, and from which seed."""

    products: int
    customers: int
    orders: int
    seed: int

    def dice(self, part: str) -> random.Random:
        """Return a generator for one part alone, so that more customers do not change the products."""
        return random.Random(f"{self.seed}:{part}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProductSeed:
    """A product to be made."""

    sku: str
    slug: str
    name: str
    category: str
    price: Decimal
    on_hand: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomerSeed:
    """A customer to be made, with what lies in the cart: (product index, quantity)."""

    username: str
    first_name: str
    last_name: str
    joined: datetime
    cart: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSeed:
    """An order to be made: indexes of customer and products, and how it ended."""

    number: str
    customer: int
    lines: tuple[tuple[int, int], ...]
    outcome: str
    placed_at: datetime


class Popularity:
    """Draw indexes 0..n-1 so that few are drawn often and most rarely."""

    def __init__(self, count: int, skew: float, dice: random.Random) -> None:
        """Give each index a rank by chance and its weight by its rank."""
        self.dice = dice
        self.order = dice.sample(range(count), count)
        self.weights = list(accumulate(1 / rank**skew for rank in range(1, count + 1)))

    def draw(self) -> int:
        """Return one index."""
        return self.dice.choices(self.order, cum_weights=self.weights)[0]

    def basket(self) -> tuple[tuple[int, int], ...]:
        """Return a few different indexes with a quantity each."""
        size = self.dice.choices(BASKET_SIZES, BASKET_WEIGHTS)[0]
        picked = sorted({self.draw() for _ in range(size)})
        return tuple((index, self.dice.choices(QUANTITIES, QUANTITY_WEIGHTS)[0]) for index in picked)


def products(size: Size) -> list[ProductSeed]:
    """Return the catalogue."""
    dice = size.dice("products")
    made = []
    for index in range(size.products):
        _, slug, things, typical = CATEGORIES[index % len(CATEGORIES)]
        number = index + 1
        name = f"{dice.choice(QUALITIES)} {dice.choice(things).lower()} No. {number}"
        sold_out = dice.random() < SOLD_OUT_SHARE
        made.append(
            ProductSeed(
                sku=f"FIG-{number:05d}",
                slug=f"item-{number:05d}",
                name=name,
                category=slug,
                price=max(Decimal(round(dice.lognormvariate(0, 0.5) * typical * 2)) / 2, Decimal("1.00")),
                on_hand=0 if sold_out else AMPLE_STOCK,
            )
        )
    return made


def customers(size: Size) -> list[CustomerSeed]:
    """Return the customers, some with a cart they have left."""
    dice = size.dice("customers")
    taste = Popularity(size.products, PRODUCT_SKEW, size.dice("carts")) if size.products else None
    return [
        CustomerSeed(
            username=f"customer{index:05d}",
            first_name=dice.choice(FIRST_NAMES),
            last_name=dice.choice(LAST_NAMES),
            joined=FIRST_DAY - timedelta(minutes=dice.randrange(DAYS * 24 * 60)),
            cart=taste.basket() if taste and dice.random() < CART_SHARE else (),
        )
        for index in range(1, size.customers + 1)
    ]


def orders(size: Size) -> list[OrderSeed]:
    """Return the orders of one year, oldest first."""
    if not (size.products and size.customers):
        return []
    dice = size.dice("orders")
    buyers = Popularity(size.customers, CUSTOMER_SKEW, dice)
    taste = Popularity(size.products, PRODUCT_SKEW, dice)
    moments: Sequence[datetime] = sorted(
        FIRST_DAY + timedelta(seconds=dice.randrange(DAYS * 24 * 3600)) for _ in range(size.orders)
    )
    return [
        OrderSeed(
            number=f"S{number:07d}",
            customer=buyers.draw(),
            lines=taste.basket(),
            outcome=dice.choices(OUTCOMES, OUTCOME_WEIGHTS)[0],
            placed_at=moment,
        )
        for number, moment in enumerate(moments, start=1)
    ]
