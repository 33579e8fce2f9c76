"""What the shop refuses, by the kind of answer it deserves; each app adds its own."""


class ShopError(Exception):
    """The shop cannot do what was asked."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class Missing(ShopError):
    """There is no such thing, or it is not for the one who asks."""


class Invalid(ShopError):
    """What was asked names something that does not exist or makes no sense."""

    field = "non_field_errors"
    """Which part of the request is wrong."""

    def __init__(self, *messages: str) -> None:
        super().__init__(" ".join(messages))
        self.messages = messages or (str(self),)


class Refused(ShopError):
    """The state of things does not allow what was asked."""

    code = "refused"
    """What programs read; people read the message."""
