"""The shop's settings on the database that TEST_DATABASE names: sqlite (default) or postgres."""

import os

from tests import scratch

os.environ["SHOP_DATABASE_URL"] = scratch.url("shop")

from legacy_shop.settings import *  # noqa: F403
from legacy_shop.settings import DATABASES, STRANGLER

scratch.made_for_tests(DATABASES["default"])

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
CELERY_BROKER_URL = "memory://"
CELERY_TASK_ALWAYS_EAGER = False

# No thread changes the rules behind a test's back; a test that wants them read calls poller.refresh().
STRANGLER["POLLER"] = False

CORE_PROJECT = "tests.core.shop.Shop"
