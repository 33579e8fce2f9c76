"""The reading room, as the core tests see it."""

import json
from typing import Any

from django.test import Client

from tests.core.port import Project
from tests.elsewhere.desk.models import Loan
from tests.elsewhere.readers.models import Person


class Library(Project):
    """UUID users, two databases, plain Django views."""

    service = "loans"
    path = "/mine/"
    token_path = "/token/"
    outside = "/outside/"
    key_column = ("people_person", "key", "uuid")

    def person(self, name: str, *, staff: bool = False, superuser: bool = False) -> Any:
        """Make a reader."""
        return Person.objects.create_user(f"{name}@example.org", is_librarian=staff, is_superuser=superuser)

    def prepare(self) -> None:
        """Need nothing."""

    def write(self, client: Client, **headers: str) -> Any:
        """Borrow a book."""
        return client.post(self.path, json.dumps({"book": "Emma"}), content_type="application/json", headers=headers)

    def written(self) -> int:
        """Count the loans."""
        return Loan.objects.count()
