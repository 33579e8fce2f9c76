"""Customers who buy, pay, change their minds and read it all back, and who ask again until they are answered."""

import random
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from router.service.headers import WROTE_HEADER
from tests.acceptance.chaos.history import UNANSWERED, Call, History

PATIENCE = 10.0
"""Seconds, what was broken on purpose meanwhile left out."""
UNSAID = 0.3
"""The pause before asking again where nobody said how long."""
LONGEST = 60.0
"""However much is broken: then something else is wrong."""
CARDS = ("tok_visa", "tok_visa", "tok_mastercard", "tok_declined")
ONE_REQUEST = 8.0
ADDRESS = {"name": "A", "city": "C", "postcode": "1", "country": "US"}


@dataclass(kw_only=True)
class Customer:
    """One customer; does one thing after the other, and remembers only what it needs to choose the next."""

    pk: int
    token: str
    bucket: int
    url: str
    products: Sequence[int]
    history: History
    dice: random.Random
    orders: list[int] = field(default_factory=list)
    placed: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Keys of orders that were acknowledged, with what was sent."""
    count: int = 0
    wrote: str = ""
    """What the shop has given this customer after its last write, to be sent with what it reads."""

    def act(self) -> None:
        """Do one thing; most of the time look at once what has become of it."""
        (act,) = self.dice.choices(tuple(ACTS), tuple(ACTS.values()))
        order = act(self, self.dice.choice(self.orders[-6:])) if self.orders else self.place()
        if order is not None and self.dice.random() < 0.7:
            self.dice.choice((self.show, self.show, self.browse))(order)

    # --- writing ------------------------------------------------------------------------------------------------
    def place(self, before: int | None = None) -> int | None:
        """Order something, half of the time with a card."""
        key = self._key("place")
        lines = [{"product": self.dice.choice(self.products), "quantity": self.dice.randint(1, 3)}]
        card = self.dice.choice((None, *CARDS))
        body = {
            "lines": lines,
            "address": {**ADDRESS, "street": f"Street of {key}"},
            "note": key,
            "payment": None if card is None else {"card": card},
        }
        call = self._ask("place", "POST", "/api/orders/", key=key, body=body)
        if call.status != 201:
            return None
        self.placed.append((key, body))
        self.orders.append(int(call.document["id"]))
        return self.orders[-1]

    def repeat(self, order: int) -> int | None:
        """Send an order that was acknowledged once more, as a client does that has forgotten it."""
        key, body = self.dice.choice(self.placed)
        self._ask("place", "POST", "/api/orders/", key=key, body=body)
        return None

    def pay(self, order: int) -> int:
        """Pay an order, whether that is due or not."""
        body = {"card": self.dice.choice(CARDS)}
        self._ask("pay", "POST", f"/api/orders/{order}/pay/", key=self._key("pay"), body=body, order=order)
        return order

    def cancel(self, order: int) -> int:
        """Call an order off, whether that is possible or not."""
        self._ask("cancel", "POST", f"/api/orders/{order}/cancel/", key=self._key("cancel"), order=order)
        return order

    def move(self, order: int) -> int:
        """Have an order sent elsewhere."""
        key = self._key("address")
        body = {**ADDRESS, "street": f"Street of {key}"}
        self._ask("address", "PATCH", f"/api/orders/{order}/address/", key=key, body=body, order=order)
        return order

    # --- reading ------------------------------------------------------------------------------------------------
    def show(self, order: int) -> None:
        """Look at an order."""
        self._ask("show", "GET", f"/api/orders/{order}/", order=order)

    def browse(self, order: int) -> None:
        """Look at the newest orders."""
        self._ask("list", "GET", "/api/orders/")

    # --- asking -------------------------------------------------------------------------------------------------
    def _key(self, what: str) -> str:
        self.count += 1
        return f"{what}-{self.pk}-{self.count}-{uuid.UUID(int=self.dice.getrandbits(128)).hex[:8]}"

    def _ask(
        self, kind: str, method: str, path: str, *, key: str = "", body: Any = None, order: int | None = None
    ) -> Call:
        """Ask until there is an answer that is no "try again", and write down what was said."""
        began, tries, tried_at = self.history.now(), [], []
        wait = threading.Event()
        while True:
            answer = self._once(method, path, key, body)
            tries.append(UNANSWERED if answer is None else answer.status_code)
            tried_at.append(self.history.now())
            pause = _pause(answer)
            if pause is None or self._out_of_patience(began, pause):
                break
            wait.wait(pause)
        call = Call(
            customer=self.pk,
            kind=kind,
            key=key,
            order=order,
            sent=body or {},
            status=tries[-1],
            document=_document(answer),
            stale=answer is not None and "X-Strangler-Stale" in answer.headers,
            side="" if answer is None else answer.headers.get("X-Strangler-Side", ""),
            reason="" if answer is None else answer.headers.get("X-Strangler-Reason", ""),
            began=began,
            ended=self.history.now(),
            tries=tuple(tries),
            tried_at=tuple(tried_at),
        )
        self.history.add(call)
        return call

    def _out_of_patience(self, began: float, pause: float) -> bool:
        spent = self.history.now() - began + pause
        return spent > LONGEST or spent - self.history.troubled_since(began) > PATIENCE

    def _once(self, method: str, path: str, key: str, body: Any) -> requests.Response | None:
        headers = {"Authorization": f"Token {self.token}", "Connection": "close"}
        if key:
            headers["Idempotency-Key"] = key
        if self.wrote:
            headers[WROTE_HEADER] = self.wrote
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.request(
                    method, self.url + path, json=body, headers=headers, timeout=ONE_REQUEST, allow_redirects=False
                )
            self.wrote = answer.headers.get(WROTE_HEADER, self.wrote)
            return answer
        except requests.RequestException:
            return None


ACTS: Mapping[Callable[[Customer, int], int | None], int] = {
    Customer.place: 30,
    Customer.pay: 15,
    Customer.cancel: 10,
    Customer.move: 20,
    Customer.show: 10,
    Customer.browse: 10,
    Customer.repeat: 5,
}
"""What customers do, and how often out of a hundred; each is about one of their newest orders."""


def _pause(answer: requests.Response | None) -> float | None:
    """Return the seconds after which to ask again; None if the answer stands."""
    if answer is None or answer.status_code >= 500 or (answer.status_code == 409 and "Retry-After" in answer.headers):
        said = "" if answer is None else answer.headers.get("Retry-After", "")
        return float(said) if said.isdecimal() else UNSAID
    return None


def _document(answer: requests.Response | None) -> Any:
    if answer is None:
        return None
    try:
        return answer.json()
    except ValueError:
        return answer.text[:300]


@dataclass(kw_only=True)
class Crowd:
    """Threads, each of which plays some customers by turns."""

    customers: Sequence[Customer]
    threads: int
    seed: int
    pace: float
    """Seconds that a thread rests between two acts."""
    errors: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Let them in."""
        for number in range(self.threads):
            mine = self.customers[number :: self.threads]
            dice = random.Random(f"{self.seed}-crowd-{number}")
            thread = threading.Thread(target=self._play, args=(mine, dice), name=f"crowd-{number}", daemon=True)
            thread.start()
            self._running.append(thread)

    def _play(self, mine: Sequence[Customer], dice: random.Random) -> None:
        try:
            while not self._stop.wait(self.pace):
                dice.choice(mine).act()
        except BaseException as error:
            self.errors.append(error)

    def fine(self) -> bool:
        """Return True; raise what went wrong in one of them."""
        if self.errors:
            raise self.errors[0]
        return True

    def stop(self) -> None:
        """Let each finish what it is at, and raise what went wrong in them."""
        self._stop.set()
        for thread in self._running:
            thread.join(LONGEST + ONE_REQUEST)
        self.fine()
        assert not any(thread.is_alive() for thread in self._running), "A customer does not come to an end."
