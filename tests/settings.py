"""The shop's settings on the database that TEST_DATABASE names: sqlite (default) or postgres."""

import os
import tempfile
from pathlib import Path

from router.service import environment

KIND = environment.choice("TEST_DATABASE", default="sqlite", allowed=("sqlite", "postgres"))
MADE_SCRATCH = "SHOP_VAR" not in os.environ
if MADE_SCRATCH:
    os.environ["SHOP_VAR"] = tempfile.mkdtemp(prefix="strangler-tests-")
SCRATCH = Path(os.environ["SHOP_VAR"])
if KIND == "postgres":
    os.environ["SHOP_DATABASE_URL"] = os.environ.get(
        "TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"
    )
else:
    os.environ["SHOP_DATABASE_URL"] = f"sqlite:///{SCRATCH / 'shop.sqlite3'}"

from legacy_shop.settings import *  # noqa: E402, F403
from legacy_shop.settings import DATABASES, STRANGLER  # noqa: E402

DATABASES["default"]["CONN_MAX_AGE"] = 0
if KIND == "sqlite":
    # A file, not memory: threads and other processes have to see it. Nothing here has to survive a power cut.
    DATABASES["default"]["TEST"] = {"NAME": str(SCRATCH / f"test-{os.getpid()}.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] = (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;"
    )
else:
    DATABASES["default"]["TEST"] = {"NAME": f"test_strangler_{os.getpid()}"}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
CELERY_BROKER_URL = "memory://"
CELERY_TASK_ALWAYS_EAGER = False

# No thread changes the rules behind a test's back; a test that wants them read calls poller.refresh().
STRANGLER["POLLER"] = False
