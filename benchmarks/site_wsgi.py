"""The benchmark's site for gunicorn."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.site_settings")

from router.wsgi import get_wsgi_application

application = get_wsgi_application()
