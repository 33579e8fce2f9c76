"""Every process follows the database by itself: on its own connection, through outages and forks."""

import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from waffle.models import Switch

from router import flags, poller, snapshot
from router.exceptions import ConfigurationError
from router.models import Flag
from router.snapshot import Envelope
from router.testing import forget_snapshot
from tests.processes import database_url, wait_until

ROOT = Path(__file__).resolve().parents[2]
SOON = 5.0
"""How long a test waits for what happens within two seconds, on a machine that does other things as well."""


class Ten:
    """A source that always says the same."""

    def envelopes(self) -> dict[str, Envelope]:
        """Return ten percent of the reads of orders."""
        return {"orders": Envelope(step="shared.reads@10", reads=10)}


class NoSource:
    """What is no source of envelopes."""


@pytest.fixture(autouse=True)
def fresh(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin with nothing read and no periodic work, and leave no thread behind."""
    settings.STRANGLER = {**settings.STRANGLER, "SNAPSHOT_SOURCE": f"{__name__}.Ten", "POLL_SECONDS": 0.02}
    monkeypatch.setattr(poller, "_periodic", {})
    monkeypatch.setattr(poller, "_outages", poller._Outages())
    with forget_snapshot():
        yield
        poller.stop()


@pytest.fixture
def polling(transactional_db: None, settings: Any) -> None:
    """Let this process follow the database by itself."""
    settings.STRANGLER = {**settings.STRANGLER, "POLLER": True}


def percent() -> int | None:
    rule = snapshot.current().flags.get("orders.reads")
    return None if rule is None else rule.percent


def running() -> poller.Poller:
    assert poller._poller is not None
    return poller._poller


def polls_pass(count: int = 2) -> None:
    """Wait until the poller has polled again, from beginning to end."""
    target = running().polls + count
    wait_until(lambda: running().polls >= target, f"{count} more polls", SOON)


# --- without the thread --------------------------------------------------------------------------------------
@pytest.mark.django_db
class TestRefresh:
    def test_it_reads_now_what_this_connection_sees(self) -> None:
        Flag.objects.create(name="orders.reads", percent=5)
        read = poller.refresh()

        assert snapshot.current() is read
        assert (percent(), dict(read.envelopes), read.version) == (5, Ten().envelopes(), 1)

    def test_reading_makes_nothing_current(self) -> None:
        assert poller.load().envelopes == Ten().envelopes()
        assert snapshot.current() is snapshot.NOTHING

    def test_the_version_stays_while_nothing_changes(self) -> None:
        Flag.objects.create(name="orders.reads", percent=5)
        assert [poller.refresh().version for _ in range(3)] == [1, 1, 1]
        Flag.objects.update(percent=6)
        assert poller.refresh().version == 2

    def test_nothing_runs_by_itself_where_the_poller_is_off(self) -> None:
        assert snapshot.current() is snapshot.NOTHING
        assert poller._poller is None

    def test_no_source_is_no_envelopes(self, settings: Any) -> None:
        settings.STRANGLER = {**settings.STRANGLER, "SNAPSHOT_SOURCE": ""}

        assert dict(poller.refresh().envelopes) == {}

    @pytest.mark.parametrize(
        ("path", "says"), [("nowhere.Source", "cannot be imported"), (f"{__name__}.NoSource", "envelopes")]
    )
    def test_an_unusable_source_is_named(self, settings: Any, path: str, says: str) -> None:
        settings.STRANGLER = {**settings.STRANGLER, "SNAPSHOT_SOURCE": path}
        with pytest.raises(ConfigurationError, match=says):
            poller.refresh()


# --- the thread ----------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("polling")
class TestThread:
    def test_the_first_request_waits_for_it_and_runs_no_query_itself(self) -> None:
        Flag.objects.create(name="orders.reads", percent=5)
        with CaptureQueriesContext(connection) as queries:
            known = snapshot.current()

        assert (known.version, percent(), len(queries)) == (1, 5, 0)

    def test_one_thread_however_many_ask_at_once(self) -> None:
        barrier = threading.Barrier(8)
        seen: list[int] = []

        def ask() -> None:
            barrier.wait(SOON)
            seen.append(snapshot.current().version)

        askers = [threading.Thread(target=ask) for _ in range(8)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()

        assert seen == [1] * 8
        assert sum(thread.name == "strangler-poller" for thread in threading.enumerate()) == 1
        assert running()._thread.daemon

    @pytest.mark.parametrize(
        "change",
        [
            lambda: Flag.objects.filter(name="orders.reads").update(percent=6),
            lambda: connection.cursor().execute("UPDATE router_flag SET percent = 6 WHERE name = 'orders.reads'"),
            lambda: Flag(pk=Flag.objects.get().pk, name="orders.reads", percent=6).save(),
        ],
        ids=["QuerySet.update", "raw SQL", "save"],
    )
    def test_it_sees_every_kind_of_change(self, change: Callable[[], object]) -> None:
        Flag.objects.create(name="orders.reads", percent=5)
        assert percent() == 5
        change()
        wait_until(lambda: percent() == 6, "the flag's new percentage", SOON)

        assert snapshot.current().version == 2

    def test_it_sees_rows_come_and_go(self) -> None:
        assert percent() is None
        Flag.objects.create(name="orders.reads", percent=5)
        Switch.objects.create(name="orders.off", active=True)
        wait_until(lambda: percent() == 5 and snapshot.current().killed == {"orders.off"}, "flag and switch", SOON)
        Flag.objects.all().delete()
        Switch.objects.all().delete()
        wait_until(lambda: percent() is None and not snapshot.current().killed, "both gone", SOON)

    def test_it_sees_nothing_before_the_commit(self) -> None:
        Flag.objects.create(name="orders.reads", percent=5)
        assert percent() == 5
        with transaction.atomic():
            Flag.objects.update(percent=6)
            polls_pass()
            assert percent() == 5
        wait_until(lambda: percent() == 6, "the committed percentage", SOON)

    def test_on_sqlite_it_reads_only_what_has_changed(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for other in set(connections) - {"default"}:  # with several databases no one counts all changes
                patch.delitem(connections.settings, other)
            Flag.objects.create(name="orders.reads", percent=5)
            assert percent() == 5
            loads = running().loads
            polls_pass(5)
            if connection.vendor == "sqlite":
                assert running().loads == loads
            else:
                assert running().loads >= loads + 4
            Flag.objects.update(percent=6)
            wait_until(lambda: running().loads > loads, "another read", SOON)
            assert snapshot.current().age < SOON

    def test_age_stays_small_while_nothing_changes(self) -> None:
        first = snapshot.current().read_at
        wait_until(lambda: snapshot.current().read_at != first, "a confirmation", SOON)

        assert snapshot.current().version == 1

    def test_it_closes_its_own_connection_and_touches_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed: list[tuple[str, bool]] = []
        close_all = connections.close_all

        def spy() -> None:
            open_before = connections["default"].connection is not None
            close_all()
            closed.append((threading.current_thread().name, open_before))

        connection.ensure_connection()
        monkeypatch.setattr(connections, "close_all", spy)
        snapshot.current()
        poller.stop()

        assert sorted(closed) == [("strangler-periodic", False), ("strangler-poller", True)]
        assert connection.connection is not None

    def test_it_starts_again_after_a_stop(self) -> None:
        snapshot.current()
        first = running()
        poller.stop()
        snapshot.current()

        assert running() is not first
        assert not first._thread.is_alive()


@pytest.mark.usefixtures("polling")
class TestOutage:
    @pytest.fixture
    def outage(self, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
        """Let reading the rules fail while the event is set."""
        down, load = threading.Event(), flags.load

        def failing(using: str) -> flags.Steering:
            if down.is_set():
                raise OperationalError("the database is down")
            return load(using)

        monkeypatch.setattr(flags, "load", failing)
        # Let each poll read, also where SQLite would say that nothing has changed.
        monkeypatch.setattr(poller, "_data_version", lambda: None)
        return down

    def test_the_last_rules_stay_in_force_and_grow_old(self, outage: threading.Event) -> None:
        Flag.objects.create(name="orders.reads", percent=5)
        assert percent() == 5
        outage.set()
        polls_pass()
        read_at, version = snapshot.current().read_at, snapshot.current().version
        Flag.objects.update(percent=6)
        polls_pass(3)

        assert (percent(), snapshot.current().version, snapshot.current().read_at) == (5, version, read_at)
        outage.clear()
        wait_until(lambda: percent() == 6, "the rules after the outage", SOON)

    def test_an_outage_is_logged_once_and_so_is_its_end(
        self, outage: threading.Event, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="router.poller")
        snapshot.current()
        for _ in range(2):
            outage.set()
            polls_pass(4)
            outage.clear()
            polls_pass(4)

        assert [(record.levelname, record.message.split(";")[0]) for record in caplog.records] == 2 * [
            ("WARNING", "The routing rules cannot be read"),
            ("INFO", "The routing rules can be read again."),
        ]

    def test_after_an_outage_the_rules_are_read_whatever_the_new_connection_counts(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        down = threading.Event()

        def counting() -> int:
            if down.is_set():
                raise OperationalError("the database is down")
            return 7  # as the connection before counted

        monkeypatch.setattr(poller, "_data_version", counting)
        Flag.objects.create(name="orders.reads", percent=5)
        assert percent() == 5
        down.set()
        polls_pass()
        Flag.objects.update(percent=6)
        down.clear()
        wait_until(lambda: percent() == 6, "the rules after the outage", SOON)

    def test_without_any_rules_everything_stays_in_legacy(self, outage: threading.Event) -> None:
        outage.set()
        known = snapshot.current()

        assert known is snapshot.NOTHING
        outage.clear()
        wait_until(lambda: snapshot.current().version == 1, "the first rules", SOON)

    def test_a_database_that_hangs_delays_the_first_request_by_a_bounded_time(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.STRANGLER = {**settings.STRANGLER, "FIRST_LOAD_SECONDS": 0.05}
        goes_on, load = threading.Event(), flags.load
        waits: list[float] = []

        def hanging(using: str) -> flags.Steering:
            goes_on.wait(SOON)
            return load(using)

        monkeypatch.setattr(flags, "load", hanging)
        monkeypatch.setattr(poller.threading.Event, "wait", recording(poller.threading.Event.wait, waits))
        try:
            assert snapshot.current() is snapshot.NOTHING
            waited = len([seconds for seconds in waits if seconds == 0.05])
            assert snapshot.current() is snapshot.NOTHING
            assert len([seconds for seconds in waits if seconds == 0.05]) == waited == 1
        finally:
            goes_on.set()
        wait_until(lambda: snapshot.current().version == 1, "the first rules", SOON)

    @pytest.mark.postgres
    def test_a_connection_cut_by_the_server_is_replaced(self) -> None:
        Flag.objects.create(name="orders.reads", percent=5)
        assert percent() == 5
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.rowcount >= 1
        Flag.objects.update(percent=6)
        wait_until(lambda: percent() == 6, "the rules over a new connection", SOON)


def recording(wait: Callable[..., bool], waits: list[float]) -> Callable[..., bool]:
    """Return the same wait, which notes how long it may take."""

    def waiting(event: threading.Event, timeout: float | None = None) -> bool:
        waits.append(timeout or 0.0)
        return wait(event, timeout)

    return waiting


class TestPeriodic:
    @pytest.mark.usefixtures("polling")
    def test_it_is_called_once_per_poll_by_a_thread_of_its_own(self) -> None:
        names: list[str] = []
        poller.every_poll("flush", lambda: names.append(threading.current_thread().name))
        snapshot.current()
        wait_until(lambda: len(names) >= 3, "three calls", SOON)

        assert set(names) == {"strangler-periodic"}

    @pytest.mark.usefixtures("polling")
    def test_work_that_waits_for_a_lock_does_not_delay_the_rules(self) -> None:
        locked, goes_on = threading.Event(), threading.Event()

        def waits_for_a_lock() -> None:
            locked.set()
            goes_on.wait(SOON)

        poller.every_poll("flush", waits_for_a_lock)
        try:
            snapshot.current()
            assert locked.wait(SOON)
            Flag.objects.create(name="orders.reads", percent=5)
            wait_until(lambda: percent() == 5, "the rules while the other work waits", SOON)
        finally:
            goes_on.set()

    def test_one_that_fails_stops_no_other_and_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger="router.poller")
        broken, calls = True, []

        def fails() -> None:
            if broken:
                raise ValueError("no room")

        poller.every_poll("metrics", fails)
        poller.every_poll("other", lambda: calls.append(1))
        for _ in range(3):
            poller.run_periodic()
        broken = False
        poller.run_periodic()

        assert len(calls) == 4
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert all("'metrics'" in record.message for record in caplog.records)

    def test_a_later_registration_replaces_an_earlier_one(self) -> None:
        calls: list[str] = []
        poller.every_poll("metrics", lambda: calls.append("first"))
        poller.every_poll("metrics", lambda: calls.append("second"))
        poller.run_periodic()

        assert calls == ["second"]


# --- other processes -----------------------------------------------------------------------------------------
FORKING = """
    import os, django
    os.environ["DJANGO_SETTINGS_MODULE"] = "legacy_shop.settings"
    django.setup()
    from router import poller, snapshot
    from router.snapshot import Envelope, Snapshot
    poller.load = lambda: Snapshot(envelopes={"orders": Envelope(step=str(os.getpid()))})
    assert snapshot.current().envelopes["orders"].step == str(os.getpid())
    parent = poller._poller
    poller._lock.acquire()  # as if the parent forked in the middle of it
    child = os.fork()
    if child == 0:
        after = snapshot.current()
        good = after.envelopes["orders"].step == str(os.getpid()) and poller._poller is not parent
        os._exit(0 if good and poller._poller._thread.is_alive() else 1)
    poller._lock.release()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), parent._thread.is_alive())
