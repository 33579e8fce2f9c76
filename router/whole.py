"""Work that is refused as a whole: a fence that it met counts, also where its code caught the error."""

from collections.abc import Callable
from typing import TypeVar

from router.fences import watched

T = TypeVar("T")


def whole(work: Callable[[], T]) -> T:
    """Run ``work`` and return what it returns; raise NotOwner if it met a fence, whatever it made of that.

    Called inside the transaction of the work, so that what it did besides is rolled back.
    """
    with watched() as met:
        try:
            result = work()
        except Exception as error:
            if met and error is not met[0]:
                raise met[0] from error
            raise
    if met:
        raise met[0]
    return result
