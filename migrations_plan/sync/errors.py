"""The one family of errors that sync raises."""

from migrations_plan.sync.messages import Result


class SyncError(Exception):
    """Something about sync could not be done."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class DeclarationError(SyncError):
    """An aggregate is declared in a way that cannot work."""


class UnknownAggregate(SyncError):
    """No aggregate of this name is declared here."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"No aggregate {name!r} is declared here. Known: {', '.join(known) or 'none'}.")


class UnknownBucket(SyncError):
    """Nobody has written down who owns the bucket."""


class Unloadable(SyncError):
    """A document cannot be turned into rows of this side."""


class FutureVersion(Unloadable):
    """The document has a version that this program does not know yet."""


class CaptureMissing(SyncError):
    """Triggers that write down what changes are not where they have to be."""


class NotConfigured(SyncError):
    """The settings do not say where the other side is."""


class PeerUnavailable(SyncError):
    """The other side did not answer; everything stays marked and is sent later."""

    def __init__(self, message: str = "", *, retry_after: float = 1.0, busy: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which another try makes sense."""
        self.busy = busy
        """Whether it is there and could not do it at this moment."""


class PeerRefused(SyncError):
    """The other side answered that it will not: a token, a body or an aggregate it does not accept."""


class AnsweredInPart(SyncError):
    """The other side answered for some documents before it went away; what it did with those is certain."""

    def __init__(self, results: tuple[Result, ...], reason: PeerUnavailable | PeerRefused) -> None:
        super().__init__(str(reason))
        self.results = results
        self.reason = reason


class NotTheOwner(SyncError):
    """This side may not do that: it holds a replica."""


class Busy(SyncError):
    """Another process is at it."""
