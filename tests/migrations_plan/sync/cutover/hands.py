"""A plan whose buckets change hands in this process, and sides that misbehave."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from migrations_plan.builders import monolith, separate, shared
from migrations_plan.measurements import RouterMeasurements
from migrations_plan.models import HistoryEntry
from migrations_plan.plan import Plan
from migrations_plan.runs import Progress
from migrations_plan.standing import SyncStanding
from migrations_plan.sync import ownership
from migrations_plan.sync.errors import PeerUnavailable
from tests.migrations_plan.fakes import IN_SYNC, FakeMeasurements
from tests.migrations_plan.sync.houses import LEGACY, OWN

PLAN = Plan(service="orders", phases=(monolith(), shared(), separate(aggregate="orders", cutover=(1, 3, 100))))


class Real(FakeMeasurements):
    """Numbers with which every gate passes; who owns what, and what may move, is asked."""

    def sync(self, aggregate: str) -> SyncStanding:
        found = RouterMeasurements().sync(aggregate)
        return replace(IN_SYNC, owners=found.owners, between=found.between)

    def ready_to_move(self, *args: Any, **kwargs: Any) -> Any:
        return RouterMeasurements().ready_to_move(*args, **kwargs)

    def homecoming(self, *args: Any, **kwargs: Any) -> Any:
        return RouterMeasurements().homecoming(*args, **kwargs)


def owned() -> dict[str, int]:
    """Return how many buckets each side owns."""
    states = {side.alias: [one.state.value for one in ownership.states(side)] for side in (LEGACY, OWN)}
    return {alias: found.count("owner") for alias, found in states.items()}


def last_lines(kind: str) -> list[str]:
    """Return the details of history's lines of a kind, newest first."""
    return list(HistoryEntry.objects.filter(kind=kind).values_list("detail", flat=True))


class Away:
    """A side that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise PeerUnavailable("http://127.0.0.1:8103/strangler/sync/ does not answer: connection refused.")


class Changed:
    """A side of which some answers are others."""

    def __init__(self, side: Any, **answers: Any) -> None:
        self._side, self._answers = side, answers

    def __getattr__(self, name: str) -> Any:
        return self._answers.get(name, getattr(self._side, name))


def killed_at(text: str) -> Callable[[Progress], None]:
    """Return what kills a command that says this."""

    def say(progress: Progress) -> None:
        if progress.text.strip() == text:
            raise KeyboardInterrupt

    return say
