"""What a fence says when it refuses: writes to a bucket that this side does not own, whichever program makes them.

The fence is the first thing that each capture trigger does. It locks the buckets of the rows that were changed, old and
new, shared and in ascending order, and looks whether this side owns them all; both hold until the transaction ends.
"""

from router.fences import SQLSTATE, HeldAs, NotOwner, install, message

__all__ = ["OWNERSHIP", "SQLSTATE", "NotOwner", "install", "told"]

OWNERSHIP = "strangler_sync_ownership"

_TOLD: dict[HeldAs, str] = {
    "replica": "the other side owns this bucket. Have the write done there, or bring the bucket home first.",
    "frozen": "ownership of this bucket is changing hands. Nobody writes it for a moment. Try again.",
    "nobody": "nobody has written down who owns this bucket. Installing sync does.",
}


def told(group: str, state: HeldAs, bucket: str = "?") -> str:
    """Return the message of a refusal; it holds no quotes, so that it can stand in SQL."""
    return message(group, bucket, state, f"{_TOLD[state]} manage.py sync status {group} shows who owns what.")
