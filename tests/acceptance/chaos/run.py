"""One run: customers come in, buckets change hands, everything is broken by schedule, and in the end it is judged."""

import json
import random
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.chaos import evidence
from tests.acceptance.chaos.customers import Crowd, Customer
from tests.acceptance.chaos.history import History
from tests.acceptance.chaos.house import House, ran
from tests.acceptance.chaos.judge import Evidence, judge, said_stale
from tests.processes import wait_until

MOVER = ("-m", "tests.acceptance.chaos.mover")
SETTLE_SECONDS = 60.0
MOVE_SECONDS = 120.0


@dataclass(kw_only=True)
class Run:
    """Everything that one run is about."""

    house: House
    seed: int
    threads: int
    say: Callable[[str], None]
    history: History = field(default_factory=History)
    crowd: Crowd = field(init=False)

    def __post_init__(self) -> None:
        site = self.house.site
        customers = [
            Customer(
                pk=one.pk,
                token=one.token,
                bucket=one.bucket,
                url=site.url("shop"),
                products=tuple(self.house.delivered),
                history=self.history,
                dice=random.Random(f"{self.seed}-customer-{number}"),
            )
            for number, one in enumerate(self.house.people)
        ]
        self.crowd = Crowd(customers=customers, threads=self.threads, seed=self.seed)

    def tell(self, text: str) -> None:
        """Say what happens, with the time."""
        self.say(f"{self.history.now():7.2f}  {text}")

    def acts(self) -> int:
        """Return how much customers have done."""
        return len(self.history.calls)

    def busy(self, more: int, seconds: float = 30.0) -> None:
        """Wait until customers have done so much more."""
        wanted = self.acts() + more
        wait_until(lambda: self.crowd.fine() and self.acts() >= wanted, f"customers do {more} more things", seconds)

    # --- moving -------------------------------------------------------------------------------------------------
    def mover(self, to: str, first: int, end: int, *death: str) -> "subprocess.Popen[bytes]":
        """Start a coordinator."""
        self.tell(f"move buckets {first} to {end - 1} to {to} {' '.join(death)}".rstrip())
        return self.house.start(*MOVER, to, str(first), str(end), *death)

    def move(self, to: str, first: int, end: int, *death: str) -> None:
        """Move buckets, with as many coordinators as it takes one after the other."""
        codes: list[int] = []

        def there() -> bool:
            mover = self.mover(to, first, end, *(() if codes else death))
            codes.append(mover.wait(MOVE_SECONDS))
            return codes[-1] == 0

        wait_until(there, f"buckets {first} to {end - 1} are at {to}", MOVE_SECONDS)
        self.tell(f"buckets {first} to {end - 1} are at {to} (coordinators: {codes})")

    # --- the end ------------------------------------------------------------------------------------------------
    def settle(self) -> None:
        """Wait until everything that was begun has ended."""
        site, last = self.house.site, {}

        def settled() -> bool:
            nonlocal last
            last = evidence.unfinished(site)
            return not last

        try:
            wait_until(settled, "everything is settled", SETTLE_SECONDS)
        except AssertionError:
            self.tell(f"not settled: {last}")

    def verify(self) -> str:
        """Return what the toolkit finds different."""
        told: dict[str, Any] = json.loads(
            ran(self.house.site, "manage.py", "sync", "verify", "orders", "--json", may_fail=True) or "{}"
        )
        clean = told.get("compared") and not told.get("corrupt") and not told.get("unresolved")
        return "" if clean else json.dumps(told)[:1000]

    def evidence(self) -> Evidence:
        """Return everything that is known."""
        return evidence.gather(
            self.house.site,
            self.history,
            delivered=self.house.delivered,
            buckets={one.pk: one.bucket for one in self.house.people},
            verified=self.verify(),
        )


def verdict(found: Evidence, say: Callable[[str], None]) -> dict[str, list[str]]:
    """Judge, say what was found, and return what is wrong."""
    kinds = Counter(call.kind for call in found.calls)
    sides = Counter(call.side or "?" for call in found.calls)
    statuses = Counter(status for call in found.calls for status in call.tries)
    waited = sorted(call.ended - call.began for call in found.calls)
    say(
        f"{len(found.calls)} requests of customers: {dict(kinds)}; answered by {dict(sides)}; statuses with retries "
        f"{dict(statuses)}; slowest {waited[-1] if waited else 0:.2f} s; {said_stale(found)} reads were behind and said so"
    )
    wrong = judge(found)
    for name, problems in wrong.items():
        say(f"{'held' if not problems else 'BROKEN':7} {name}" + (f": {len(problems)}" if problems else ""))
        for problem in problems[:8]:
            say(f"          {problem}")
    return {name: problems for name, problems in wrong.items() if problems}
