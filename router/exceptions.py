"""The one family of errors the router raises."""

from django.core.exceptions import ImproperlyConfigured


class StranglerError(Exception):
    """Something in the strangler toolkit could not be done."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigurationError(StranglerError, ImproperlyConfigured):
    """The setting STRANGLER cannot be used as it is."""


class UnknownService(StranglerError):
    """There is no such service in STRANGLER["SERVICES"]."""


class KeyUnusable(StranglerError, TypeError):
    """A partition key is neither an integer, nor a UUID, nor text."""
