"""One run: customers come in, buckets change hands, everything is broken by schedule, and in the end it is judged."""

import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.acceptance.chaos import evidence, schedule
from tests.acceptance.chaos.customers import Crowd, Customer
from tests.acceptance.chaos.history import History
from tests.acceptance.chaos.house import House, ran
from tests.acceptance.chaos.judge import EXTRACTED, Evidence, judge, said_stale
from tests.acceptance.chaos.rabbit import Rabbit
from tests.acceptance.chaos.schedule import Leg, Strike
from tests.processes import ProcessFailed, wait_until

RESUME = ("manage.py", "sync", "resume", "orders")
BUCKETS = 100
SETTLE_SECONDS = 60.0
LEG_SECONDS = 150.0
LAST_SECONDS = 300.0
AGAIN_SECONDS = 0.3
"""Between two coordinators of the same leg, and between two looks whether all programs live."""
MAY_END = ("relay",)
SHOWN = 8
CUT = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@dataclass(kw_only=True)
class Run:
    """Everything that one run is about."""

    house: House
    seed: int
    threads: int
    say: Callable[[str], None]
    all_buckets: bool = True
    """Whether all buckets move, or only those that somebody lives in."""
    pace: float = 0.02
    """Seconds that customers rest between two acts."""
    stops: int = 2
    """How often buckets stop on their way to the service."""
    history: History = field(default_factory=History)
    crowd: Crowd = field(init=False)
    done: list[Leg] = field(default_factory=list)
    _mover: int | None = None
    _mover_lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _errors: list[BaseException] = field(default_factory=list)
    _stack_lock: threading.Lock = field(default_factory=threading.Lock)
    """Whoever starts and kills programs, and whoever looks whether they live, do so by turns."""

    def __post_init__(self) -> None:
        customers = [
            Customer(
                pk=one.pk,
                token=one.token,
                bucket=one.bucket,
                url=self.house.site.url("shop"),
                products=tuple(self.house.delivered),
                history=self.history,
                dice=random.Random(f"{self.seed}-customer-{number}"),
            )
            for number, one in enumerate(self.house.people)
        ]
        self.crowd = Crowd(customers=customers, threads=self.threads, seed=self.seed, pace=self.pace)

    # --- the whole ----------------------------------------------------------------------------------------------
    def play(self, seconds: float, ways: int = 1) -> dict[str, list[str]]:
        """Let it all happen for so long, and until all buckets have gone so many ways; return what is wrong."""
        strikes = schedule.strikes(
            self.seed, seconds, postgres=self.house.site.on_postgres, broker=bool(self.house.site.broker_url)
        )
        self.say(f"seed {self.seed}; " + "; ".join(map(str, strikes)))
        with self._supervised():
            self._live(strikes, ways, seconds)
            self.tell("customers have gone; what is open is settled")
            self._bring_to_an_end()
        self._fine()
        return verdict(self.evidence(), self.say)

    def _live(self, strikes: Sequence[Strike], ways: int, seconds: float) -> None:
        """Let customers buy, buckets move and things break, until all three have had enough."""
        moves = threading.Thread(target=self._go_ways, args=(ways, seconds), name="moves", daemon=True)
        self.crowd.start()
        moves.start()
        try:
            for strike in strikes:
                self._strike(strike)
            wait_until(lambda: self._fine() and not moves.is_alive(), "buckets have gone their ways", LAST_SECONDS)
        finally:
            self._stop.set()
            self.crowd.stop()
            self._end_mover()
            moves.join(LEG_SECONDS)

    @contextmanager
    def _supervised(self) -> Iterator[None]:
        """Start again what ends by itself where it may, while the block runs: `sync run` does if another is at it."""
        ended = threading.Event()
        thread = threading.Thread(target=self._supervise, args=(ended,), name="supervisor", daemon=True)
        names = [name for name in MAY_END if name in self.house.stack.programs]
        with ExitStack() as supervised:
            for name in names:
                supervised.enter_context(self.house.stack.supervised(name))
            thread.start()
            try:
                yield
            finally:
                ended.set()
                thread.join()

    def _supervise(self, ended: threading.Event) -> None:
        try:
            while not ended.wait(AGAIN_SECONDS):
                with self._stack_lock:
                    self.house.stack.check_alive()
        except BaseException as error:
            self._errors.append(error)

    def tell(self, text: str) -> None:
        """Say what happens, with the time."""
        self.say(f"{self.history.now():7.2f}  {text}")

    def _fine(self) -> bool:
        if self._errors:
            raise self._errors[0]
        return self.crowd.fine()

    # --- moving -------------------------------------------------------------------------------------------------
    def _go_ways(self, ways: int, seconds: float) -> None:
        """Move buckets, leg after leg, so many whole ways and for so long at least."""
        try:
            gone = 0
            for leg in schedule.legs(self.seed, self.stops):
                self._go(leg)
                gone += leg.end == BUCKETS if leg.to == EXTRACTED else leg.first == 0
                if self._stop.is_set() or (gone >= ways and self.history.now() >= seconds):
                    break
        except BaseException as error:
            self._errors.append(error)

    def _buckets(self, leg: Leg) -> list[int]:
        found = range(BUCKETS) if self.all_buckets else sorted({one.bucket for one in self.house.people})
        return list(found)[leg.first * len(found) // BUCKETS : leg.end * len(found) // BUCKETS]

    def _go(self, leg: Leg) -> None:
        """Move the buckets of a leg, with as many coordinators as it takes one after the other."""
        buckets, codes = self._buckets(leg), list[int]()
        if not buckets:
            return
        names = ",".join(map(str, buckets))
        death = [leg.death[0], str(leg.death[1])] if leg.death else []
        self.tell(f"{leg}: {len(buckets)} buckets")

        def there() -> bool:
            codes.append(self._coordinator(leg.to, names, *(() if codes else death)))
            if codes[-1] == -signal.SIGKILL and leg.resumed:
                ran(self.house.site, *RESUME, may_fail=True)
            return codes[-1] == 0 or self._stop.wait(AGAIN_SECONDS)

        wait_until(there, f"buckets {names} are at {leg.to}", LEG_SECONDS)
        self.done.append(leg)
        self.tell(f"{leg}: done, coordinators ended with {codes}")

    def _coordinator(self, to: str, names: str, *death: str) -> int:
        with self._mover_lock:
            self._mover = self.house.movers.begin(to, names, *death)
        try:
            return self.house.movers.end(LEG_SECONDS)
        finally:
            with self._mover_lock:
                self._mover = None

    def _end_mover(self) -> bool:
        """Kill the coordinator that is at it now; return whether there was one."""
        with self._mover_lock, suppress(ProcessLookupError):
            if self._mover is not None:
                os.kill(self._mover, signal.SIGKILL)
                return True
        return False

    # --- breaking -----------------------------------------------------------------------------------------------
    def _strike(self, strike: Strike) -> None:
        """Break something at its time, or as soon as what was broken before is whole."""
        self._stop.wait(max(0.0, strike.at - self.history.now()))
        self._fine()
        self.tell(f"{strike.do} {strike.whom}".rstrip())
        {
            "kill": self._kill,
            "freeze": self._freeze,
            "cut": self._cut,
            "unplug": self._unplug,
            "restart": self._restart,
            "forget": self._forget,
            "coordinator": lambda whom: self._end_mover(),
        }[strike.do](strike.whom)

    def _kill(self, whom: str) -> None:
        with self.history.trouble(f"kill {whom}"), self._stack_lock:
            self.house.stack.kill(whom)
            self.house.stack.restart(whom)

    def _freeze(self, whom: str) -> None:
        with self.history.trouble(f"freeze {whom}"), self._suspended(self.house.stack.running[whom].process.pid):
            self._stop.wait(schedule.FROZEN_SECONDS)

    @contextmanager
    def _suspended(self, pid: int) -> Iterator[None]:
        os.killpg(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)

    def _cut(self, whom: str) -> None:
        """Break off all connections to both databases."""
        site = self.house.site
        with self.history.trouble("cut"):
            for url in (site.database_url, site.own_database_url):
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(CUT)

    def _unplug(self, whom: str) -> None:
        """Let nobody reach the broker for a moment."""
        with self.history.trouble("unplug"):
            self._rabbit.unplug()
            self._stop.wait(schedule.FROZEN_SECONDS)
            self._rabbit.plug_in()

    def _restart(self, whom: str) -> None:
        """Have the broker die, and come back with what it had on its disk."""
        with self.history.trouble("restart"):
            self._rabbit.restart()

    def _forget(self, whom: str) -> None:
        """Have the broker die, and come back without its disk."""
        with self.history.trouble("forget"):
            self._rabbit.forget()

    @property
    def _rabbit(self) -> Rabbit:
        assert self.house.rabbit is not None
        return self.house.rabbit

    # --- the end ------------------------------------------------------------------------------------------------
    def _bring_to_an_end(self) -> None:
        """Wait until everything that was begun has ended."""
        last: dict[str, Any] = {}

        def settled() -> bool:
            nonlocal last
            last = evidence.unfinished(self.house.site)
            return not last

        try:
            wait_until(settled, "everything is settled", SETTLE_SECONDS)
            self.tell("all is settled")
        except ProcessFailed:
            self.tell(f"not settled after {SETTLE_SECONDS:g} s: {last}")

    def _verify(self) -> str:
        """Return what the toolkit finds different."""
        printed = ran(self.house.site, "manage.py", "sync", "verify", "orders", "--json", may_fail=True)
        told: dict[str, Any] = json.loads(printed or "{}")
        clean = told.get("compared") and not told.get("corrupt") and not told.get("unresolved")
        return "" if clean else f"{printed[:1000]}, which is not clean"

    def evidence(self) -> Evidence:
        """Return everything that is known."""
        return evidence.gather(
            self.house.site,
            self.history,
            delivered=self.house.delivered,
            buckets={one.pk: one.bucket for one in self.house.people},
            verified=self._verify(),
        )


def verdict(found: Evidence, say: Callable[[str], None]) -> dict[str, list[str]]:
    """Judge, say what was found, and return what is wrong."""
    kinds = Counter(call.kind for call in found.calls)
    sides = Counter(call.side or "?" for call in found.calls)
    statuses = Counter(status for call in found.calls for status in call.tries)
    waited = sorted(call.ended - call.began for call in found.calls)
    say(f"{len(found.calls)} requests of customers: {dict(kinds)}, answered by {dict(sides)}")
    say(f"statuses with all tries: {dict(statuses)}; the slowest waited {waited[-1] if waited else 0:.2f} s")
    say(f"{len(found.shop)} orders, {len(found.charges)} charges, {len(found.refunds)} refunds")
    say(f"{said_stale(found)} reads were behind and said that they may be")
    wrong = judge(found)
    for name, problems in wrong.items():
        say(f"{'BROKEN' if problems else 'held':7} {name}" + (f": {len(problems)}" if problems else ""))
        for problem in problems[:SHOWN]:
            say(f"          {problem}")
    return {name: problems for name, problems in wrong.items() if problems}
