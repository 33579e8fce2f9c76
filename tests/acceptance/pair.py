"""The shop's orders and those of the service on its own store, kept equal by workers that are real processes."""

import json
import os
import random
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import connections, transaction
from django.db.models import F
from django.utils import timezone

from legacy_shop.catalog.models import Product
from legacy_shop.orders.models import Order
from migrations_plan.sync import database
from migrations_plan.sync.models import Lease, Mark
from tests.acceptance.hints import Hints
from tests.migrations_plan.sync.houses import LEGACY, OWN, contents, customer, line, product, unsaved
from tests.own import ALIAS
from tests.own.rows import OwnOrder
from tests.processes import RunningProcess, gunicorn, start_process, wait_until

__all__ = ["Pair", "Writer"]

PACE = 0.01
"""Seconds between two writes."""


@dataclass(kw_only=True)
class Pair:
    """Both sides, the service's process and the workers; how to disturb them, and whether they are equal."""

    hints: Hints
    env: dict[str, str]
    """Of the shop's programs."""
    service_env: dict[str, str]
    port: int
    folder: Path
    stack: ExitStack
    audit: "Audit"
    workers: list[RunningProcess] = field(default_factory=list)
    service: RunningProcess = field(init=False)
    _starts: Iterator[int] = field(default_factory=count)

    def start_service(self) -> None:
        """Start the service and wait until it answers."""
        command = gunicorn("extracted.orders.wsgi", self.port, workers=1, threads=4)
        ready = f"http://127.0.0.1:{self.port}/health/ready/"
        self.service = self.stack.enter_context(start_process(command, self.service_env, ready))

    def start_worker(self, hints: Hints | None = None, *, queue: str = "a", beat: bool = True) -> RunningProcess:
        """Start a worker."""
        celery = [sys.executable, "-m", "celery", "-A", "tests.acceptance.syncer", "worker", "--pool", "threads"]
        name = f"{self.folder.name}-{os.getpid()}-{next(self._starts)}"
        options = ["--concurrency", "3", "--loglevel", "INFO", "--hostname", f"{name}@sync"]
        beating = ["--beat", "--schedule", str(self.folder / name)] if beat else []
        command = [*celery, *options, *beating, "--without-mingle", "--without-gossip"]
        env = {**self.env, "C_FORCE_ROOT": "1", **(hints or self.hints).env(queue)}
        worker = self.stack.enter_context(start_process(command, env))
        self.workers.append(worker)
        return worker

    def work(self) -> RunningProcess:
        """Return a worker that runs, with a beat; start it if there is none."""
        return self.workers[0] if self.workers else self.start_worker()

    def supervised(self) -> bool:
        """Start again a worker that has ended, as whoever supervises it does; return True."""
        for worker in self.workers:
            if worker.process.poll() is not None:
                self.workers.remove(worker)
                self.start_worker()
        return True

    def kill_workers(self) -> None:
        """End all workers by SIGKILL."""
        for worker in self.workers:
            worker.kill()
        self.workers.clear()

    @contextmanager
    def writing(self, seed: int = 1) -> Iterator["Writer"]:
        """Write orders all the time while the block runs."""
        writer = Writer(seed)
        thread = threading.Thread(target=writer.run, daemon=True)
        thread.start()
        try:
            yield writer
        finally:
            writer.stop()
            thread.join(30)
        assert not thread.is_alive()
        if writer.errors:
            raise writer.errors[0]

    def place(self, orders: int, *, seen: bool = True, note: str = "") -> list[int]:
        """Place many orders at once, each with a line; unseen ones are there as if from before there was capture."""
        owner, of = customer(), product()
        with transaction.atomic():
            with database.capture_suppressed("default"):
                made = Order.objects.bulk_create(unsaved(owner, note=note or random_text()) for _ in range(orders))
                for one in made:
                    line(one, product=of)
            if seen:
                Order.objects.filter(pk__in=[one.pk for one in made]).update(note=F("note"))
        return [one.pk for one in made]

    def marked(self) -> int:
        """Return how many orders wait to be sent."""
        return Mark.objects.filter(aggregate="orders", gen__gt=F("acked")).count()

    def working(self) -> bool:
        """Whether somebody relays or backfills; what a killed worker held counts until it has run out."""
        return Lease.objects.filter(until__gt=timezone.now()).exists()

    def idle(self) -> bool:
        """Whether nobody works, although there is something to send."""
        return bool(self.marked()) and not self.working()

    def equal(self) -> bool:
        """Whether both sides hold the same and nothing is marked."""
        return not self.marked() and contents(LEGACY) == contents(OWN) and not self.marked()

    def settled(self, seconds: float = 30.0) -> None:
        """Wait until both sides are equal; check that each order arrived in versions that only grew."""
        wait_until(self.equal, "both sides are equal", seconds)
        assert self.audit.not_newer() == []
        assert OwnOrder.objects.using(ALIAS).count() == Order.objects.count()

    def command(self, *arguments: str) -> RunningProcess:
        """Start ``manage.py`` as a user does."""
        return self.stack.enter_context(start_process([sys.executable, "manage.py", *arguments], self.env))

    def json_of(self, command: RunningProcess) -> Any:
        """Return the JSON that a command has printed, what it said to people left out."""
        output = command.output(100_000)
        return json.JSONDecoder().raw_decode(output[output.index("{") :])[0]


