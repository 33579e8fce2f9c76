"""The document of an order, made of the monolith's tables: what a dry-run says that it would have written.

The shop declares the same over its own models, and the own store over its tables; tests compare them.
"""

from extracted.orders.legacy_store.documents import CODES
from migrations_plan.sync.aggregates import Aggregate, Part, Rows
from migrations_plan.sync.fields import Choice, Column, Money

ORDERS = Aggregate(
    name="orders",
    partition_key="customer_id",
    root=Rows(
        model="legacy_store.Order",
        fields=(
            Column("number"),
            Column("customer_id", as_="customer"),
            Choice("status", {code: status.value for status, code in CODES.items()}),
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
            model="legacy_store.OrderLine",
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
            model="legacy_store.PaymentAttempt",
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
"""Not registered: the shop is the one that syncs these tables."""
