"""The story of the demo as data: acts in their order, each ended by a condition and never by a clock alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from demo.handover import come_home, cut_over, killed_on_the_way
from demo.operator import NO, YES
from demo.records import now
from demo.run import REACTION, READS, Run, enough
from demo.separation import corruption, cut_off, second_shadow, sync, two_homes
from demo.sides import EXTRACTED, LEGACY, steady
from demo.trouble import broker_away, twice_and_late, worker_killed

SLOWER_THAN_ITS_DEADLINE = 3500.0
"""Milliseconds: the router gives the service two seconds to the first byte."""

BUSY_THINKING = 0.1
"""Seconds that customers think between two requests when they hurry."""

CALM_THINKING = 0.5
"""And while their orders have two homes: everything, the customers included, shares one machine's few cores."""


@dataclass(frozen=True, kw_only=True)
class Act:
    """One scene: what it is about, and what happens in it until it is over."""

    name: str
    title: str
    play: Callable[[Run], None]


# --- what several acts do --------------------------------------------------------------------------------------
def advance(run: Run, step: str, *, reads: int, writes: int, requests: int = 70) -> None:
    """Move one step on, as soon as its gates let us, and see that customers are answered by the due side."""
    run.phase("advance", "orders", "--to", step, "--wait", "60", "--reason", "demo")
    steady(run, reads=reads, writes=writes, requests=requests)


def until_side(run: Run, side: str, *, actions: frozenset[str], what: str) -> None:
    """Measure how long any process still answers by the other side after a change; two seconds are allowed."""
    index, changed = len(run.log), now()
    run.wait(lambda: now() - changed > REACTION, seconds=REACTION + 5, what="the time every process is given")
    settled = len(run.log)

    def seen() -> bool:
        return sum(1 for record in run.routed_since(settled) if record.action in actions) >= 25

    run.wait(seen, seconds=30, what=f"25 requests after {what}")
    records = [record for record in run.routed_since(index) if record.action in actions]
    others = [record for record in records if record.side != side]
    late = [record for record in others if record.at - record.seconds > changed + REACTION]
    took = max((record.at - changed for record in others), default=0.0)
    run.note(f"{what}: all processes followed within {max(took, 0.0):.1f} s")
    if late:
        run.problem(f"{len(late)} requests were still answered by {late[0].side} {REACTION:.0f} s after {what}")


def heal(run: Run, index: int) -> None:
    """Make the service healthy, and wait until the breakers have closed and it answers again."""
    closed = run.breaker_moves("closed")
    run.switches.service()

    def back() -> bool:
        recent = run.routed_since(index)[-12:]
        return run.breaker_moves("closed") > closed and len(recent) == 12 and all(r.side == EXTRACTED for r in recent)

    took = run.wait(back, seconds=40, what="the breakers closed and the service answers again")
    run.note(f"the service answered again, breakers closed, after {took:.1f} s")


# --- the acts --------------------------------------------------------------------------------------------------
def monolith(run: Run) -> None:
    """Let customers shop in the monolith as it always was."""
    run.phase("status", "orders")
    steady(run, reads=0, writes=0, requests=120, orders=10)


def shadow(run: Run) -> None:
    """Send copies of reads to the service and compare."""
    run.phase("advance", "orders", "--to", "shared.shadow", "--wait", "60", "--reason", "demo")
    steady(run, reads=0, writes=0, requests=70)


def flag(run: Run) -> None:
    """Turn the reads' flag off and on again in the admin of the running shop."""
    run.admin.set_flag("orders.reads", NO)
    until_side(run, LEGACY, actions=READS, what="the flag orders.reads was turned off in the admin")
    run.admin.set_flag("orders.reads", YES)
    steady(run, reads=50, writes=0, requests=60)


