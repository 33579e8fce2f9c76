"""The one family of errors the router raises."""


class StranglerError(Exception):
    """Something in the strangler toolkit could not be done."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())
