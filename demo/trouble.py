"""Acts in which the way of the events is broken: the broker is away, the worker dies, messages come twice and late."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from demo import event_tables, tables
from demo.broker import meddling
from demo.effects import Outage
from demo.records import now
from demo.run import Run, enough

OUTAGE_SECONDS = 6.0
COPIES, HELD_BACK = 20, 10
TRIES = 5
"""How often the worker is killed at most until it had messages in its hands."""


def broker_away(run: Run) -> None:
    """Take the broker away under write traffic and give it back; what was published meanwhile arrives late."""
    index, begun = len(run.log), now()
    ordered = enough(run, index, requests=60, orders=8)
    with run.stack.supervised("celery") as starts, run.stack.supervised("celery-sync"):
        run.broker.go_away()
        try:
            run.wait(lambda: now() - begun > OUTAGE_SECONDS and ordered(), seconds=40, what="orders without a broker")
        finally:
            run.broker.come_back()
        seconds = now() - begun
        orders = sum(1 for record in run.log.since(index) if record.action == "order" and record.status == 201)
        run.troubles = replace(run.troubles, outages=(*run.troubles.outages, Outage(seconds=seconds, orders=orders)))
    back, (waiting, newest) = now(), _waiting(run)
    run.wait(partial(_arrived, run, newest), seconds=90, what="the events of the time without a broker have arrived")
    run.note(
        f"{orders} orders in {seconds:.1f} s without a broker, {waiting} events waited for it and arrived within "
        f"{now() - back:.1f} s; the worker was started again {len(starts)} times"
    )


def worker_killed(run: Run) -> None:
    """Kill the worker while it has messages in its hands, which this broker does not give to anybody else."""
    for _ in range(TRIES):
        run.wait(lambda: _in_hands(run) > 0, seconds=20, what="the worker has messages in its hands", pause=0.01)
        run.stack.kill("celery")
        lost = _in_hands(run)
        index = len(run.log)
        run.wait(enough(run, index, requests=40, orders=4), seconds=30, what="customers order without a worker")
        run.stack.restart("celery")  # the lost messages are sent again while the story goes on
        run.note(f"a killed worker had {lost} messages in its hands")
        run.troubles = replace(run.troubles, lost=run.troubles.lost + lost)
        if lost:
            return


@contextmanager
def twice_and_late(run: Run) -> Iterator[None]:
    """Have messages come twice, and late in the wrong order, while the block runs and until there were enough."""
    with meddling(run.broker, random.Random(f"{run.traffic.seed}-meddler")) as meddler:
        yield
        run.wait(
            lambda: meddler.copied >= COPIES and meddler.held >= HELD_BACK,
            seconds=40,
            what=f"{COPIES} messages were put in twice, and {HELD_BACK} were held back",
        )
    copied, held = run.troubles.copied + meddler.copied, run.troubles.held + meddler.held
    run.troubles = replace(run.troubles, copied=copied, held=held)
    run.note(f"{meddler.copied} messages were put in twice, {meddler.held} were held back and came in reverse order")


def _in_hands(run: Run) -> int:
    """Return how many events were sent, do not wait at the broker, and were not acknowledged."""
    waiting = run.broker.waiting_events()
    with tables.reading(run.site.database) as connection:
        return len(event_tables.under_way(connection) - waiting)


def _waiting(run: Run) -> tuple[int, int]:
    """Return how many events have not arrived, and the last one published."""
    with tables.reading(run.site.database) as connection:
        return event_tables.not_arrived(connection), event_tables.newest(connection)


def _arrived(run: Run, newest: int) -> bool:
    with tables.reading(run.site.database) as connection:
        return event_tables.not_arrived(connection, through=newest) == 0
