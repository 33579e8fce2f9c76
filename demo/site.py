"""Where the demo lives: its directory, its ports, and the environment all its processes share."""

import os
import secrets
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
ADMIN_NAME = "admin"
ADMIN_PASSWORD = "admin-demo"


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, kw_only=True)
class Site:
    """One running copy of shop, services, provider and worker."""

    directory: Path
    port_base: int = 8100
    own_url: str = ""
    """A database for the orders service's own store; empty means a file beside the shop's."""
    shop_secret: str = field(default_factory=_secret, repr=False)
    service_secret: str = field(default_factory=_secret, repr=False)
    sync_secret: str = field(default_factory=_secret, repr=False)

    @property
    def ports(self) -> dict[str, int]:
        """Which process listens where."""
        base = self.port_base
        return {
            "shop": base,
            "orders": base + 1,
            "shop-internal": base + 2,
            "orders-own": base + 3,
            "provider": base + 9,
        }

    def url(self, name: str) -> str:
        """Return the base URL of the process called ``name``."""
        return f"http://{HOST}:{self.ports[name]}"

    @property
    def database(self) -> Path:
        """The SQLite file that shop and service share."""
        return self.directory / "shop.sqlite3"

    @property
    def database_url(self) -> str:
        """The address of that file, as settings name it."""
        return f"sqlite:///{self.database}"

    @property
    def own_database_url(self) -> str:
        """The database of the orders service's own store."""
        return self.own_url or f"sqlite:///{self.directory / 'orders.sqlite3'}"

    @property
    def ledger(self) -> Path:
        """The payment provider's own SQLite file."""
        return self.directory / "provider.sqlite3"

    @property
    def mails(self) -> Path:
        """Where the shop's mails are delivered to."""
        return self.directory / "mail"

    @property
    def broker(self) -> Path:
        """The directory that is the message broker."""
        return self.directory / "broker"

    def environment(self) -> dict[str, str]:
        """Return the environment of every process, the caller's own with the demo's settings over it."""
        return {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.settings(),
        }

    def settings(self) -> dict[str, str]:
        """Return what makes a process one of this site."""
        return {
            "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
            "SHOP_VAR": str(self.directory),
            "SHOP_SECRET_KEY": self.shop_secret,
            "SHOP_DATABASE_URL": self.database_url,
            "SHOP_INTERNAL_URL": self.url("shop-internal"),
            "SHOP_LOG_LEVEL": "WARNING",
            "ORDERS_STORE": "shared",
            "ORDERS_DATABASE_URL": self.database_url,
            "ORDERS_SHARED_URL": self.url("orders"),
            "ORDERS_OWN_DATABASE_URL": self.own_database_url,
            "ORDERS_OWN_URL": self.url("orders-own"),
            "ORDERS_FAULTS": "1",
            "ORDERS_FAULTS_FILE": str(self.directory / "faults.json"),
            "ORDERS_LOG_LEVEL": "WARNING",
            "STRANGLER_SECRET_ORDERS": self.service_secret,
            "SYNC_SECRET_ORDERS": self.sync_secret,
            "STRANGLER_DEBUG_HEADERS": "1",
            "PAYMENT_PROVIDER_URL": self.url("provider"),
            "CELERY_BROKER_URL": "embedded://",
            "SHOP_EVENTS_LEASE_SECONDS": "10",
        }

    @property
    def settings_file(self) -> Path:
        """Where the settings are for a person's shell."""
        return self.directory / "environment"

    def write_settings(self) -> None:
        """Write the settings down, for our own eyes only: secrets are among them."""
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in self.settings().items()]
        self.settings_file.touch(mode=0o600)
        self.settings_file.write_text("".join(lines))

    def shell(self, command: str) -> str:
        """Return what a person types to run a command of this site."""
        python, settings = os.path.relpath(sys.executable, ROOT), os.path.relpath(self.settings_file, ROOT)
        return f"(set -a; . {shlex.quote(settings)}; {python} {command})"

    def manage(self, *arguments: str) -> tuple[str, ...]:
        """Return the command line of one of the shop's management commands."""
        return (sys.executable, str(ROOT / "manage.py"), *arguments)
