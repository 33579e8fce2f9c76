"""Turn a purchase history into customers and completed orders, all of them or none."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from itertools import islice

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from legacy_shop.accounts.models import Address
from legacy_shop.backoffice.demo_customers import Newcomer, create_customers
from legacy_shop.backoffice.history import Purchase
from legacy_shop.backoffice.moved import refuse_if_moved
from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.orders.models import Order, OrderLine

ORDER_PREFIX = "H"
USER_PREFIX = "cdnow"
CD_SKU = "CD"
CD_STOCK = 100_000
CHUNK = 5_000
NOON = time(12, tzinfo=UTC)
CENT = Decimal("0.01")


class AlreadyLoaded(Exception):
    """A history is in this database already."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What one load made."""

    customers: int
    orders: int
    dollars: Decimal


def refuse_if_loaded() -> None:
    """Raise AlreadyLoaded if orders or customers of a history are there, and say how to start over."""
    order = Order.objects.filter(number__regex=rf"^{ORDER_PREFIX}[0-9]+$").order_by("number").first()
    user = User.objects.filter(username__regex=rf"^{USER_PREFIX}[0-9]+$").order_by("username").first()
    if order or user:
        found = f"order {order.number}" if order else f"user {user.username}" if user else ""
        raise AlreadyLoaded(
            f"A purchase history has been loaded into this database already ({found} exists); loading again would "
            "count purchases twice. Nothing was loaded. To load it anew, start from an empty database: name another "
            "one in SHOP_DATABASE_URL (or delete the SQLite file) and run manage.py migrate."
        )


def load(purchases: Sequence[Purchase], *, progress: Callable[[int], object]) -> Loaded:
    """Insert the purchases in one transaction and report the lines done through ``progress``."""
    refuse_if_moved()
    try:
        with transaction.atomic():
            refuse_if_loaded()
            product = _cd()
            homes = _customers(purchases)
            for chunk in _chunks(purchases):
                _insert(chunk, product, homes)
                progress(len(chunk))
    except IntegrityError as error:
        raise AlreadyLoaded(
            f"Another load, or a customer of the same name, got in between: {error}. Nothing was loaded; look, and "
            "run again."
        ) from error
    return Loaded(
        customers=len(homes),
        orders=len(purchases),
        dollars=sum((purchase.amount for purchase in purchases), Decimal("0.00")),
    )


def _cd() -> Product:
    """Return the one product a history is about."""
    category, _ = Category.objects.get_or_create(slug="music", defaults={"name": "Music"})
    product, created = Product.objects.get_or_create(
        sku=CD_SKU,
        defaults={
            "category": category,
            "slug": "compact-disc",
            "name": "Compact disc",
            "description": "A music CD. Historical orders name no titles, so one product stands for all of them.",
            "price": Decimal("14.99"),
        },
    )
    if created:
        Stock.objects.create(product=product, on_hand=CD_STOCK)
    return product


def _customers(purchases: Sequence[Purchase]) -> dict[int, tuple[User, Address]]:
    """Create each customer once, joined on the day of the first purchase."""
    joined: dict[int, datetime] = {}
    for purchase in purchases:
        moment = datetime.combine(purchase.day, NOON)
        joined[purchase.customer] = min(joined.get(purchase.customer, moment), moment)
    numbers = sorted(joined)
    newcomers = [
        Newcomer(
            username=f"{USER_PREFIX}{number:05d}",
            first_name="Customer",
            last_name=f"{number:05d}",
            joined=joined[number],
            home=number,
        )
        for number in numbers
    ]
    users, addresses = create_customers(newcomers, namespace="history")
    return dict(zip(numbers, zip(users, addresses, strict=True), strict=True))


def _insert(purchases: Sequence[Purchase], product: Product, homes: dict[int, tuple[User, Address]]) -> None:
    orders = Order.objects.bulk_create([_order(purchase, *homes[purchase.customer]) for purchase in purchases])
    OrderLine.objects.bulk_create(
        [_line(purchase, order, product) for purchase, order in zip(purchases, orders, strict=True)]
    )


def _order(purchase: Purchase, user: User, home: Address) -> Order:
    moment = datetime.combine(purchase.day, NOON)
    return Order(
        number=f"{ORDER_PREFIX}{purchase.line:07d}",
        customer=user,
        status=Order.Status.COMPLETED,
        shipping_address=home,
        ship_name=home.name,
        ship_street=home.street,
        ship_city=home.city,
        ship_postcode=home.postcode,
        ship_country=home.country,
        total=purchase.amount,
        placed_at=moment,
        paid_at=moment,
        closed_at=moment,
    )


def _line(purchase: Purchase, order: Order, product: Product) -> OrderLine:
    return OrderLine(
        order=order,
        product=product,
        sku=product.sku,
        name=product.name,
        quantity=purchase.quantity,
        unit_price=(purchase.amount / purchase.quantity).quantize(CENT, rounding=ROUND_HALF_UP),
        amount=purchase.amount,
    )


def _chunks(purchases: Sequence[Purchase]) -> Iterator[Sequence[Purchase]]:
    """Cut the purchases into pieces small enough for one insert and one tick of the progress bar."""
    remaining = iter(purchases)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk
