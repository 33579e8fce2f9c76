"""Customers who order, cancel and move house while processes die, and who remember what they were told."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.conftest import Customer
from tests.acceptance.patience import LOST, answer_within

CLOSED_TO_CHANGES = {"not_cancellable", "not_changeable"}


@dataclass(kw_only=True)
class Memory:
    """What a customer knows of one order."""

    note: str
    quantity: int
    card: str | None
    pk: int | None = None
    """None if no answer came: the order may exist or not."""
    streets: set[str] = field(default_factory=lambda: {"B 1"})
    """Where it may go: the last street that was confirmed, and every one that was asked for without an answer."""
    doubtful_streets: set[str] = field(default_factory=set)
    cancelled: bool | None = False
    """None if cancelling was asked for and no answer came."""


class Shopper:
    """One customer, who does one thing after the other."""

    def __init__(self, customer: Customer, number: int, seed: int) -> None:
        self.customer = customer
        self.number = number
        self.memories: list[Memory] = []
        self.sides: set[str] = set()
        self.steps = 0
        self._random = random.Random(f"{seed}-{number}")

    def shop(self, stop: threading.Event) -> None:
        """Go on until told to stop; fail with the first answer that is wrong."""
        while not stop.is_set():
            known = [memory for memory in self.memories if memory.pk is not None]
            step = self._random.choice([self.place, self.place, self.cancel, self.redirect, self.look])
            if step == self.place:
                self.place()
            elif known:
                step(self._random.choice(known))
            self.steps += 1

    def place(self) -> None:
        """Order something, half of the time with a card."""
        note = f"{self.number}-{len(self.memories)}"
        memory = Memory(
            note=note, quantity=self._random.randint(1, 3), card=self._random.choice([None, "tok_visa", "tok_declined"])
        )
        self.memories.append(memory)
        answer = self._write(
            lambda key: self.customer.order(note, key=key, quantity=memory.quantity, card=memory.card), {201}
        )
        if answer is not None:
            document = answer.json()
            assert (document["note"], document["lines"][0]["quantity"]) == (note, memory.quantity)
            memory.pk = document["id"]

    def cancel(self, memory: Memory) -> None:
        """Call an order off."""
        path = f"/api/orders/{memory.pk}/cancel/"
        answer = self._write(lambda key: self.customer.call("POST", path, key=key), {200, 409})
        if answer is None:
            memory.cancelled = memory.cancelled or None
        elif answer.status_code == 409:
            assert memory.cancelled is not False, f"{memory} was never cancelled, and yet: {answer.text}"
            memory.cancelled = True
        else:
            assert memory.cancelled is not True, f"{memory} was cancelled twice"
            assert answer.json()["status"] == "cancelled"
            memory.cancelled = True

    def redirect(self, memory: Memory) -> None:
        """Have an order sent elsewhere."""
        street = f"Street {self.steps}"
        address = {"name": "A", "street": street, "city": "C", "postcode": "1", "country": "US"}
        path = f"/api/orders/{memory.pk}/address/"
        answer = self._write(lambda key: self.customer.call("PATCH", path, key=key, body=address), {200, 409})
        if answer is None:
            memory.doubtful_streets.add(street)
        elif answer.status_code == 409:
            assert memory.cancelled is not False, f"{memory} was never cancelled, and yet: {answer.text}"
            memory.cancelled = True
            return
        else:
            assert memory.cancelled is not True, f"{memory} was cancelled, and yet its address changed"
            assert answer.json()["ship_to"]["street"] == street
            memory.streets = {street}
        memory.streets |= memory.doubtful_streets

    def look(self, memory: Memory) -> None:
        """Read an order back: what was confirmed is there, whoever answers."""
        answer = answer_within(lambda: self.customer.call("GET", f"/api/orders/{memory.pk}/"))
        self.sides.add(answer.headers["X-Strangler-Side"])
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert document["ship_to"]["street"] in memory.streets
        assert memory.cancelled is None or (document["status"] == "cancelled") == memory.cancelled

    def _write(self, send: Callable[[str | None], Any], expected: set[int]) -> Any:
        """Return the answer to a write; None if it had no key, and what became of it cannot be known."""
        if self._random.random() < 0.7:
            key = f"{self.number}-{self.steps}"
            answer = answer_within(lambda: send(key))
        else:
            try:
                answer = send(None)
            except LOST:
                return None
            if answer.status_code in {409, 503} and "Retry-After" in answer.headers:
                return None
        self.sides.add(answer.headers["X-Strangler-Side"])
        assert answer.status_code in expected, f"{answer.status_code}: {answer.text[:500]}"
        assert answer.status_code != 409 or answer.json()["code"] in CLOSED_TO_CHANGES, answer.text
        return answer
