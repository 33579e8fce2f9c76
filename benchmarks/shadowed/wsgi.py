"""The site for gunicorn."""

import gc
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.shadowed.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
gc.collect()
gc.freeze()  # else a collection of all that Django has loaded is what the slowest hundredth waits for
