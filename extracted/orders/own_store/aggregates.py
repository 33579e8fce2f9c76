"""The service's side of the aggregate ``orders``; the shop declares the same document over its own tables."""

from extracted.orders.domain.order import AttemptKind, AttemptState, Status
from extracted.orders.own_store.ids import RANGE_START
from extracted.orders.own_store.names import join_name, split_name
from migrations_plan.sync.aggregates import Aggregate, Part, Rows
from migrations_plan.sync.fields import Choice, Column, Joined
from migrations_plan.sync.keys import travelling_keys
from migrations_plan.sync.numbers import travelling_numbers

ORDERS = Aggregate(
    name="orders",
    partition_key="buyer",
    mints_from=RANGE_START,
    root=Rows(
        model="own_store.Order",
        fields=(
            Column("reference", as_="number"),
            Column("buyer", as_="customer"),
            Choice("state", {state.value: state.value for state in Status}, as_="status"),
            Joined("recipient", ("given_name", "family_name"), join=join_name, split=split_name),
            Column("street"),
            Column("town", as_="city"),
            Column("postal_code", as_="postcode"),
            Column("country"),
            Column("address_entry"),
            Column("currency"),
            Column("total_minor", as_="total"),
            Column("remark", as_="note"),
            Column("ordered_at", as_="placed_at"),
            Column("paid_at"),
            Column("ended_at", as_="closed_at"),
        ),
    ),
    parts=(
        Part(
            name="lines",
            model="own_store.Item",
            parent="order_id",
            fields=(
                Column("product"),
                Column("sku"),
                Column("title", as_="name"),
                Column("pieces", as_="quantity"),
                Column("unit_minor", as_="unit_price"),
                Column("amount_minor", as_="amount"),
            ),
        ),
        Part(
            name="attempts",
            model="own_store.Attempt",
            parent="order_id",
            fields=(
                Choice("direction", {kind.value: kind.value for kind in AttemptKind}, as_="kind"),
                Choice("state", {state.value: state.value for state in AttemptState}),
                Column("amount_minor", as_="amount"),
                Column("currency"),
                Column("card_token", as_="card"),
                Column("provider_key"),
                Column("provider_reference"),
                Column("failure"),
                Column("opened_at", as_="created_at"),
                Column("settled_at"),
                Column("told_at"),
            ),
        ),
    ),
)

NUMBERS = travelling_numbers("orders")
"""The numbers of their events, which go on where they stopped."""
KEYS = travelling_keys("orders")
"""What clients were answered under their idempotency keys comes with their orders."""
