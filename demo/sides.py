"""Who is due to answer a customer, and whether it does."""

from demo.records import Record, now
from demo.run import REACTION, READS, Run, enough

LEGACY = "legacy"
EXTRACTED = "extracted"


def steady(run: Run, *, reads: int, writes: int, requests: int = 120, orders: int = 0) -> None:
    """Wait for traffic after every process has seen the change, and check that the due side answers each request."""
    changed = now()
    run.wait(lambda: now() - changed > REACTION, seconds=REACTION + 5, what="all processes had time to react")
    index, begun = len(run.log), now()
    sides = {LEGACY} if reads == 0 else {EXTRACTED} if reads == 100 else {LEGACY, EXTRACTED}

    def seen() -> bool:
        met = {record.side for record in run.routed_since(index)}
        return enough(run, index, requests=requests, orders=orders)() and sides <= met

    run.wait(seen, seconds=40, what=f"{requests} requests, {orders} orders, answered by {' and '.join(sorted(sides))}")
    asked = [record for record in run.routed_since(index) if record.at - record.seconds >= begun]
    wrong = [record for record in asked if record.side != due_side(record, reads, writes) and not fell_back(record)]
    for record in wrong[:5]:
        run.problem(
            f"{record.method} {record.action} of bucket {record.bucket} was answered by {record.side} "
            f"({record.reason or record.failure}) with reads at {reads} % and writes at {writes} %"
        )


def due_side(record: Record, reads: int, writes: int) -> str:
    """Return who has to answer a customer's request when nothing is broken."""
    percent = reads if record.action in READS else writes
    return EXTRACTED if record.bucket is not None and record.bucket < percent else LEGACY


def fell_back(record: Record) -> bool:
    """Tell whether legacy stood in for a service that was due: a busy machine is no wrong turn."""
    return "fallback:" in record.reason
