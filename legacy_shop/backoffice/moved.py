"""Keep imports, which write the monolith's tables directly, from writing past the orders service."""

from router import seam


class OrdersHaveMoved(Exception):
    """Orders are written by the service, and a history would be written past it."""


def refuse_if_moved() -> None:
    """Raise OrdersHaveMoved if any order is written elsewhere: an import writes the monolith's tables directly."""
    if seam.moved("orders"):
        raise OrdersHaveMoved(
            "Orders are being written by the orders service, at least for some customers; an import writes the "
            "monolith's tables past it. Nothing was loaded. Import before the move, or roll back first: "
            "manage.py phase rollback orders --to monolith."
        )
