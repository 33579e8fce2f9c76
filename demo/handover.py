"""Acts in which the service becomes the owner of the orders, bucket by bucket, and gives them back, under traffic."""

import signal
import subprocess
from dataclasses import dataclass

from demo import sync_tables
from demo.run import Run, enough
from demo.separation import verify
from demo.sides import steady
from demo.site import ROOT

PERCENTAGES = (1, 10, 50, 100)
KILLED_AT = 70
"""Buckets at the service when everything that moves them is killed."""
LONG = 200.0


@dataclass(frozen=True, kw_only=True)
class Owners:
    """How many buckets each side owns, by the shop's own rows, and how many are in between."""

    legacy: int
    extracted: int
    between: int


def owners(run: Run) -> Owners:
    """Return who owns how many buckets."""
    with run.shop.reading() as connection:
        states = sync_tables.ownership(connection)
    return Owners(legacy=states.get("owner", 0), extracted=states.get("replica", 0), between=states.get("frozen", 0))


def cut_over(run: Run) -> None:
    """Make the service the owner of ever more customers' orders, and of all in the end; the shop keeps a copy."""
    for percent in PERCENTAGES:
        _compared(run)
        _advance(run, f"separate.cutover@{percent}")
        _owned(run, percent)
        steady(run, reads=100, writes=100, requests=60, orders=4)


def killed_on_the_way(run: Run) -> None:
    """Go forward once more; kill whoever moves the last half, the worker and the service's own store at once.

    Running it again goes on.
    """
    for percent in PERCENTAGES[:-1]:
        _compared(run)
        _advance(run, f"separate.cutover@{percent}")
    _compared(run)
    command = run.site.manage("phase", "advance", "orders", "--to", "separate.cutover@100", "--wait", "60")
    moving = subprocess.Popen(
        (*command, "--reason", "demo"),
        cwd=ROOT,
        env=run.site.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        run.wait(
            lambda: owners(run).extracted >= KILLED_AT, seconds=LONG, what=f"{KILLED_AT} buckets are at the service"
        )
    finally:
        moving.send_signal(signal.SIGKILL)
        moving.wait(10)
    with run.log.owner_dead():
        for name in ("orders-own", "celery-sync"):
            run.stack.kill(name)
        found = owners(run)
        run.note(
            f"killed with {found.extracted} buckets at the service, {found.legacy} in the shop, {found.between} between"
        )
        for name in ("orders-own", "celery-sync"):
            run.stack.restart(name)
        run.wait(enough(run, len(run.log), requests=60, orders=4), seconds=40, what="customers order again")
    _advance(run, "separate.cutover@100")
    _owned(run, 100)
    steady(run, reads=100, writes=100, requests=100, orders=10)
    with run.shop.reading() as connection:
        held = sync_tables.held(connection)
    middle, high = held[len(held) // 2], held[len(held) * 99 // 100]
    times = f"p50 {middle} ms, p99 {high} ms, longest {held[-1]} ms"
    run.note(f"{len(held)} changes of hands; in a bucket nobody could write for {times}")


def come_home(run: Run) -> None:
    """Go back to where the shop owns everything; what the service wrote comes home with it."""
    run.terminal.run("phase", "plan", "orders", "--to", "separate.shadow", seconds=run.deadline.left(60))
    run.phase("rollback", "orders", "--to", "separate.shadow", "--reason", "demo", seconds=LONG)
    _owned(run, 0)
    steady(run, reads=100, writes=100, requests=80, orders=8)


def _advance(run: Run, step: str) -> None:
    run.phase("advance", "orders", "--to", step, "--wait", "90", "--reason", "demo", seconds=LONG)


def _compared(run: Run) -> None:
    """Have both homes compared: nothing changes hands on what was known yesterday."""
    found = verify(run)
    if not found.clean:
        run.problem(f"sync verify before buckets change hands: {found}")


def _owned(run: Run, percent: int) -> None:
    found = owners(run)
    if (found.extracted, found.between) != (percent, 0):
        run.problem(f"{percent} buckets should be at the service, and it is {found}")
