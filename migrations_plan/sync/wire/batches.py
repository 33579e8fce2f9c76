"""Documents in batches of a bounded size, in their order; one that is too large for any stands alone."""

from collections.abc import Iterator, Sequence

from migrations_plan.sync.conf import SyncSettings


def cut(sizes: Sequence[int], most: int) -> Iterator[range]:
    """Return the places of neighbours whose sizes add up to no more than ``most``, or that are alone."""
    start, total = 0, 0
    for place, size in enumerate(sizes):
        if place > start and total + size > most:
            yield range(start, place)
            start, total = place, 0
        total += size
    if start < len(sizes):
        yield range(start, len(sizes))


def too_large(size: int, settings: SyncSettings) -> str:
    """Return why a document cannot travel, and what to do."""
    limit = settings.max_body_bytes
    return f"The document has {size} bytes, and a body may have {limit}. Raise MAX_BODY_BYTES on both sides."
