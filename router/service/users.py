"""The user of a request in a service, which has no table of users."""

from dataclasses import dataclass
from typing import Any

from router.identity import Identity


@dataclass(frozen=True)
class ServiceUser:
    """Somebody the router vouches for. It looks like a Django user to views and permissions."""

    identity: Identity
    is_active = True

    @property
    def pk(self) -> str | None:
        """The user's primary key in the monolith, as text."""
        return self.identity.subject

    @property
    def id(self) -> str | None:
        """The same as ``pk``."""
        return self.identity.subject

    @property
    def is_authenticated(self) -> bool:
        """Whether the router knows who this is."""
        return self.identity.authenticated

    @property
    def is_anonymous(self) -> bool:
        """The opposite of ``is_authenticated``."""
        return not self.identity.authenticated

    @property
    def is_staff(self) -> bool:
        """Whether the monolith lets this user into its admin."""
        return self.identity.staff

    @property
    def is_superuser(self) -> bool:
        """Whether the monolith lets this user do everything."""
        return self.identity.superuser

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Grant everything to superusers and nothing to others: permissions stay in the monolith."""
        return self.identity.superuser

    def __str__(self) -> str:
        return f"user {self.identity.subject}" if self.identity.subject else "anonymous user"
