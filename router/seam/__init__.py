"""The same switch at function level: the monolith's own code calls a function, and the side that is due does the work.

A request that comes in by HTTP is diverted by the middleware. What the monolith's pages, commands and tasks do with the
same data goes through a seam instead (branch by abstraction): a function with two implementations, decided by the same
rules, guarded by the same breaker, idempotency keys and fallback, and compared in the same way.
"""

from router.seam.client import Answer, Client
from router.seam.errors import SeamInTransaction, SeamMisused, Unavailable
from router.seam.operations import ReadSeam, Seam, WriteSeam, declared, read, write
from router.seam.ownership import OwnedHere as owned_here
from router.seam.ownership import moved, owned_here_sql

__all__ = [
    "Answer",
    "Client",
    "ReadSeam",
    "Seam",
    "SeamInTransaction",
    "SeamMisused",
    "Unavailable",
    "WriteSeam",
    "declared",
    "moved",
    "owned_here",
    "owned_here_sql",
    "read",
    "write",
]
