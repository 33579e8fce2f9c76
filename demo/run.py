"""What one run of the demo holds together, and how it waits while watching that nothing has broken."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from demo import tables
from demo.broker import Broker
from demo.effects import Troubles
from demo.homes import Home, home_of
from demo.operator import AdminPages, Switches, Terminal
from demo.records import Log, Record
from demo.shopping import Customer
from demo.site import Site
from demo.stack import Stack
from demo.sync_checks import Synced
from demo.traffic import Traffic
from demo.waiting import Deadline, WaitedTooLong

ROUTED = frozenset({"list", "detail", "order", "cancel", "address"})
"""The customers' actions that are routes of the orders service."""
READS = frozenset({"list", "detail"})
REACTION = 2.0
"""Seconds within which every process has to act on a changed flag or phase."""


@dataclass
class Run:
    """Everything an act of the scenario may touch."""

    site: Site
    stack: Stack
    log: Log
    traffic: Traffic
    customers: Sequence[Customer]
    terminal: Terminal
    admin: AdminPages
    switches: Switches
    broker: Broker
    deadline: Deadline
    problems: list[str] = field(default_factory=list)
    """What an act found wrong."""
    notes: list[str] = field(default_factory=list)
    """What an act measured, for the report."""
    troubles: Troubles = field(default_factory=Troubles)
    """What was done to the events on their way."""
    synced: Synced = field(default_factory=Synced)
    """What is known of the orders' two homes."""
    last_order_before: int = 0
    """The last order that nobody of this run placed."""
    say: Callable[[str], None] = print
    """Shows a line at once."""

    @property
    def shop(self) -> Home:
        """The shop's database, for its orders."""
        return home_of(self.site.database_url)

    @property
    def own(self) -> Home:
        """The service's own database."""
        return home_of(self.site.own_database_url)

    def note(self, text: str) -> None:
        """Keep a figure for the report."""
        self.notes.append(f"{self.log.act}: {text}")

    def problem(self, text: str) -> None:
        """Keep something that should not be so."""
        self.problems.append(f"{self.log.act}: {text}")

    def wait(self, condition: Callable[[], bool], *, seconds: float, what: str, pause: float = 0.1) -> float:
        """Return how long it took until ``condition`` held, while traffic and processes are watched."""
        begun = time.monotonic()
        while not condition():
            self.stack.check_alive()
            self.traffic.check()
            self.deadline.left()
            if time.monotonic() - begun > seconds:
                raise WaitedTooLong(f"{self.log.act}: waited {seconds:.0f} s in vain for this: {what}.")
            time.sleep(pause)
        return time.monotonic() - begun

    def phase(self, *arguments: str, seconds: float = 90.0) -> None:
        """Run a phase command of the control plane."""
        self.terminal.run("phase", *arguments, seconds=self.deadline.left(seconds))

    def routed_since(self, index: int) -> list[Record]:
        """Return the customers' requests to routes of the service since a position in the log."""
        return [record for record in self.log.since(index) if record.action in ROUTED and record.bucket is not None]

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Return what the router has counted so far; a second or so behind."""
        with tables.reading(self.site.database) as connection:
            return tables.traffic_counts(connection)

    def outcome_count(self, *outcomes: str) -> int:
        """Return how many requests of the service ended in one of the router's outcomes."""
        return sum(count for (_, _, outcome), count in self.counts().items() if outcome in outcomes)

    def breaker_moves(self, to: str) -> int:
        """Return how often a breaker of the service has moved to a state."""
        with tables.reading(self.site.database) as connection:
            return sum(1 for _, after in tables.breaker_moves(connection) if after == to)


def enough(run: Run, index: int, *, requests: int, orders: int = 0) -> Callable[[], bool]:
    """Return a condition: so many requests, and so many acknowledged orders, since a position in the log."""

    def holds() -> bool:
        records = run.log.since(index)
        placed = sum(1 for record in records if record.action == "order" and record.status == 201)
        return len(records) >= requests and placed >= orders

    return holds