class Writer:
    """Writes orders through the ORM, one transaction after the other."""

    def __init__(self, seed: int) -> None:
        self.done = 0
        self.errors: list[Exception] = []
        self._dice = random.Random(seed)
        self._stop = threading.Event()

    def run(self) -> None:
        """Write until stopped."""
        try:
            who, what = customer(), product()
            while not self._stop.wait(PACE):
                self._dice.choice((self._place, self._note, self._note, self._status, self._line, self._delete))(
                    who, what
                )
                self.done += 1
        except Exception as error:
            self.errors.append(error)
        finally:
            connections.close_all()

    def stop(self) -> None:
        """End, soon."""
        self._stop.set()

    def wait(self, more: int) -> None:
        """Wait until it has written so many times more."""
        wanted = self.done + more
        wait_until(lambda: bool(self.errors) or self.done >= wanted, f"{more} more writes")

    def _some(self) -> Order | None:
        keys = Order.objects.values_list("pk", flat=True)
        first, last = keys.order_by("pk").first(), keys.order_by("pk").last()
        if first is None or last is None:
            return None
        return Order.objects.filter(pk__gte=self._dice.randint(first, last)).order_by("pk").first()

    def _place(self, who: User, what: Product) -> None:
        with transaction.atomic():
            made = unsaved(who)
            made.save()
            for _ in range(self._dice.randint(0, 2)):
                line(made, product=what)

    def _note(self, who: User, what: Product) -> None:
        order = self._some()
        if order is not None:
            order.note = f"{self.done}"
            order.save()

    def _status(self, who: User, what: Product) -> None:
        order = self._some()
        if order is not None:
            Order.objects.filter(pk__range=(order.pk, order.pk + 5)).update(status=self._dice.choice((10, 20, 30)))

    def _line(self, who: User, what: Product) -> None:
        order = self._some()
        if order is not None:
            line(order, product=what)

    def _delete(self, who: User, what: Product) -> None:
        order = self._some()
        if order is not None and self._dice.random() < 0.3:
            order.delete()


