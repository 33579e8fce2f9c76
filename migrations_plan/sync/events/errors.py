"""The one family of errors that events raise."""


class EventError(Exception):
    """Something about an event could not be done."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class DeclarationError(EventError):
    """An event type, a handler or an upcaster is declared in a way that cannot work."""


class NotInTransaction(EventError):
    """An event was published outside of a transaction: it could be kept without the change that it tells of."""


class NoOwner(EventError):
    """An event of an aggregate that changes hands was published without saying whose it is."""


class Unreadable(EventError):
    """An event arrived that this program can make nothing of."""


class UnknownType(Unreadable):
    """No event type of this name is declared here."""


class FutureVersion(Unreadable):
    """The event has a version that this program does not know yet."""


class Unfit(Unreadable):
    """The payload does not fit its declaration."""


class BrokerAway(EventError):
    """The broker cannot be reached; everything stays in the outbox."""
