"""What the strangler toolkit has to know about orders: which requests are theirs, and whose data each touches."""

from router.registry import register
from router.routes import Route, Scatter, Visitor

# --- routes --------------------------------------------------------------------------------------------------
# The views show and change only the visitor's own orders, so the visitor is the owner of the data. Paying stays with
# the monolith: it belongs to the payments service.
register(
    Route(service="orders", name="list", methods=("GET",), pattern="/api/orders/", key=Visitor()),
    Route(service="orders", name="place", methods=("POST",), pattern="/api/orders/", key=Visitor()),
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
