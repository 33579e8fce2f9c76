"""The shop: oscar, and the toolkit on top. This is all that had to be added."""

import os

from tests.oscar.base import *  # noqa: F403
from tests.oscar.base import OSCAR_APPS, OSCAR_MIDDLEWARE, OSCAR_SESSION_MIDDLEWARE

INSTALLED_APPS = [*OSCAR_APPS, "waffle", "router", "router.idempotency", "migrations_plan", "tests.oscar.project"]
MIDDLEWARE = [*OSCAR_SESSION_MIDDLEWARE, "router.middleware.StranglerMiddleware", *OSCAR_MIDDLEWARE]
ROOT_URLCONF = "tests.oscar.urls"
WSGI_APPLICATION = "tests.oscar.project.wsgi.application"

WAFFLE_FLAG_MODEL = "router.Flag"
STRANGLER = {
    "SNAPSHOT_SOURCE": "migrations_plan.source.PlanSnapshotSource",
    "IDENTITY_RESOLVERS": ["router.identity.resolvers.session"],
    "SERVICES": {
        "reviews": {
            "UPSTREAMS": {"shared": os.environ.get("REVIEWS_URL", "http://127.0.0.1:8201")},
            "SECRET": "between-oscar-and-its-reviews-service",
            "TIMEOUTS": {"FIRST_BYTE": 2.0},
        },
    },
    "DEBUG_HEADERS": True,
}
STRANGLER_IDEMPOTENCY = {"HOLDER": "legacy"}
