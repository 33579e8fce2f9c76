"""The WSGI entry point of a project whose public reads are forwarded ahead of Django."""

from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application as get_django_application
from django.utils.module_loading import import_string

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def get_wsgi_application() -> WSGIApplication:
    """Set Django up and return its application behind ``router.ahead``, as Django's own function would."""
    django = get_django_application()
    # By name, since the router's models can be imported only now.
    wrapped: WSGIApplication = import_string("router.ahead.StranglerApplication")(django)
    return wrapped
