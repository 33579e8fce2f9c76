"""Acts in which orders get a second home: filled, kept up, corrupted and mended, cut off and caught up."""

import json
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from demo import homes, sync_tables, tables
from demo.planting import plant
from demo.records import now
from demo.run import Run, enough
from demo.sides import steady
from demo.sync_checks import Corruption, Found, Homes, Shadowed, Standstill
from demo.sync_tables import Backfilled

SETTLED_SECONDS = 1.0
"""A change that has waited so long is behind, not on its way."""
SHOWN_SECONDS = 0.25
LOOK_SECONDS = 0.3
"""Between two looks at orders that are apart."""
COMPARED = 160


# --- what several acts do --------------------------------------------------------------------------------------
def watch_backfill(run: Run) -> None:
    """Wait until everything that was there has been marked and sent."""

    def done() -> bool:
        return _standing(run)[0].finished_at is not None and behind_since(run) == 0

    run.wait(done, seconds=90, what="the backfill is done and everything was sent")
    found = _standing(run)[0]
    run.synced = replace(run.synced, backfilled=(*run.synced.backfilled, found.marked))
    assert found.started_at is not None
    seconds = (datetime.now(UTC) - found.started_at).total_seconds()
    run.note(f"{found.marked} orders were marked and sent under traffic within {seconds:.1f} s")


