"""Where a run lives: databases, ports, broker, and the programs that make it up."""

import sys
from dataclasses import dataclass, field

from demo.site import Site
from demo.stack import Program, Stack, gunicorn
from tests.processes import UNTRACED, free_port

NAMES = ("shop", "orders", "shop-internal", "orders-own", "provider")
SETTINGS = "tests.acceptance.chaos.shop_settings"
OWN = {"ORDERS_STORE": "own", "ORDERS_FAULTS": "0"}


def free_ports() -> dict[str, int]:
    """Return a free port for each program that listens."""
    return {name: free_port() for name in NAMES}


@dataclass(frozen=True, kw_only=True)
class ChaosSite(Site):
    """One run: like the demo's, on whichever databases and broker it is given."""

    shop_url: str = ""
    """The shop's database; empty means a file."""
    broker_url: str = ""
    """Of a RabbitMQ; empty means that no broker is there, and loops of plain commands do the work."""
    queues: str = ""
    """What the names of this run's queues begin with."""
    free: dict[str, int] = field(default_factory=free_ports)

    @property
    def ports(self) -> dict[str, int]:
        """Which process listens where."""
        return self.free

    @property
    def database_url(self) -> str:
        """The address of the shop's database."""
        return self.shop_url or super().database_url

    @property
    def on_postgres(self) -> bool:
        """Whether both databases are PostgreSQL's."""
        return bool(self.shop_url)

    def settings(self) -> dict[str, str]:
        """Return what makes a process one of this run."""
        broker = {"CELERY_BROKER_URL": self.broker_url, "CHAOS_QUEUES": self.queues} if self.broker_url else {}
        return {
            **super().settings(),
            **UNTRACED,
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "SHOP_EVENTS_LEASE_SECONDS": "3",
            "SHOP_LOG_LEVEL": "INFO",
            "ORDERS_LOG_LEVEL": "INFO",
            "ORDERS_FAULTS": "0",
            "C_FORCE_ROOT": "1",
            **broker,
        }


def programs(site: ChaosSite) -> tuple[Program, ...]:
    """Return everything that a run consists of, in the order it has to come up."""
    ports = site.ports
    provider = (sys.executable, "-m", "demo.provider", "--port", str(ports["provider"]), "--ledger", str(site.ledger))
    service = "tests.acceptance.chaos.orders_wsgi:application"
    return (
        Program(name="provider", command=provider, health="/health"),
        Program(
            name="shop-internal",
            command=gunicorn("legacy_shop.wsgi:application", ports["shop-internal"], workers=1, threads=8),
            extra={"SHOP_URLCONF": "legacy_shop.urls_internal"},
            health="/health/",
        ),
        Program(name="orders", command=gunicorn(service, ports["orders"], workers=1, threads=8), health="/health/"),
        Program(
            name="orders-own",
            command=gunicorn(service, ports["orders-own"], workers=1, threads=8),
            extra=OWN,
            health="/health/ready/",
        ),
        Program(
            name="shop",
            command=gunicorn("legacy_shop.wsgi:application", ports["shop"], workers=2, threads=8),
            health="/api/products/",
        ),
        *(_workers(site) if site.broker_url else _loops()),
    )


def _workers(site: ChaosSite) -> tuple[Program, ...]:
    beat = ("--beat", "--schedule", str(site.directory / "celerybeat-schedule"))
    worker = (
        *(sys.executable, "-m", "celery", "-A", "legacy_shop.celery", "worker", "--pool", "threads"),
        *("--hostname", f"{site.queues}@tests", "--without-gossip", "--without-mingle"),
        *("--concurrency", "6", "--loglevel", "info", *beat),
    )
    return (Program(name="worker", command=worker, ready_text="ready."),)


def _loops() -> tuple[Program, ...]:
    relay = (sys.executable, "manage.py", "sync", "run", "orders")
    chores = (sys.executable, "-m", "tests.acceptance.chaos.chores")
    return (
        Program(name="relay", command=relay, ready_text=""),
        Program(name="chores", command=chores, ready_text="ready."),
    )


class ChaosStack(Stack):
    """All processes of one run."""

    site: ChaosSite

    def __init__(self, site: ChaosSite) -> None:
        super().__init__(site)
        self.programs = {program.name: program for program in programs(site)}
