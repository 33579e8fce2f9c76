"""What oscar's views and templates expect of a request."""

from collections.abc import Callable

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse


class CustomerMiddleware:
    """Give the views the customer for whom the router vouches; there is no session here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Look the customer up."""
        identity = request.strangler_identity
        known = None
        if identity is not None and identity.subject is not None:
            known = get_user_model().objects.filter(pk=identity.subject, is_active=True).first()
        request.user = known or AnonymousUser()
        request.session = {}
        return self.get_response(request)
