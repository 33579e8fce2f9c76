"""Who looks at a page."""

from typing import cast

from django.contrib.auth.models import User
from django.http import HttpRequest


def customer_of(request: HttpRequest) -> User:
    """Return the customer of a page that only customers see."""
    return cast(User, request.user)
