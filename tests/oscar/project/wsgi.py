"""WSGI entry point of the shop."""

import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.oscar.project.settings"
application = get_wsgi_application()
