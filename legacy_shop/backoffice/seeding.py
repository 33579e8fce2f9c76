"""Write an invented shop into the database, all of it or nothing, and only once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction
from rest_framework.authtoken.models import Token

from legacy_shop.accounts.models import Address
from legacy_shop.backoffice import seed_plan
from legacy_shop.backoffice.demo_customers import BATCH, Newcomer, create_customers, token_key
from legacy_shop.backoffice.moved import refuse_if_moved
from legacy_shop.backoffice.seed_plan import CustomerSeed, OrderSeed, ProductSeed, Size
from legacy_shop.cart.models import Cart, CartLine
from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.orders.models import Order, OrderLine

CHUNK = 2_000
ADMIN = "admin"
ADMIN_PASSWORD = "admin-demo"
STATUSES = {
    "completed": Order.Status.COMPLETED,
    "shipped": Order.Status.SHIPPED,
    "cancelled": Order.Status.CANCELLED,
    "expired": Order.Status.EXPIRED,
}
EARNING = (Order.Status.COMPLETED, Order.Status.SHIPPED)
CLOSED = (Order.Status.COMPLETED, Order.Status.CANCELLED, Order.Status.EXPIRED)

Progress = Callable[[int], object]


class SeedConflict(Exception):
    """The database holds a shop that other numbers or another seed made."""


@dataclass(frozen=True, kw_only=True)
class Seeded:
    """How many rows a run made."""

    products: int
    customers: int
    orders: int
    carts: int
    admin: bool

    @property
    def anything(self) -> bool:
        """Tell whether the run changed the database."""
        return bool(self.products or self.customers or self.orders or self.carts or self.admin)


def seed(size: Size, *, progress: Progress) -> Seeded:
    """Fill the shop in one transaction, unless the same shop is there; report rows done through ``progress``."""
    with transaction.atomic():
        if _is_there(size):
            return Seeded(products=0, customers=0, orders=0, carts=0, admin=_create_admin())
        if size.orders:
            refuse_if_moved()
        products = _create_products(seed_plan.products(size), progress)
        planned = seed_plan.customers(size)
        buyers = _create_customers(planned, namespace=f"seed-{size.seed}", progress=progress)
        carts = _create_carts(planned, [user for user, _ in buyers], products)
        planned_orders = seed_plan.orders(size)
        for start in range(0, len(planned_orders), CHUNK):
            _create_orders(planned_orders[start : start + CHUNK], buyers, products, progress)
        return Seeded(
            products=len(products),
            customers=len(buyers),
            orders=len(planned_orders),
            carts=carts,
            admin=_create_admin(),
        )


def _is_there(size: Size) -> bool:
    """Tell whether exactly this shop was seeded before; refuse if another one was."""
    there = {
        "products": Product.objects.filter(sku__regex=r"^FIG-[0-9]+$").count(),
        "customers": User.objects.filter(username__regex=r"^customer[0-9]{5,}$").count(),
        "orders": Order.objects.filter(number__regex=r"^S[0-9]+$").count(),
    }
    if not any(there.values()):
        return False
    wanted = {"products": size.products, "customers": size.customers, "orders": size.orders}
    if there == wanted and _same_seed(size):
        return True
    found = ", ".join(f"{count} {name}" for name, count in there.items())
    asked = ", ".join(f"{count} {name}" for name, count in wanted.items())
    seed_note = "" if there != wanted else f", but not from seed {size.seed}"
    raise SeedConflict(
        f"This database was seeded with other arguments: it has {found}{seed_note}; asked for were {asked}. Nothing "
        "was changed. Use the same arguments, or an empty database: name another one in SHOP_DATABASE_URL (or delete "
        "the SQLite file) and run manage.py migrate."
    )


def _same_seed(size: Size) -> bool:
    """Compare what depends on the seed: the customers' tokens, or the products' names where there are no customers."""
    if size.customers:
        expected = token_key("customer00001", namespace=f"seed-{size.seed}")
        return Token.objects.filter(user__username="customer00001", key=expected).exists()
    names = dict(Product.objects.filter(sku__regex=r"^FIG-[0-9]+$").values_list("sku", "name"))
    return names == {product.sku: product.name for product in seed_plan.products(size)}


def _create_products(planned: Sequence[ProductSeed], progress: Progress) -> list[Product]:
    shelves = {
        slug: Category.objects.get_or_create(slug=slug, defaults={"name": name})[0]
        for name, slug, _, _ in seed_plan.CATEGORIES
    }
    products = Product.objects.bulk_create(
        [
            Product(
                category=shelves[item.category],
                sku=item.sku,
                slug=item.slug,
                name=item.name,
                description=f"{item.name}: from our {shelves[item.category].name.lower()} shelf, made for daily use.",
                price=item.price,
            )
            for item in planned
        ],
        batch_size=BATCH,
    )
    Stock.objects.bulk_create(
        [Stock(product=product, on_hand=item.on_hand) for product, item in zip(products, planned, strict=True)],
        batch_size=BATCH,
    )
    progress(len(products))
    return products


def _create_customers(
    planned: Sequence[CustomerSeed], *, namespace: str, progress: Progress
) -> list[tuple[User, Address]]:
    buyers: list[tuple[User, Address]] = []
    for start in range(0, len(planned), CHUNK):
        newcomers = [
            Newcomer(
                username=customer.username,
                first_name=customer.first_name,
                last_name=customer.last_name,
                joined=customer.joined,
                home=start + offset,
            )
            for offset, customer in enumerate(planned[start : start + CHUNK])
        ]
        users, addresses = create_customers(newcomers, namespace=namespace)
        buyers += zip(users, addresses, strict=True)
        progress(len(newcomers))
    return buyers


def _create_carts(planned: Sequence[CustomerSeed], users: Sequence[User], products: Sequence[Product]) -> int:
    filled = [(user, customer.cart) for user, customer in zip(users, planned, strict=True) if customer.cart]
    carts = Cart.objects.bulk_create([Cart(user=user) for user, _ in filled], batch_size=BATCH)
    CartLine.objects.bulk_create(
        [
            CartLine(cart=cart, product=products[index], quantity=quantity)
            for cart, (_, basket) in zip(carts, filled, strict=True)
            for index, quantity in basket
        ],
        batch_size=BATCH,
    )
    return len(carts)


def _create_orders(
    planned: Sequence[OrderSeed],
    buyers: Sequence[tuple[User, Address]],
    products: Sequence[Product],
    progress: Progress,
) -> None:
    orders = Order.objects.bulk_create(
        [_order(item, *buyers[item.customer], products) for item in planned], batch_size=BATCH
    )
    OrderLine.objects.bulk_create(
        [
            OrderLine(
                order=order,
                product=products[index],
                sku=products[index].sku,
                name=products[index].name,
                quantity=quantity,
                unit_price=products[index].price,
                amount=products[index].price * quantity,
            )
            for order, item in zip(orders, planned, strict=True)
            for index, quantity in item.lines
        ],
        batch_size=BATCH,
    )
    progress(len(orders))


def _order(item: OrderSeed, user: User, home: Address, products: Sequence[Product]) -> Order:
    status = STATUSES[item.outcome]
    return Order(
        number=item.number,
        customer=user,
        status=status,
        shipping_address=home,
        ship_name=home.name,
        ship_street=home.street,
        ship_city=home.city,
        ship_postcode=home.postcode,
        ship_country=home.country,
        total=sum((products[index].price * quantity for index, quantity in item.lines), Decimal("0.00")),
        placed_at=item.placed_at,
        paid_at=item.placed_at + timedelta(minutes=1) if status in EARNING else None,
        closed_at=item.placed_at + timedelta(days=3) if status in CLOSED else None,
    )


def _create_admin() -> bool:
    """Create the demo's administrator unless the name is taken."""
    if User.objects.filter(username=ADMIN).exists():
        return False
    User.objects.create_superuser(ADMIN, f"{ADMIN}@example.com", ADMIN_PASSWORD)
    return True
