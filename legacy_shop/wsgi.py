"""WSGI entry point of the monolith; SHOP_URLCONF selects the public site or the internal listener."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "legacy_shop.settings")
application = get_wsgi_application()
