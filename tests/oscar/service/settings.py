"""The service's settings: oscar's apps to draw the pages with, and who the client is from the router alone."""

from tests.oscar.base import *  # noqa: F403
from tests.oscar.base import OSCAR_APPS

INSTALLED_APPS = [*OSCAR_APPS, "router.idempotency"]
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",  # Content-Length, so that the router can keep connections alive
    "django.middleware.csrf.CsrfViewMiddleware",  # gives the pages their tokens; the router has checked them
    "router.service.middleware.ServiceIdentityMiddleware",
    "router.service.middleware.ReadOnlyShadowMiddleware",
    "tests.oscar.service.middleware.CustomerMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
]
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"  # the shop reads cookies first
APPEND_SLASH = False
ROOT_URLCONF = "tests.oscar.service.urls"
WSGI_APPLICATION = "tests.oscar.service.wsgi.application"
STRANGLER_SERVICE = {"NAME": "reviews", "SECRET": "between-oscar-and-its-reviews-service"}
STRANGLER_IDEMPOTENCY = {"HOLDER": "extracted"}
