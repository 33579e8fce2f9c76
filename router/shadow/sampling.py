"""Which part of the traffic is compared: by the bucket that a request touches, else by the request itself.

Each route of each service has its own order of the buckets, so that the same percentage picks others in each, and not
the same customers pay for every comparison. Growing a percentage drops nobody.
"""

import functools
import hashlib
import zlib

from router.holders import BUCKETS


def of_bucket(service: str, route: str, bucket: int) -> int:
    """Return the place of a bucket in the route's own order, 0 to 99: it is in the sample of more percent than that."""
    return _order(service, route)[bucket]


def of_request(method: str, target: str, second: int) -> int:
    """Return the place of a request that touches no bucket, from what it asks for and the second in which it does.

    Without the second, a route with one address would be compared as a whole or not at all.
    """
    return zlib.crc32(f"{method} {target} {second}".encode("utf-8", "surrogatepass")) % BUCKETS


@functools.lru_cache(maxsize=1024)
def _order(service: str, route: str) -> tuple[int, ...]:
    def salted(bucket: int) -> bytes:
        return hashlib.sha256(f"strangler.shadow:{service}:{route}:{bucket}".encode()).digest()

    places = {bucket: place for place, bucket in enumerate(sorted(range(BUCKETS), key=salted))}
    return tuple(places[bucket] for bucket in range(BUCKETS))
