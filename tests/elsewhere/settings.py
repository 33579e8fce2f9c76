"""A library's reading room: a project as unlike the shop as the toolkit has to bear.

Users with UUIDs and e-mail addresses, two databases, ATOMIC_REQUESTS on both, sessions in signed cookies, no REST
framework, middleware in another order. Its users' app has another label than its module.
"""

import os

from router.service import environment
from tests import scratch

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["testserver", "127.0.0.1"]
ROOT_URLCONF = "tests.elsewhere.urls"
ASGI_APPLICATION = "tests.elsewhere.asgi.application"
USE_TZ = True
USE_I18N = True
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
DEBUG = False

INSTALLED_APPS = [
    "migrations_plan",
    "router.idempotency",
    "router",
    "waffle",
    "tests.elsewhere.readers.apps.ReadersConfig",
    "tests.elsewhere.desk.apps.DeskConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
]
AUTH_USER_MODEL = "people.Person"

MIDDLEWARE = [
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.common.CommonMiddleware",
    "router.middleware.StranglerMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"

DATABASES = {
    "default": environment.database("ELSEWHERE_DATABASE_URL", scratch.url("people")),
    "library": environment.database("ELSEWHERE_LIBRARY_URL", scratch.url("library")),
}
for alias, suffix in (("default", ""), ("library", "_library")):
    DATABASES[alias]["ATOMIC_REQUESTS"] = True
    scratch.made_for_tests(DATABASES[alias], suffix)
DATABASE_ROUTERS = ["tests.elsewhere.databases.LibraryRouter"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

WAFFLE_FLAG_MODEL = "router.Flag"
STRANGLER = {
    "SNAPSHOT_SOURCE": "migrations_plan.source.PlanSnapshotSource",
    "IDENTITY_RESOLVERS": ["router.identity.resolvers.session"],
    "SERVICES": {
        "loans": {
            "UPSTREAMS": {"shared": os.environ.get("LOANS_URL", "http://127.0.0.1:8190")},
            "SECRET": "only-for-tests-between-library-and-loans",
        },
    },
    "POLLER": environment.flag("ELSEWHERE_POLLER", default=False),
    "DEBUG_HEADERS": environment.flag("ELSEWHERE_DEBUG_HEADERS", default=False),
}
STRANGLER_IDEMPOTENCY = {"HOLDER": "legacy"}

CORE_PROJECT = "tests.elsewhere.library.Library"
