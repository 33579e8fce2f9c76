"""What the strangler toolkit has to know about orders: which requests are theirs, and whose data each touches."""

from datetime import timedelta

from legacy_shop.backoffice import report
from legacy_shop.orders import aggregates, integration, mails, operations
from legacy_shop.payments import operations as payments
from migrations_plan import plan_registry
from migrations_plan.builders import SeparateGates, SharedGates, monolith, separate, shared
from migrations_plan.gates import ShadowMatchRate
from migrations_plan.plan import Plan
from migrations_plan.receivers import ReceiversHandled
from migrations_plan.sync.written import written
from router.registry import register
from router.routes import Route, Scatter, Visitor

DECLARATIONS = (aggregates, integration, mails, operations, payments, report)
"""Imported for what they declare: aggregates, event types, handlers, operations."""

# What placing an order makes anew each time, and what the payment provider says, whom no dry-run asks.
MINTED = (
    *("id", "number", "status", "payment", "placed_at", "paid_at"),
    *(f"written_document.{name}" for name in ("number", "status", "placed_at", "paid_at", "lines[].id")),
    *(
        f"written_document.attempts[].{name}"
        for name in ("id", "state", "provider_key", "provider_reference", "failure")
    ),
    *(f"written_document.attempts[].{name}" for name in ("created_at", "settled_at", "told_at")),
)

# --- routes --------------------------------------------------------------------------------------------------
# The views show and change only the visitor's own orders, so the visitor is the owner of the data. Paying stays with
# the monolith: it belongs to the payments service.
register(
    Route(service="orders", name="list", methods=("GET",), pattern="/api/orders/", key=Visitor()),
    Route(
        service="orders",
        name="place",
        methods=("POST",),
        pattern="/api/orders/",
        key=Visitor(),
        replayable=True,  # where the service's fence refuses it, the saga has given the pieces back by then
        dry_run=True,
        shadow_percent=25,  # each takes the locks of an order; on SQLite that is the only one
        minted=MINTED,
        written=written(aggregates.ORDERS),
    ),
    Route(service="orders", name="detail", methods=("GET",), pattern="/api/orders/<int:order_id>/", key=Visitor()),
    Route(
        service="orders",
        name="cancel",
        methods=("POST",),
        pattern="/api/orders/<int:order_id>/cancel/",
        key=Visitor(),
        replayable=True,
    ),
    Route(
        service="orders",
        name="address",
        methods=("PATCH",),
        pattern="/api/orders/<int:order_id>/address/",
        key=Visitor(),
        replayable=True,
    ),
    Route(service="orders", name="staff-list", methods=("GET",), pattern="/api/staff/orders/", key=Scatter()),
    Route(
        service="orders",
        name="staff-detail",
        methods=("GET",),
        pattern="/api/staff/orders/<int:order_id>/",
        key=Scatter(),
    ),
)

# --- plan ----------------------------------------------------------------------------------------------------
# Enough proof for a small shop; each number is the traffic that a step must have seen since it was entered.
plan_registry.register(
    Plan(
        service="orders",
        phases=(
            monolith(),
            shared(
                gates=SharedGates(
                    shadow=ShadowMatchRate(min_samples=150, min_rate=0.98),
                    drift=ShadowMatchRate(min_samples=50, min_rate=0.95),
                    read_samples={1: 5, 10: 20, 50: 60, 100: 100},
                    write_samples={1: 2, 10: 5, 50: 20, 100: 40},
                    max_error_rate=0.02,
                ),
                receivers=ReceiversHandled(models=("orders.Order", "orders.OrderLine")),
            ),
            separate(
                aggregate="orders",
                gates=SeparateGates(
                    max_lag_seconds=8.0,
                    lag_samples=30,
                    min_compared=50,
                    shadow=ShadowMatchRate(min_samples=150, min_rate=0.98),
                    min_reads=60,
                    min_writes=10,
                    shadow_back=ShadowMatchRate(min_samples=150, min_rate=0.98),
                    bake=timedelta(seconds=10),
                ),
            ),
        ),
    )
)
