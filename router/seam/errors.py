"""What can keep a seam from doing what it was asked."""

from router.exceptions import ConfigurationError, StranglerError


class SeamInTransaction(StranglerError):
    """A write through a seam was asked for inside a transaction, which would stay open over a call to a service."""


class SeamMisused(ConfigurationError):
    """An operation is declared, or its remote function written, in a way that cannot work."""


class Unavailable(StranglerError):
    """Neither side may carry the operation out now; the same call with the same key finds out later."""

    def __init__(self, message: str, *, key: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.key = key
        """The idempotency key under which a second try takes effect once: ``operation.once(key)(...)``."""
        self.retry_after = retry_after
        """Seconds after which a second try makes sense."""