AUDIT = {
    "sqlite": (
        "CREATE TABLE sync_audit (key text, before bigint, after bigint)",
        "CREATE TRIGGER sync_audit_insert AFTER INSERT ON strangler_sync_applied WHEN NEW.gen > 0 "
        "BEGIN INSERT INTO sync_audit VALUES (NEW.key, 0, NEW.gen); END",
        "CREATE TRIGGER sync_audit_update AFTER UPDATE ON strangler_sync_applied "
        "WHEN (NEW.gen, NEW.applied_at) IS NOT (OLD.gen, OLD.applied_at) "
        "BEGIN INSERT INTO sync_audit VALUES (NEW.key, OLD.gen, NEW.gen); END",
    ),
    "postgresql": (
        "CREATE TABLE sync_audit (key text, before bigint, after bigint)",
        "CREATE FUNCTION sync_audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF TG_OP = 'UPDATE' THEN INSERT INTO sync_audit VALUES (NEW.key, OLD.gen, NEW.gen); "
        "ELSIF NEW.gen > 0 THEN INSERT INTO sync_audit VALUES (NEW.key, 0, NEW.gen); END IF; RETURN NULL; END $$",
        "CREATE TRIGGER sync_audit AFTER INSERT OR UPDATE ON strangler_sync_applied "
        "FOR EACH ROW EXECUTE FUNCTION sync_audit()",
    ),
}
NO_AUDIT = {
    "sqlite": ("DROP TRIGGER IF EXISTS sync_audit_insert", "DROP TRIGGER IF EXISTS sync_audit_update"),
    "postgresql": ("DROP FUNCTION IF EXISTS sync_audit CASCADE",),
}
TARPIT = {
    "sqlite": (
        # A hundred million rows to count: long enough for whoever is going to be killed in the middle.
        "CREATE TRIGGER sync_tarpit AFTER INSERT ON own_store_item WHEN NEW.sku = 'tarpit' BEGIN "
        "SELECT count(*) FROM sqlite_master a, sqlite_master b, sqlite_master c, sqlite_master d, sqlite_master e; END",
    ),
    "postgresql": (
        "CREATE FUNCTION sync_tarpit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.sku = 'tarpit' THEN PERFORM pg_sleep(1.5); END IF; RETURN NULL; END $$",
        "CREATE TRIGGER sync_tarpit AFTER INSERT ON own_store_item FOR EACH ROW EXECUTE FUNCTION sync_tarpit()",
    ),
}
NO_TARPIT = {
    "sqlite": ("DROP TRIGGER IF EXISTS sync_tarpit",),
    "postgresql": ("DROP FUNCTION IF EXISTS sync_tarpit CASCADE",),
}


class Audit:
    """Triggers of the tests in the service's database: they note what is applied, and let applying be slow."""

    def install(self) -> None:
        """Begin to write down what is applied."""
        self._run(AUDIT)

    def remove(self) -> None:
        """Leave nothing in the service's database."""
        self._run(NO_TARPIT)
        self._run(NO_AUDIT)
        self._execute("DROP TABLE IF EXISTS sync_audit")

    def not_newer(self) -> list[Any]:
        """Return applied versions that were no newer than what was there: key, before, after."""
        return self._execute("SELECT key, before, after FROM sync_audit WHERE after <= before")

    @contextmanager
    def tarpit(self) -> Iterator[None]:
        """Let whoever inserts an item called ``tarpit`` be stuck in the middle of its transaction."""
        self._run(TARPIT)
        try:
            yield
        finally:
            self._run(NO_TARPIT)

    def stuck(self) -> bool:
        """Whether somebody is in the tarpit."""
        connection = connections[ALIAS]
        if connection.vendor == "postgresql":
            sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
            return bool(self._execute(sql))
        return _locked(str(connection.settings_dict["NAME"]))

    def _run(self, statements: dict[str, tuple[str, ...]]) -> None:
        for statement in statements[connections[ALIAS].vendor]:
            self._execute(statement)

    def _execute(self, statement: str) -> list[Any]:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


def _locked(path: str) -> bool:
    """Whether somebody is in the middle of a write to an SQLite file, for long enough to be seen twice."""
    for _ in range(2):
        with suppress(sqlite3.OperationalError), sqlite3.connect(path, timeout=0.05, isolation_level=None) as probe:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
            return False
    return True


def random_text() -> str:
    """Return text that does not compress."""
    return random.SystemRandom().randbytes(80).hex()
