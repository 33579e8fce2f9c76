"""The shop's settings on the database that TEST_DATABASE names: sqlite (default) or postgres."""

import os

from tests import scratch

os.environ["SHOP_DATABASE_URL"] = scratch.url("shop")

from legacy_shop.settings import *  # noqa: F403
from legacy_shop.settings import DATABASES, INSTALLED_APPS, STRANGLER, STRANGLER_SYNC
from router.service import environment

scratch.made_for_tests(DATABASES["default"])

# The orders service's own store, as a second side in this process; tests/own says how to use it.
DATABASES["own"] = environment.database("TEST_OWN_DATABASE_URL", scratch.url("own"))
scratch.made_for_tests(DATABASES["own"], "_own")
DATABASE_ROUTERS = ["tests.own.databases.OwnSideRouter"]
INSTALLED_APPS += ["tests.own.apps.OwnSideConfig", "router.sagas"]
MIGRATION_MODULES = {"own_store": "extracted.orders.own_store.migrations"}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
CELERY_BROKER_URL = "memory://"
CELERY_TASK_ALWAYS_EAGER = False

# No thread changes the rules behind a test's back; a test that wants them read calls poller.refresh().
STRANGLER["POLLER"] = False

CORE_PROJECT = "tests.core.shop.Shop"

STRANGLER_SYNC = {**STRANGLER_SYNC, "ANNOUNCE_SECONDS": 0.001}  # no other process has to hear of it
