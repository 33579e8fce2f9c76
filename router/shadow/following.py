"""Whether what was changed has arrived in the store that follows; a difference before that proves nothing."""

from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

from router import poller
from router.decide import Decision


@runtime_checkable
class FollowingSource(Protocol):
    """What a snapshot source offers besides, once data has two homes: whether changes are on their way."""

    def is_behind(self, service: str, bucket: int) -> bool:
        """Return whether a change of this bucket's data has not arrived in its other home; called off the request path.

        Raises where nobody can tell.
        """


def behind(decision: Decision) -> Callable[[], bool] | None:
    """Return what tells whether the copy of a request's data is behind; None where no source knows.

    Requests that touch all buckets are never all caught up with: for those a moment has to do.
    """
    source = poller.source()
    if not decision.compares_stores or decision.bucket is None or not isinstance(source, FollowingSource):
        return None
    return partial(source.is_behind, decision.service, decision.bucket)
