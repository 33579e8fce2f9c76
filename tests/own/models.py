from extracted.orders.own_store.models import Attempt, Item, Order

__all__ = ["Attempt", "Item", "Order"]
