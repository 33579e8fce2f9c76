"""A saga of a shop whose shelf is a folder: another place, which no transaction of the database includes."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.db import transaction

from legacy_shop.catalog.models import Category
from router.sagas import points
from router.sagas.api import Context, Pivot, Run, SagaType, Step, enlist, running

KEY = 7


class Refusal(Exception):
    """The shelf is empty, and nothing was taken."""


class Shelf:
    """What was asked of the shelf, and how it behaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fails: set[str] = set()
        """Calls that fail, having done their work or not, nobody knows."""
        self.empty = False

    def reserve(self, context: Context) -> Any:
        """Take a piece, unless it was given back already."""
        if self.empty:
            raise Refusal("empty")
        if self.state(context.saga) != "released":
            self._call(context, "reserved")
        self._fail("reserve")
        return {"pieces": 1}

    def release(self, context: Context) -> None:
        """Give it back; also if it was never taken."""
        self._call(context, "released")
        self._fail("release")

    def look(self, context: Context) -> None:
        """Change nothing."""
        self._fail("look")

    def confirm(self, context: Context) -> None:
        """Let it be sold."""
        self._call(context, "confirmed")
        self._fail("confirm")

    def restock(self, context: Context) -> None:
        """Take back what was sold."""
        self._call(context, "restocked")
        self._fail("restock")

    def state(self, saga: Any) -> str:
        """Return how the piece of a saga stands."""
        try:
            return str(json.loads((self.folder / str(saga)).read_text())["state"])
        except FileNotFoundError:
            return ""

    def calls(self) -> list[str]:
        """Return what was called, in order, with the idempotency keys but for the saga."""
        with suppress(FileNotFoundError):
            return (self.folder / "calls").read_text().split()
        return []

    def _call(self, context: Context, state: str) -> None:
        (self.folder / str(context.saga)).write_text(json.dumps({"state": state}))
        with (self.folder / "calls").open("a") as calls:
            calls.write(context.idempotency_key.partition(":")[2] + "\n")

    def _fail(self, name: str) -> None:
        if name in self.fails:
            raise OSError(f"{name} gave no answer")

    @property
    def place(self) -> SagaType:
        """Return the saga of placing an order."""
        steps = (
            Step(name="look", action=self.look, harmless=True),
            Step(name="reserve", action=self.reserve, compensation=self.release, refusals=(Refusal,)),
            Pivot(name="create"),
            Step(name="confirm", action=self.confirm),
        )
        return SagaType(name="test.place", service="orders", steps=steps)

    @property
    def give_up(self) -> SagaType:
        """Return the saga of giving an order up."""
        return SagaType(name="test.give_up", service="orders", steps=(Step(name="restock", action=self.restock),))

    def buy(self, *, fail: Exception | None = None) -> Run:
        """Place an order."""
        with running(self.place, key=KEY, data={"who": KEY}) as run, transaction.atomic():
            Category.objects.create(name="order", slug=str(run.id))
            run.cross()
            if fail is not None:
                raise fail
        return run

    def return_all(self) -> None:
        """Give everything up."""
        with transaction.atomic():
            Category.objects.all().delete()
            enlist(self.give_up, key=KEY, data={"lines": []})
            points.passed("enlisting")
