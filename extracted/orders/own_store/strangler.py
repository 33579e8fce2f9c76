"""What the strangler toolkit has to know about the service's own store: its side of the aggregate, and its sagas."""

from functools import partial

from extracted.orders.own_store import sagas
from extracted.orders.own_store.aggregates import KEYS, NUMBERS, ORDERS
from migrations_plan.sync import intents
from migrations_plan.sync.aggregates import register
from router.sagas.api import open_by_bucket

register(ORDERS)
register(KEYS)
register(NUMBERS)
intents.register(ORDERS.name, "saga", partial(open_by_bucket, sagas.SERVICE))
