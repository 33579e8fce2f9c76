"""WSGI entry point of the reviews service."""

import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.oscar.service.settings"
application = get_wsgi_application()
