"""Who a request comes from, and how that travels to a service."""

from typing import Literal, NamedTuple

Kind = Literal["anonymous", "session", "token", "service"]

HEADER = "X-Strangler-Identity"
"""The only header by which a service learns who the client is."""


class Identity(NamedTuple):
    """The client of a request, as far as routing and services need to know it. A tuple, made for each request."""

    subject: str | None = None
    """The user's primary key as text; None for an anonymous client."""
    kind: Kind = "anonymous"
    """How the client proved who it is."""
    staff: bool = False
    superuser: bool = False

    @property
    def authenticated(self) -> bool:
        """Whether anybody vouches for the subject."""
        return self.kind != "anonymous"


ANONYMOUS = Identity()
