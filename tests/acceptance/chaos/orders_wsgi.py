"""WSGI entry point of the orders service in a run."""

import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.acceptance.chaos.orders_settings"
application = get_wsgi_application()
