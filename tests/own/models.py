from extracted.orders.own_store.models import Attempt, Counter, Item, Order

__all__ = ["Attempt", "Counter", "Item", "Order"]
