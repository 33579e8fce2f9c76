"""Give points for what was paid, and take them back for what was cancelled, whichever side changed the order."""

from django.db.models import F, Sum
from django.db.models.functions import Greatest
from django.utils import timezone

from legacy_shop.accounts.models import LoyaltyBooking, Profile
from legacy_shop.orders.integration import OrderCancelled, OrderPaid
from migrations_plan.sync.events.api import Event, handles


@handles(OrderPaid, OrderCancelled, name="accounts.loyalty")
def book_points(event: Event[OrderPaid | OrderCancelled]) -> None:
    """Give a point for every whole unit of money; after a cancellation, take back what the order gave."""
    fact = event.payload
    if isinstance(fact, OrderPaid):
        points = int(fact.total)
    else:
        given = LoyaltyBooking.objects.filter(order_id=fact.order).aggregate(points=Sum("points"))["points"]
        points = -(given or 0)
    if not points:
        return
    LoyaltyBooking.objects.create(user_id=fact.customer, order_id=fact.order, points=points, booked_at=timezone.now())
    Profile.objects.get_or_create(user_id=fact.customer)
    Profile.objects.filter(user_id=fact.customer).update(loyalty_points=Greatest(F("loyalty_points") + points, 0))