@contextmanager
def backfill_shown(run: Run) -> Iterator[None]:
    """Show how far the backfill is while the block runs, the command that begins it included."""
    stop = threading.Event()
    watcher = threading.Thread(target=_show_backfill, args=(run, stop), name="backfill", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join(5)


def _show_backfill(run: Run, stop: threading.Event) -> None:
    said = ""
    while not stop.wait(SHOWN_SECONDS):
        standing, behind = _standing(run)
        text = f"    backfill: {standing.marked} of {standing.total} orders marked, {behind} to be sent"
        if standing.started_at is not None and text != said:
            run.say(text)
            said = text


def behind_since(run: Run) -> int:
    """Return how many changes are behind: they wait for longer than those that are on their way."""
    with run.shop.reading() as connection:
        return sync_tables.waiting_since(connection, datetime.fromtimestamp(time.time() - SETTLED_SECONDS, UTC))


def apart(run: Run, seconds: float = 8.0) -> dict[int, str]:
    """Compare both homes row by row under traffic; what is apart at each look, until the end, is apart."""
    found = homes.compare(run.shop, run.own)
    begun = now()
    while found and now() - begun < seconds:
        time.sleep(LOOK_SECONDS)
        found = homes.compare(run.shop, run.own, list(found))
    return found


def verify(run: Run, *options: str) -> Found:
    """Have the toolkit compare both homes; return what it says."""
    done = run.terminal.attempt("sync", "verify", "orders", "--json", *options, seconds=run.deadline.left(90))
    return read_verification(done.stdout)


def read_verification(printed: str) -> Found:
    """Return what a verification printed; one that was refused has compared nothing."""
    told: dict[str, Any] = json.loads(printed or "{}")
    return Found(
        compared=told.get("compared", 0),
        kinds={one["key"]: one["kind"] for one in told.get("findings", ())},
        unresolved=told.get("unresolved", 0),
    )


def _standing(run: Run) -> tuple[Backfilled, int]:
    with run.shop.reading() as connection:
        return sync_tables.backfilled(connection), sync_tables.waiting(connection)


# --- the acts --------------------------------------------------------------------------------------------------
def sync(run: Run) -> None:
    """Give the orders a second home, and measure how far it is behind."""
    with backfill_shown(run):
        run.phase("advance", "orders", "--to", "separate.sync", "--wait", "60", "--reason", "demo")
        watch_backfill(run)
    begun = datetime.now(UTC)
    steady(run, reads=100, writes=100, requests=150, orders=25)
    until = datetime.fromtimestamp(time.time() - SETTLED_SECONDS, UTC)
    measured = sync_tables.delays(run.shop, run.own, since=begun, until=until)
    run.synced = replace(run.synced, delays=measured, lag=_lag(run))
    p50, p99 = run.synced.lag
    run.note(f"a change took to the service's own store: {measured}; sync status: p50 {p50:.2f} s, p99 {p99:.2f} s")
    found = verify(run)
    if not found.clean:
        run.problem(f"sync verify of untouched orders: {found}")
    _no_difference(run, apart(run), "before anything was corrupted")


def corruption(run: Run) -> None:
    """Corrupt orders in both homes by SQL; they are found, and nothing else, and mended."""
    planted = plant(run.shop, run.own, before=run.last_order_before)
    shown = [one.order_id for one in planted if one.shows]
    seen = _seen(run, shown)
    found = verify(run)
    repaired = verify(run, "--repair")
    done = Corruption(planted=planted, seen=seen, found=found, repaired=repaired, left=apart(run))
    run.synced = replace(run.synced, corruption=done)
    run.note(f"{len(planted)} orders corrupted, {len(found.kinds)} found, {done.mended} mended")


def second_shadow(run: Run) -> None:
    """Answer reads from the shared database and compare them with what the service's own would say."""
    run.phase("advance", "orders", "--to", "separate.shadow", "--wait", "60", "--reason", "demo")
    steady(run, reads=100, writes=100, requests=70)
    run.wait(lambda: _shadowed(run).compared >= COMPARED, seconds=60, what=f"{COMPARED} reads compared", pause=1.5)
    found = _shadowed(run)
    run.synced = replace(run.synced, shadowed=found)
    run.note(f"{found.compared} reads compared with the service's own store, {found.rate:.2%} agree")


def cut_off(run: Run) -> None:
    """Go a step back, where nothing is compared; kill the service's own store, then the worker: only delay."""
    run.phase("rollback", "orders", "--to", "separate.sync", "--reason", "demo")
    for name, who in (("orders-own", "the service on its own store"), ("celery-sync", "the worker")):
        with _killed(run, name, who):
            run.wait(
                enough(run, len(run.log), requests=60, orders=8), seconds=40, what=f"customers order without {who}"
            )
    _no_difference(run, apart(run), "after both were killed")


@contextmanager
def _killed(run: Run, name: str, who: str) -> Iterator[None]:
    """Kill a process for the length of the block, and wait until what it has missed has arrived."""
    run.stack.kill(name)
    begun = now()
    yield
    seconds, waited = now() - begun, _standing(run)[1]
    run.stack.restart(name)
    back = now()
    run.wait(lambda: behind_since(run) == 0, seconds=60, what=f"what {who} has missed has arrived")
    gone = Standstill(who=who, seconds=seconds, waited=waited, caught_up=now() - back)
    run.synced = replace(run.synced, standstills=(*run.synced.standstills, gone))
    run.note(f"{who} was dead for {seconds:.1f} s, {waited} orders waited and arrived within {gone.caught_up:.1f} s")


def two_homes(run: Run) -> None:
    """Compare both homes while nobody orders; what the demo reads itself and what the toolkit says have to agree."""
    run.traffic.stop()

    def quiet() -> bool:
        run.stack.check_alive()
        return _standing(run)[1] == 0

    run.wait(quiet, seconds=60, what="every order has reached the service's own store")
    found, different = verify(run), apart(run)
    shop, own = homes.counts(run.shop, run.own)
    with run.shop.reading() as here, run.own.reading() as there:
        refused = sync_tables.refused(here, there)
    last = Homes(shop=shop, own=own, differences=different, verification=found, refused=refused)
    run.synced = replace(run.synced, homes=last)
    run.traffic.start()


def _seen(run: Run, ids: Collection[int]) -> dict[int, str]:
    """Return what the rows show of what was planted, and whatever else is apart."""
    found = apart(run, seconds=2.0)
    run.say(f"    {len(ids)} orders corrupted so that their rows differ, {len(found)} do")
    return found


def _no_difference(run: Run, found: dict[int, str], when: str) -> None:
    for order_id, what in list(found.items())[:5]:
        run.problem(f"order {order_id} {what}, {when}")


def _lag(run: Run) -> tuple[float, float]:
    """Return what the toolkit says of the way to the service."""
    told = run.terminal.json("sync", "status", "orders", seconds=run.deadline.left(30))
    ways = {way["name"]: way for way in told["aggregates"][0]["directions"]}
    way = ways["legacy->extracted"]
    return way["lag_p50"] or 0.0, way["lag_p99"] or 0.0


def _shadowed(run: Run) -> Shadowed:
    with tables.reading(run.site.database) as connection:
        counted = tables.comparisons(connection, "own")
    wrong = counted["mismatch"] + counted["error"]
    return Shadowed(compared=counted["match"] + wrong, matched=counted["match"], wrong=wrong)
