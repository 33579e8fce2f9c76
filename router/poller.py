"""Keep the snapshot of this process fresh: a thread of its own, a connection of its own, once a second."""

import logging
import os
import threading
import time
from collections.abc import Callable

from django.db import DEFAULT_DB_ALIAS, connections
from django.db import router as database_router
from django.utils.module_loading import import_string

from router import flags, snapshot
from router.conf import conf
from router.exceptions import ConfigurationError
from router.models import Flag
from router.snapshot import OwnershipSource, Snapshot, SnapshotSource

logger = logging.getLogger(__name__)


def install() -> None:
    """Let the first request of each process start its poller."""
    snapshot.load_on_first_use(ensure_started)


def refresh() -> Snapshot:
    """Read the rules now, on the caller's own connection, and make them current."""
    return snapshot.publish(load())


def load() -> Snapshot:
    """Read envelopes, flags, kill switches and forced breakers; nothing becomes current by this."""
    read_at = time.monotonic()
    steering = flags.load(database())
    found = source()
    return Snapshot(
        envelopes={} if found is None else found.envelopes(),
        ownership=found.ownership() if isinstance(found, OwnershipSource) else {},
        flags=steering.flags,
        killed=steering.killed,
        breakers_forced=steering.breakers_forced,
        read_at=read_at,
    )


def database() -> str:
    """Return the alias of the database that holds the flags."""
    return database_router.db_for_read(Flag) or DEFAULT_DB_ALIAS


def source() -> SnapshotSource | None:
    """Return the configured source of envelopes, or None where there is none."""
    path = conf().snapshot_source
    if not path:
        return None
    try:
        made = import_string(path)()
    except ImportError as problem:
        raise ConfigurationError(
            f"STRANGLER['SNAPSHOT_SOURCE'] is {path!r}, which cannot be imported: {problem}"
        ) from None
    if not isinstance(made, SnapshotSource):
        raise ConfigurationError(f"STRANGLER['SNAPSHOT_SOURCE'] is {path!r}, which has no method envelopes().")
    return made


# --- what else happens each second ---------------------------------------------------------------------------
_periodic: dict[str, Callable[[], None]] = {}


def every_poll(name: str, callback: Callable[[], None]) -> None:
    """Call this once per poll, off the request path, under a name that a later registration replaces."""
    _periodic[name] = callback


def run_periodic() -> None:
    """Run what was registered; one that fails is logged once until it works again, and stops no other."""
    for name, callback in tuple(_periodic.items()):
        try:
            callback()
        except Exception:
            _outages.begins(name, f"The periodic work {name!r} fails; it is tried again with each poll.")
        else:
            _outages.ends(name, f"The periodic work {name!r} works again.")


class _Outages:
    """Log the beginning and the end of an outage, not each second of it."""

    def __init__(self) -> None:
        self._open: set[str] = set()

    def begins(self, name: str, message: str) -> None:
        if name not in self._open:
            self._open.add(name)
            logger.warning(message, exc_info=True)

    def ends(self, name: str, message: str) -> None:
        if name in self._open:
            self._open.discard(name)
            logger.info(message)


_outages = _Outages()


# --- the thread ----------------------------------------------------------------------------------------------
class Poller:
    """Reload the snapshot until told to stop. One per process."""

    def __init__(self) -> None:
        self.first_attempt = threading.Event()
        self.polls = 0
        """How many polls have ended, successful or not."""
        self.loads = 0
        """How many of them read the rules; on SQLite most find the database unchanged."""
        self._stop = threading.Event()
        self._early = threading.Event()
        self._seen: int | None = None
        self._thread = threading.Thread(target=self._run, name="strangler-poller", daemon=True)
        # What writes may have to wait for a lock; the rules must not wait with it.
        self._periodic = threading.Thread(target=self._run_periodic, name="strangler-periodic", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._periodic.start()

    def stop(self) -> None:
        """End the threads after what they are in."""
        self._stop.set()
        self._early.set()
        for thread in (self._thread, self._periodic):
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join()

    def hurry(self) -> None:
        """Let the next poll be made now."""
        self._early.set()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._poll()
                self.first_attempt.set()
                self.polls += 1
                self._early.wait(conf().poll_seconds)
                self._early.clear()
        finally:
            connections.close_all()

    def _run_periodic(self) -> None:
        try:
            while not self._stop.wait(conf().poll_seconds):
                run_periodic()
        finally:
            connections.close_all()

    def _poll(self) -> None:
        try:
            self._reload_if_changed()
        except Exception:
            _outages.begins("snapshot", "The routing rules cannot be read; the last ones stay in force.")
            self._seen = None
            connections.close_all()
        else:
            _outages.ends("snapshot", "The routing rules can be read again.")

    def _reload_if_changed(self) -> None:
        now = time.monotonic()
        changed_to = _data_version()
        if changed_to is not None and changed_to == self._seen:
            snapshot.confirm(now)
            return
        snapshot.publish(load())
        self.loads += 1
        self._seen = changed_to


def _data_version() -> int | None:
    """Return SQLite's count of what others have committed; None where reading the rules is the only way to know.

    The count belongs to this connection: it moves with commits of every other connection, in any process.
    """
    connection = connections[database()]
    if connection.vendor != "sqlite" or len(connections.settings) > 1:
        return None
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA data_version")
        return int(cursor.fetchone()[0])


_lock = threading.Lock()
_poller: Poller | None = None


def ensure_started() -> None:
    """Start this process's poller unless it runs, and wait for its first attempt to read the rules, for a while.

    The thread reads on its own connection, so the request that comes first runs no query for it.
    """
    global _poller
    if not conf().poller:
        return
    with _lock:
        if _poller is None:
            _poller = Poller()
            _poller.start()
        poller = _poller
    poller.first_attempt.wait(conf().first_load_seconds)
    snapshot.mark_started()


def hurry() -> None:
    """Have the rules read again at once: something has shown that they are out of date."""
    poller = _poller
    if poller is not None:
        poller.hurry()


def stop() -> None:
    """Stop this process's poller; the next request starts another."""
    global _poller
    with _lock:
        poller, _poller = _poller, None
        snapshot.mark_started(False)
    if poller is not None:
        poller.stop()


def _after_fork() -> None:
    """Forget the parent's thread, which does not exist here, and its lock, which may be held."""
    global _poller, _lock
    _poller = None
    _lock = threading.Lock()
    snapshot.mark_started(False)


os.register_at_fork(after_in_child=_after_fork)
