"""A small monolith: Django's default middleware with the router among it, and django-revproxy beside it."""

import os

SECRET_KEY = "only for the benchmark, which listens on the loopback interface"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "waffle",
    "revproxy",
    "router",
    "benchmarks",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "router.middleware.StranglerMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "benchmarks.site_urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("BENCH_DATABASE", ":memory:")}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
WAFFLE_FLAG_MODEL = "router.Flag"
LOGGING = {"version": 1, "disable_existing_loggers": True, "root": {"level": "ERROR"}}

UPSTREAM = os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:1")
STRANGLER = {
    "SNAPSHOT_SOURCE": "benchmarks.strangler.Everything",
    "IDENTITY_RESOLVERS": ["router.identity.resolvers.session"],
    "SERVICES": {
        "orders": {"UPSTREAMS": {"shared": UPSTREAM}, "SECRET": "only for the benchmark, on the loopback interface"},
    },
}
