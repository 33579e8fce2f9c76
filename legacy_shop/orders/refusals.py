"""Between the shop's refusals and what the API answers for them, in both directions."""

from typing import Any, NoReturn

from legacy_shop.errors import Invalid, Missing, Refused
from legacy_shop.orders.exceptions import (
    CartChanged,
    EmptyCart,
    NotCancellable,
    NotChangeable,
    OrderTooLarge,
    OutOfStock,
    UnknownAddress,
    UnknownOrder,
    UnknownProduct,
)
from legacy_shop.payments.exceptions import NotPayable

BY_CODE = {error.code: error for error in (CartChanged, NotCancellable, NotChangeable, NotPayable, OutOfStock)}
BY_FIELD: dict[str, type[Invalid]] = {"address": UnknownAddress, "cart": EmptyCart, "lines": UnknownProduct}


def refusal_of(error: Exception) -> tuple[int, Any] | None:
    """Return status and data that the API answers for a refusal, None for a crash."""
    if isinstance(error, Missing):
        return 404, {"detail": str(error)}
    if isinstance(error, Invalid):
        return 400, {error.field: list(error.messages)}
    if isinstance(error, Refused):
        return 409, {"code": error.code, "detail": str(error)}
    return None


def raise_refusal(status: int, data: Any) -> NoReturn:
    """Raise the shop's refusal for an answer of the orders service; raise ValueError for one that it cannot give."""
    if status == 404:
        raise UnknownOrder(data["detail"])
    if status == 409 and data.get("code") in BY_CODE:
        raise BY_CODE[data["code"]](data["detail"])
    if status == 400:
        for field, error in BY_FIELD.items():
            if field in data:
                too_large = OrderTooLarge()
                raise too_large if list(too_large.messages) == data[field] else error(*data[field])
    raise ValueError(f"The orders service answered {status}: {data}")
