"""Help for tests of projects that use plans."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, router

from migrations_plan import append_only, plan_registry
from migrations_plan.models import HistoryEntry
from migrations_plan.plan import Plan
from migrations_plan.recorder import Recorder
from migrations_plan.state import Change, Kind


@contextmanager
def override_plans(*plans: Plan) -> Iterator[None]:
    """Use other plans for a while."""
    with plan_registry.replaced(*plans):
        yield


def stand_at(service: str, step: str) -> None:
    """Put a service at a step of its plan at once, without gates and operations; history says that a test did."""
    plan = plan_registry.plan_of(service)
    target = plan.find(step)
    recorder = Recorder()
    state = recorder.state(service, plan.start.envelope)
    change = Change(kind=Kind.TAKEN, actor="a test", from_step=state.step, to_step=target.name)
    recorder.change(state, change, step=target.name, envelope=target.envelope, entered_at=recorder.now())


def let_history_be_flushed() -> None:
    """Drop the trigger that refuses to delete history, before a TransactionTestCase empties its tables on SQLite.

    Django's flush sends ``post_migrate``, which puts the trigger back.
    """
    append_only.remove(connections[router.db_for_write(HistoryEntry)])
