"""What the strangler toolkit has to know about the service's own store: its side of the aggregate."""

from extracted.orders.own_store.aggregates import ORDERS
from migrations_plan.sync.aggregates import register

register(ORDERS)