def kill_switch(run: Run) -> None:
    """Pull the kill switch while all writes are diverted, and put it back."""
    both = READS | {"order", "cancel", "address"}
    run.admin.set_switch("orders.off", active=True)
    until_side(run, LEGACY, actions=both, what="the switch orders.off was pulled in the admin")
    run.admin.set_switch("orders.off", active=False)
    steady(run, reads=100, writes=100, requests=60)


def crash(run: Run) -> None:
    """Kill the service with requests inside it while events come twice and late; legacy answers until it is back."""
    with twice_and_late(run):
        _crash(run)


def _crash(run: Run) -> None:
    opened, fallbacks = run.breaker_moves("open"), run.outcome_count("fallback_not_sent")
    run.switches.service(latency_ms=250)
    index = len(run.log)
    run.wait(enough(run, index, requests=40, orders=2), seconds=20, what="requests are inside the service")
    run.stack.kill("orders")
    run.wait(
        lambda: run.breaker_moves("open") > opened and run.outcome_count("fallback_not_sent") >= fallbacks + 20,
        seconds=30,
        what="the breaker opened and legacy answered 20 requests",
    )
    down = len(run.log)
    run.wait(enough(run, down, requests=60, orders=5), seconds=30, what="customers order while the service is down")
    run.note(f"the service was back {run.stack.restart('orders'):.1f} s after it was started again")
    heal(run, down)


def late(run: Run) -> None:
    """Have the service commit and then keep the answer to itself: the stored answer is what the customer gets."""
    replayed = run.outcome_count("replayed")
    index = len(run.log)
    run.switches.service(hang_after_commit_ms=SLOWER_THAN_ITS_DEADLINE)
    run.wait(
        lambda: run.outcome_count("replayed") >= replayed + 3,
        seconds=40,
        what="3 writes were answered from their idempotency keys",
    )
    _heal_if_open(run, index)


def slow(run: Run) -> None:
    """Make the service slower than its deadline: the router takes the keys away and legacy does the work."""
    opened, claimed = run.breaker_moves("open"), run.outcome_count("fallback_claimed")
    index = len(run.log)
    run.switches.service(latency_ms=SLOWER_THAN_ITS_DEADLINE)
    run.wait(
        lambda: run.breaker_moves("open") > opened and run.outcome_count("fallback_claimed") >= claimed + 2,
        seconds=40,
        what="the breaker opened, and 2 writes were taken over under a claimed key",
    )
    run.wait(enough(run, len(run.log), requests=60, orders=3), seconds=30, what="customers order meanwhile")
    heal(run, index)


def broken(run: Run) -> None:
    """Have the service answer 500 to everything."""
    opened = run.breaker_moves("open")
    index = len(run.log)
    run.switches.service(fail_rate=1.0)
    run.wait(lambda: run.breaker_moves("open") > opened, seconds=30, what="the breaker opened")
    run.wait(enough(run, len(run.log), requests=60, orders=3), seconds=30, what="customers order meanwhile")
    heal(run, index)


def provider(run: Run) -> None:
    """Give the payment provider a bad day: slow, failing, and answering after the shop has given up."""
    for control in (
        {"latency_ms": 400, "fail_rate": 0.3},
        {"answer_late_rate": 0.5, "late_ms": 2600},
    ):
        index = len(run.log)
        run.switches.provider(**control)
        run.wait(enough(run, index, requests=70, orders=5), seconds=40, what="customers pay meanwhile")
    run.switches.provider()
    steady(run, reads=100, writes=100, requests=60)


def rollback(run: Run) -> None:
    """Take everything back to the monolith under traffic."""
    run.phase("rollback", "orders", "--to", "monolith", "--reason", "demo")
    steady(run, reads=0, writes=0, requests=100, orders=8)


def forward_again(run: Run) -> None:
    """Go all the way once more; every gate asks for fresh evidence, which busier customers bring sooner."""
    calm, run.traffic.think_seconds = run.traffic.think_seconds, BUSY_THINKING
    run.phase("advance", "orders", "--to", "shared.writes@100", "--wait", "80", "--reason", "demo, again", seconds=120)
    steady(run, reads=100, writes=100, requests=120, orders=10)
    run.traffic.think_seconds = calm


