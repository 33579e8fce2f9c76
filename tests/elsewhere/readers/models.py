"""Users of another kind than Django's."""

import uuid
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models


class People(BaseUserManager["Person"]):
    """Make people, who have no user names."""

    def create_user(self, email: str, password: str | None = None, **values: Any) -> "Person":
        """Make one."""
        person = self.model(email=self.normalize_email(email), **values)
        person.set_password(password)
        person.save()
        return person


class Person(AbstractBaseUser, PermissionsMixin):
    """Somebody with a reader's card, who logs in with an e-mail address."""

    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    is_librarian = models.BooleanField(default=False)

    USERNAME_FIELD = "email"
    objects = People()

    def __str__(self) -> str:
        return self.email

    @property
    def is_staff(self) -> bool:
        """Let librarians into the admin."""
        return self.is_librarian


class Robot(AbstractBaseUser):
    """A user of the kind that is in no group."""

    name = models.CharField(max_length=40, unique=True)

    USERNAME_FIELD = "name"

    def __str__(self) -> str:
        return self.name
