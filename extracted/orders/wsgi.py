"""WSGI entry point of the orders service."""

import os

from django.core.wsgi import get_wsgi_application

# Not setdefault: a service started from the shop's environment must not run with the shop's settings.
os.environ["DJANGO_SETTINGS_MODULE"] = "extracted.orders.settings"
application = get_wsgi_application()
