"""What the core tests need of a project; each settings module names its own in CORE_PROJECT."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from django.test import Client


class Project(ABC):
    """A project with one service whose routes are a list of the visitor's things, and a way to add one."""

    service: ClassVar[str]
    path: ClassVar[str]
    """GET lists what the visitor owns, POST adds to it; the visitor is the partition key."""
    token_path: ClassVar[str]
    """Hands out the CSRF cookie."""
    outside: ClassVar[str]
    """Belongs to no route."""
    key_column: ClassVar[tuple[str, str, Literal["integer", "uuid"]]]
    """Table, column and kind of the users' primary key."""

    @abstractmethod
    def person(self, name: str, *, staff: bool = False, superuser: bool = False) -> Any:
        """Make a user."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what a write needs."""

    @abstractmethod
    def write(self, client: Client, **headers: str) -> Any:
        """Add one thing; what was added is answered with 201."""

    @abstractmethod
    def written(self) -> int:
        """Return how many things there are."""

    def client_of(self, person: Any, **options: Any) -> Client:
        """Return a browser in which somebody has logged in."""
        client = Client(**options)
        client.force_login(person)
        return client
