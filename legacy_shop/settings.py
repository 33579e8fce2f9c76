"""Settings of the monolith, which is the control plane as well. Everything variable comes from the environment."""

import os
from pathlib import Path

from celery.schedules import crontab
from kombu import Queue

from migrations_plan.sync.events.topology import event_queues
from router.service import environment

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("SHOP_VAR", BASE_DIR / "var"))

DEBUG = environment.flag("SHOP_DEBUG", default=False)
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "demo-only-secret-key-of-the-shop-never-use-it-in-production")
ALLOWED_HOSTS = os.environ.get("SHOP_ALLOWED_HOSTS", "127.0.0.1,localhost,testserver").split(",")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "waffle",
    "router",
    "router.idempotency",
    "migrations_plan",
    "migrations_plan.sync",
    "migrations_plan.sync.events",
    "legacy_shop.accounts",
    "legacy_shop.catalog",
    "legacy_shop.cart",
    "legacy_shop.orders",
    "legacy_shop.payments",
    "legacy_shop.storefront",
    "legacy_shop.backoffice",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "router.middleware.StranglerMiddleware",
]

ROOT_URLCONF = os.environ.get("SHOP_URLCONF", "legacy_shop.urls")
WSGI_APPLICATION = "legacy_shop.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "legacy_shop" / "templates"],
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

DATABASES = {"default": environment.database("SHOP_DATABASE_URL", f"sqlite:///{VAR_DIR / 'shop.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
# The demo has no web server in front: Django hands out the style sheets itself. Turn it off where there is one.
SERVE_STATIC = environment.flag("SHOP_SERVE_STATIC", default=True)

DEFAULT_FROM_EMAIL = "shop@example.com"
EMAIL_BACKEND = "legacy_shop.mailbox.MailboxBackend"
EMAIL_FILE_PATH = VAR_DIR / "mail"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "router.drf.ReusedTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "router.drf_errors.exception_handler",
}
SPECTACULAR_SETTINGS = {"TITLE": "Legacy shop", "VERSION": "1", "SERVE_INCLUDE_SCHEMA": False}

# --- the strangler toolkit ---------------------------------------------------------------------------------
WAFFLE_FLAG_MODEL = "router.Flag"
ORDERS_OWN_URL = os.environ.get("ORDERS_OWN_URL", "http://127.0.0.1:8103").rstrip("/")
STRANGLER = {
    "SNAPSHOT_SOURCE": "migrations_plan.source.PlanSnapshotSource",
    "IDENTITY_RESOLVERS": ["router.drf.token_identity", "router.identity.resolvers.session"],
    "SERVICES": {
        "orders": {
            "UPSTREAMS": {
                "shared": os.environ.get("ORDERS_SHARED_URL", "http://127.0.0.1:8101"),
                "own": ORDERS_OWN_URL,
            },
            "SECRET": os.environ.get("STRANGLER_SECRET_ORDERS", "demo-only-secret-between-shop-and-orders"),
            "TIMEOUTS": {  # seconds
                "CONNECT": float(os.environ.get("ORDERS_CONNECT_TIMEOUT", "0.5")),
                "FIRST_BYTE": float(os.environ.get("ORDERS_FIRST_BYTE_TIMEOUT", "2.0")),
                "TOTAL": float(os.environ.get("ORDERS_TOTAL_TIMEOUT", "5.0")),
            },
        },
    },
    "SHADOW": {"LAG_SECONDS": 3.0},  # more than the plan lets sync be behind
    "DEBUG_HEADERS": environment.flag("STRANGLER_DEBUG_HEADERS", default=False),
}
STRANGLER_IDEMPOTENCY = {
    "HOLDER": "legacy",
    "TRAVELS": ["orders"],
    "OWNED_BUCKETS": "migrations_plan.sync.operate.owned_buckets",
}
STRANGLER_SYNC = {
    "SIDE": "legacy",
    "PEERS": {
        "orders": {
            "URL": f"{ORDERS_OWN_URL}/strangler/sync/",
            "SECRET": os.environ.get("SYNC_SECRET_ORDERS", "demo-only-secret-of-sync-between-shop-and-orders"),
            "AUDIENCE": "orders",
        },
    },
}
EVENT_TOPICS = ["orders.#"]
STRANGLER_EVENTS = {
    "CONSUMER": "shop",
    "CONSUMERS": {"shop": EVENT_TOPICS},
    "TRAVELS": {"orders.order": "orders"},
    "CELERY_APP": "legacy_shop.celery.app",
    "LEASE_SECONDS": float(os.environ.get("SHOP_EVENTS_LEASE_SECONDS", "60")),
}

# --- payments ----------------------------------------------------------------------------------------------
PAYMENT_PROVIDER_URL = os.environ.get("PAYMENT_PROVIDER_URL", "http://127.0.0.1:8109")
PAYMENT_PROVIDER_TIMEOUT = float(os.environ.get("PAYMENT_PROVIDER_TIMEOUT", "2.0"))  # seconds

# --- Celery ------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "embedded://")
CELERY_TASK_ACKS_LATE = True
SYNC_QUEUE = "sync"  # of its own, so that a worker of its own may take it: a relay stays for seconds
CELERY_TASK_QUEUES = [Queue("celery"), Queue(SYNC_QUEUE), *event_queues("shop", EVENT_TOPICS)]
CELERY_TASK_ROUTES = {"strangler_sync.*": {"queue": SYNC_QUEUE}}
CELERY_TASK_IGNORE_RESULT = True
# After a lost connection Celery would set the prefetch count from the threads that end tasks, and may hang for ever.
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
if CELERY_BROKER_URL.startswith("amqp"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
if CELERY_BROKER_URL.startswith("embedded:"):  # the embedded broker: a folder, nothing to install
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(VAR_DIR / "broker" / "messages"),
        "data_folder_out": str(VAR_DIR / "broker" / "messages"),
        "control_folder": str(VAR_DIR / "broker" / "control"),
        "polling_interval": 0.02,  # seconds
    }
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE = {
    "settle open payments": {
        "task": "payments.settle_open_payments",
        "schedule": 2.0,  # seconds
        "options": {"expires": 10.0},  # hints that nobody took in time are worth nothing: the next one says the same
    },
    "go on at the orders service": {
        "task": "orders.resume_at_service",
        "schedule": 2.0,
        "options": {"expires": 10.0},
    },
    "hand the orders service's events on": {
        "task": "orders.hand_events_on",
        "schedule": 1.0,
        "options": {"expires": 5.0},
    },
    "relay events": {"task": "strangler_events.relay", "schedule": 1.0, "options": {"expires": 5.0}},
    "handle events": {"task": "strangler_events.work", "schedule": 1.0, "options": {"expires": 5.0}},
    "forget old events": {"task": "strangler_events.purge", "schedule": crontab(hour="4", minute="20")},
    "sync": {"task": "strangler_sync.sweep", "schedule": 1.0, "options": {"expires": 5.0}},
    "forget old lag": {"task": "strangler_sync.purge", "schedule": crontab(hour="4", minute="30")},
    "expire unpaid orders": {"task": "orders.expire_unpaid_orders", "schedule": crontab(hour="3", minute="30")},
    "forget old rows": {"task": "backoffice.forget_old_rows", "schedule": crontab(hour="4", minute="10")},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": os.environ.get("SHOP_LOG_LEVEL", "INFO")},
}