def calmly_synced(run: Run) -> None:
    """Give every order a second home; from here on customers take their time."""
    run.traffic.think_seconds = CALM_THINKING
    sync(run)


def _heal_if_open(run: Run, index: int) -> None:
    """Make the service healthy; breakers may or may not have opened."""
    run.switches.service()

    def back() -> bool:
        recent = run.routed_since(index)[-12:]
        return len(recent) == 12 and all(record.side == EXTRACTED for record in recent)

    run.wait(back, seconds=40, what="the service answers again")


def _steps() -> Sequence[Act]:
    """Return one act per percentage, with the two interludes where they belong."""
    acts = []
    for percent in (1, 10, 50, 100):
        play = partial(advance, step=f"shared.reads@{percent}", reads=percent, writes=0)
        acts.append(Act(name=f"reads {percent} %", title=f"the service answers reads of {percent} %", play=play))
        if percent == 50:
            acts.append(Act(name="flag", title="a flag is turned off and on in the admin", play=flag))
    for percent in (1, 10, 50, 100):
        play = partial(advance, step=f"shared.writes@{percent}", reads=100, writes=percent)
        acts.append(Act(name=f"writes {percent} %", title=f"the service answers writes of {percent} %", play=play))
    return acts


ACTS: Sequence[Act] = (
    Act(name="monolith", title="customers shop in the monolith", play=monolith),
    Act(name="shadow", title="reads are copied to the service and compared", play=shadow),
    *_steps(),
    Act(name="kill switch", title="the kill switch is pulled and put back", play=kill_switch),
    Act(
        name="crash", title="kill -9 of the orders service under write traffic, events come twice and late", play=crash
    ),
    Act(name="late answer", title="the service commits and does not answer", play=late),
    Act(name="slow", title="the service is slower than its deadline", play=slow),
    Act(name="errors", title="the service answers 500", play=broken),
    Act(name="broker", title="the message broker is away for a while", play=broker_away),
    Act(name="worker", title="kill -9 of the Celery worker with messages in its hands", play=worker_killed),
    Act(name="provider", title="the payment provider is slow, fails, answers late", play=provider),
    Act(name="rollback", title="everything goes back to the monolith", play=rollback),
    Act(name="again", title="and forward again, gate by gate", play=forward_again),
    Act(name="sync", title="every order gets a second home, in the service's own store", play=calmly_synced),
    Act(name="corruption", title="orders are corrupted by SQL in both homes, found and mended", play=corruption),
    Act(name="second shadow", title="reads are compared with the service's own store", play=second_shadow),
    Act(name="cut off", title="kill -9 of the service's own store, then of the worker", play=cut_off),
    Act(name="two homes", title="customers sleep for a moment; both homes are compared row by row", play=two_homes),
    Act(name="home", title="everything goes back to the monolith for good", play=rollback),
)

CUT_OVER: Sequence[Act] = (
    Act(name="cut-over", title="bucket by bucket the service becomes the owner of the orders", play=cut_over),
    Act(name="come home", title="all orders come home to the shop, with what the service wrote", play=come_home),
)
"""The longest acts, and the hardest on a machine; a shorter story goes without them."""

KILLED = Act(
    name="killed",
    title="and go again, with kill -9 of whoever moves them, of the worker and of the service",
    play=killed_on_the_way,
)
"""Played on request: while nobody can write the orders, not every customer can be answered as the checks want it."""


def story(*, cut_over: bool, killed: bool = False) -> Sequence[Act]:
    """Return the acts, with those in which ownership changes hands where they belong, or without."""
    place = next(number for number, act in enumerate(ACTS) if act.name == "cut off")
    moving = (*(CUT_OVER if cut_over else ()), *((KILLED,) if cut_over and killed else ()))
    return (*ACTS[:place], *moving, *ACTS[place:])
