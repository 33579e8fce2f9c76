"""The answers that are none: a status, a code for programs and a reason for people."""

from migrations_plan.sync.errors import SyncError

AGAIN_SECONDS = 1
"""After which a caller that was asked to come back does so."""


class Refusal(SyncError):
    """A request that is not served."""

    def __init__(self, status: int, code: str, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after


def malformed(detail: str) -> Refusal:
    """Return the refusal of a body that does not say what the verb needs."""
    return Refusal(400, "malformed", detail)


def too_large(limit: int) -> Refusal:
    """Return the refusal of a body above the limit, which is also how a caller learns the limit."""
    return Refusal(
        413,
        "too_large",
        f"The body is larger than {limit} bytes, compressed or unpacked. Send less.",
    )


def later(code: str, detail: str, *, status: int = 503) -> Refusal:
    """Return the refusal of what may be served in a moment."""
    return Refusal(status, code, detail, retry_after=AGAIN_SECONDS)
