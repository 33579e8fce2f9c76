"""What can be wrong with an idempotency key, and what a client is told."""

from router.exceptions import StranglerError


class IdempotencyError(StranglerError):
    """The request was not carried out, because of its idempotency key."""

    status_code = 409
    code = "idempotency"
    retry_after: int | None = None
    """Seconds after which the same request may be sent again; None if that would not help."""


class KeyMalformed(IdempotencyError):
    """The Idempotency-Key has to be 1 to 255 visible ASCII characters."""

    status_code = 400
    code = "idempotency_key_malformed"


class KeyInFlight(IdempotencyError):
    """A request with this Idempotency-Key is being carried out; ask again in a moment."""

    code = "idempotency_key_in_flight"
    retry_after = 1


class KeyReused(IdempotencyError):
    """This Idempotency-Key was used for another request; use a new key for a new request."""

    status_code = 422
    code = "idempotency_key_reused"


class ClaimLost(IdempotencyError):
    """Somebody else took this request over; its work here was rolled back."""

    code = "idempotency_claim_lost"
    retry_after = 1


class ClaimInTransaction(StranglerError, RuntimeError):
    """An idempotency key was to be claimed inside a transaction; that is a mistake in the program, not the client's."""
