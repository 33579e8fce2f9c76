"""The shop's side of the aggregate ``orders``; the service declares the same document over tables of its own.

The entry of the address book is synced as a plain number, since the report of what was sold needs it. When it is
deleted, its number here becomes NULL, which is a change of the order like any other.
"""

from legacy_shop.orders.models import Order
from migrations_plan.sync.aggregates import Aggregate, Part, Rows, register
from migrations_plan.sync.fields import Choice, Column, Money
from migrations_plan.sync.keys import travelling_keys
from migrations_plan.sync.numbers import travelling_numbers

MINTS_FROM = 2**41
"""On SQLite, where the shop has to mint above the service's range, which is from 2**40; PostgreSQL stays below it."""

ORDERS = register(
    Aggregate(
        name="orders",
        partition_key="customer_id",
        mints_from=MINTS_FROM,
        root=Rows(
            model="orders.Order",
            fields=(
                Column("number"),
                Column("customer_id", as_="customer"),
                Choice("status", {status.value: status.label for status in Order.Status}),
                Column("ship_name", as_="recipient"),
                Column("ship_street", as_="street"),
                Column("ship_city", as_="city"),
                Column("ship_postcode", as_="postcode"),
                Column("ship_country", as_="country"),
                Column("shipping_address_id", as_="address_entry"),
                Column("currency"),
                Money("total"),
                Column("note"),
                Column("placed_at"),
                Column("paid_at"),
                Column("closed_at"),
            ),
        ),
        parts=(
            Part(
                name="lines",
                model="orders.OrderLine",
                parent="order_id",
                fields=(
                    Column("product_id", as_="product"),
                    Column("sku"),
                    Column("name"),
                    Column("quantity"),
                    Money("unit_price"),
                    Money("amount"),
                ),
            ),
            Part(
                name="attempts",
                model="payments.PaymentAttempt",
                parent="order_id",
                fields=(
                    Column("kind"),
                    Column("state"),
                    Money("amount"),
                    Column("currency"),
                    Column("card"),
                    Column("provider_key"),
                    Column("provider_reference"),
                    Column("failure"),
                    Column("created_at"),
                    Column("settled_at"),
                    Column("told_at"),
                ),
            ),
        ),
    )
)

NUMBERS = register(travelling_numbers("orders"))
"""So do the numbers of their events, which go on where they stopped."""
KEYS = register(travelling_keys("orders"))
"""What clients were answered under their idempotency keys goes where their orders go."""
