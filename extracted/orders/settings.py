"""Settings of the orders service. Everything variable comes from the environment."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from router.service import environment

BASE_DIR = Path(__file__).resolve().parent.parent.parent
VAR_DIR = Path(os.environ.get("SHOP_VAR", BASE_DIR / "var"))

DEBUG = False
SECRET_KEY = os.environ.get(
    "ORDERS_SECRET_KEY", "demo-only-secret-key-of-the-orders-service-never-use-it-in-production"
)
ALLOWED_HOSTS = os.environ.get("ORDERS_ALLOWED_HOSTS", "*").split(",")  # the shop forwards its own Host header

# --- the store ---------------------------------------------------------------------------------------------
STORE_APPS = {"shared": "extracted.orders.legacy_store", "own": "extracted.orders.own_store"}
"""Which app keeps the orders, by ORDERS_STORE: in the monolith's tables, or in tables of the service's own."""
STORE_DATABASES = {
    "shared": ("ORDERS_DATABASE_URL", f"sqlite:///{VAR_DIR / 'shop.sqlite3'}"),
    "own": ("ORDERS_OWN_DATABASE_URL", f"sqlite:///{VAR_DIR / 'orders.sqlite3'}"),
}
"""The variable that names each store's database, and what it is without."""

ORDERS_STORE = environment.choice("ORDERS_STORE", default="shared", allowed=tuple(STORE_APPS))
OWN_STORE = ORDERS_STORE == "own"

IDLE_IN_TRANSACTION = 10  # seconds, by when others get at the rows that a frozen process of ours has locked
DATABASES = {"default": environment.database(*STORE_DATABASES[ORDERS_STORE], idle_seconds=IDLE_IN_TRANSACTION)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    STORE_APPS[ORDERS_STORE],
    "rest_framework",
    "drf_spectacular",
    "router.idempotency",
    *(["migrations_plan.sync", "router.sagas"] if OWN_STORE else []),
    "migrations_plan.sync.events",
]

# --- requests ----------------------------------------------------------------------------------------------
FAULTS = environment.flag("ORDERS_FAULTS", default=False)
FAULTS_FILE = os.environ.get("ORDERS_FAULTS_FILE", "") if FAULTS else ""
if FAULTS and not FAULTS_FILE:
    raise ImproperlyConfigured(
        "ORDERS_FAULTS=1 needs ORDERS_FAULTS_FILE, the path of the JSON file in which all workers see the faults."
    )

MIDDLEWARE = [
    "router.service.middleware.NotOwnerMiddleware",
    "django.middleware.common.CommonMiddleware",  # Content-Length, so that the router can keep connections alive
    "django.middleware.clickjacking.XFrameOptionsMiddleware",  # as the monolith answers
    *(["extracted.orders.faults.FaultMiddleware"] if FAULTS else []),
    "router.service.middleware.ServiceIdentityMiddleware",
    "router.service.middleware.ReadOnlyShadowMiddleware",
    "router.service.versions.WrittenVersionsMiddleware",
]
APPEND_SLASH = False
ROOT_URLCONF = "extracted.orders.urls"
WSGI_APPLICATION = "extracted.orders.wsgi.application"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["router.service.drf.SignedIdentityAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "extracted.orders.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Orders",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "AUTHENTICATION_WHITELIST": [],
    "SECURITY": [{"router": []}],
    "APPEND_COMPONENTS": {
        "securitySchemes": {"router": {"type": "apiKey", "in": "header", "name": "X-Strangler-Identity"}}
    },
}

# --- the shop ----------------------------------------------------------------------------------------------
STRANGLER_SERVICE = {
    "NAME": "orders",
    "SECRET": os.environ.get("STRANGLER_SECRET_ORDERS", "demo-only-secret-between-shop-and-orders"),
    **({"VERSIONS": "migrations_plan.sync.versions.noted"} if OWN_STORE else {}),
}
STRANGLER_IDEMPOTENCY = {
    "HOLDER": "extracted",
    "TRAVELS": ["orders"],
    **({"OWNED_BUCKETS": "migrations_plan.sync.operate.owned_buckets"} if OWN_STORE else {}),
}
STRANGLER_EVENTS = {
    "TRAVELS": {"orders.order": "orders"},
    # In the shared store the outbox is the monolith's own. That of the own store has another name, and is handed over
    # to whoever asks for it (/internal/events/take/): the topics below are what the shop wants of it.
    **({"STREAM": "orders", "CONSUMERS": {"shop": ["orders.#"]}} if OWN_STORE else {}),
}
SHOP_INTERNAL_URL = os.environ.get("SHOP_INTERNAL_URL", "http://127.0.0.1:8102")
SHOP_INTERNAL_TIMEOUT = float(os.environ.get("SHOP_INTERNAL_TIMEOUT", "3.0"))  # seconds

# --- sync, with a store of our own -------------------------------------------------------------------------
if OWN_STORE:
    STRANGLER_SYNC = {
        "SIDE": "extracted",
        "AUDIENCE": "orders",
        "SECRET": os.environ.get("SYNC_SECRET_ORDERS", "demo-only-secret-of-sync-between-shop-and-orders"),
        "CAPTURE": True,
    }

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": os.environ.get("ORDERS_LOG_LEVEL", "INFO")},
}