"""

FOLLOWING = """
    import json, sys, django
    django.setup()
    from router import snapshot
    from tests.processes import wait_until
    known = lambda: getattr(snapshot.current().flags.get("orders.reads"), "percent", None)
    print(json.dumps(known()), flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        wait_until(lambda: known() == wanted, f"percent {wanted}", 5.0)
        print(json.dumps(known()), flush=True)
"""


def test_a_forked_worker_gets_a_thread_of_its_own(tmp_path: Path) -> None:
    environment = {**os.environ, "SHOP_VAR": str(tmp_path), "SHOP_DATABASE_URL": f"sqlite:///{tmp_path / 'a.sqlite3'}"}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.stdout.split(), ran.returncode) == (["0", "True"], 0), ran.stderr


@pytest.mark.django_db(transaction=True)
def test_another_process_follows_within_seconds(tmp_path: Path) -> None:
    Flag.objects.create(name="orders.reads", percent=5)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
        "SHOP_VAR": str(tmp_path),
        "SHOP_DATABASE_URL": database_url(),
    }
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FOLLOWING)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        assert json.loads(other.stdout.readline()) == 5
        for wanted in (6, 7):
            Flag.objects.update(percent=wanted)
            other.stdin.write(f"{wanted}\n")
            other.stdin.flush()
            assert json.loads(other.stdout.readline()) == wanted
    finally:
        other.stdin.close()
        assert other.wait(30) == 0
        other.stdout.close()


def test_what_shows_that_the_rules_are_old_has_them_read_at_once(polling: None, settings: Any) -> None:
    settings.STRANGLER = {**settings.STRANGLER, "POLL_SECONDS": 60}
    poller.hurry()  # there is no thread yet, and nothing to do
    snapshot.current()
    Flag.objects.create(name="orders.reads", percent=5)
    poller.hurry()
    wait_until(lambda: percent() == 5, "the flag", SOON)
