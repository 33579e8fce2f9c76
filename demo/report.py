"""Show what is going on while the demo runs, and what came of it at the end."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TextIO

from demo.checks import Check, Evidence, count_by_status
from demo.effects import Effects, due_mails, due_points
from demo.event_tables import LATE_SECONDS
from demo.records import Log, by_side, reasons
from demo.sync_checks import Synced

PLAIN_PAUSE = 5.0
"""Seconds between two lines of progress where lines cannot be overwritten."""
SHOWN = 8
"""Problems of one check that are printed; the rest is counted."""


class Progress:
    """One line about the present, overwritten each second on a terminal, repeated now and then elsewhere."""

    def __init__(self, log: Log, out: TextIO | None = None) -> None:
        self.log = log
        self.out = out or sys.stdout
        self.begun = time.monotonic()
        self.live = self.out.isatty()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._worker = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> "Progress":
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._worker.join(5)
        self._write("\r\033[K" if self.live else "")

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._write(f"{self._clear()}{self._clock()}  {text}\n")

    def _run(self) -> None:
        while not self._stop.wait(1.0 if self.live else PLAIN_PAUSE):
            end = "" if self.live else "\n"
            self._write(f"{self._clear()}{self._clock()}    {self._line()}{end}")

    def _line(self) -> str:
        records = self.log.since(0)
        sides = {times.side: times.requests for times in by_side(records)}
        orders = sum(1 for record in records if record.action == "order" and record.status == 201)
        failed = sum(1 for record in records if record.failure)
        return (
            f"{self.log.act:<12} requests {len(records):>6}  legacy {sides.get('legacy', 0):>5}  "
            f"extracted {sides.get('extracted', 0):>5}  orders {orders:>5}  failed {failed}"
        )

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self.begun)
        return f"{seconds // 60}:{seconds % 60:02d}"

    def _clear(self) -> str:
        return "\r\033[K" if self.live else ""

    def _write(self, text: str) -> None:
        with self._lock:
            self.out.write(text)
            self.out.flush()


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in plain text, first column left, the others right."""
    cells = [list(map(str, header)), *(list(map(str, row)) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        first, *rest = row
        return "  " + "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))])

    return "\n".join([title, line(cells[0]), "  " + "-" * (sum(widths) + 2 * len(widths) - 2), *map(line, cells[1:])])


def summary(
    log: Log,
    evidence: Evidence,
    counts: Mapping[tuple[str, str, str], int],
    moves: Sequence[tuple[str, str]],
    notes: Sequence[str],
) -> str:
    """Return the whole report but for the checks."""
    records = log.since(0)
    sides = [
        (times.side, times.requests, f"{times.p50 * 1000:.0f} ms", f"{times.p99 * 1000:.0f} ms")
        for times in by_side(records)
    ]
    retried = sum(1 for record in records if record.tries > 1)
    charges = [b for b in evidence.bookings if b.kind == "charge" and b.status == "succeeded"]
    refunds = [b for b in evidence.bookings if b.kind == "refund" and b.status == "succeeded"]
    paid = [a for a in evidence.attempts if a.kind == "charge" and a.state == "succeeded"]
    given_back = [a for a in evidence.attempts if a.kind == "refund" and a.state == "succeeded"]
    found = sum(len(orders) for orders in evidence.found.values())
    parts = [
        table(
            "Requests by who answered (none: no route of a service)",
            ("side", "requests", "p50", "p99"),
            sides,
        ),
        f"  {len(records)} requests, {retried} of them sent more than once, {len(evidence.failures)} failed",
        f"  {sum(record.stale for record in records)} reads said that they may be behind; "
        f"{sum(record.put_off for record in records)} writes without a key were put off while nobody could write",
        table(
            "What the router counted",
            ("kind, side, outcome", "requests"),
            [(", ".join(key), count) for key, count in sorted(counts.items())],
        ),
        table("Why", ("reason", "requests"), reasons(records).most_common(14)),
        table("Breakers", ("from -> to", "times"), _moves(moves)),
        table(
            "Orders and money",
            ("", "told", "found"),
            [
                ("orders: acknowledged / in the database", len(evidence.acknowledged), found),
                ("charges: shop / provider", len(paid), len(charges)),
                ("refunds: shop / provider", len(given_back), len(refunds)),
                ("comparisons / mismatches", evidence.comparisons, evidence.shadow_mismatches),
                ("writes in doubt / requests that fell back", evidence.ambiguous, evidence.fallbacks),
            ],
        ),
        *_of_effects(evidence.effects),
        _of_sync(evidence.synced),
        "  orders by status: " + ", ".join(f"{name} {n}" for name, n in count_by_status(evidence.found).items()),
        "Measured on the way",
        *(f"  {note}" for note in notes),
    ]
    return "\n".join(parts)


def verdicts(checks: Sequence[Check]) -> str:
    """Return one line per check, and below a failed one what was found."""
    lines = ["Checks"]
    for check in checks:
        lines.append(f"  {'ok    ' if check.held else 'FAILED'}  {check.name}")
        lines += [f"            {problem}" for problem in check.problems[:SHOWN]]
        if len(check.problems) > SHOWN:
            lines.append(f"            ... and {len(check.problems) - SHOWN} more")
    return "\n".join(lines)


def last_line(**counts: int) -> str:
    """Return the line that scripts read."""
    return " ".join(["demo:", *(f"{name}={count}" for name, count in counts.items())])


def _of_effects(effects: Effects) -> list[str]:
    """Return the tables about what followed from the orders."""
    kinds = Counter(mail.kind for mail in effects.mails)
    due = sum((due_mails(fate) for fate in effects.fates), Counter[str]())
    given = sum(1 for booking in effects.points if booking.points > 0)
    due_bookings = Counter(amount > 0 for fate in effects.fates for amount in due_points(fate).elements())
    events, troubles = effects.events, effects.troubles
    followed = [
        *((f"mails: {kind}", due[kind], kinds[kind]) for kind in sorted(due | kinds)),
        ("mails about orders that the service placed", "", effects.mails_of_service),
        ("points given", due_bookings[True], given),
        ("points taken back", due_bookings[False], len(effects.points) - given),
    ]
    way = [
        ("published", events.published),
        ("received", events.received),
        ("received again, dropped", events.duplicates),
        (f"received later than {LATE_SECONDS:.0f} s (slowest: {events.slowest:.1f} s)", events.late),
        ("sent again because nobody acknowledged them", events.resent),
        ("messages put in twice / held back on purpose", f"{troubles.copied} / {troubles.held}"),
        ("messages lost with a killed worker", troubles.lost),
        ("handlers done", events.handled),
        ("second deliveries of a mail, dropped by the mail server", effects.suppressed),
        ("parked", len(events.parked)),
    ]
    pages = [(side, count) for side, count in sorted(effects.pages.items())]
    return [
        table("What followed from the orders", ("", "due", "found"), followed),
        table("Events", ("", "count"), way),
        table("Orders of the shop's pages, through the seam", ("placed by", "orders"), pages),
    ]


def _of_sync(synced: Synced) -> str:
    """Return the table about the orders' two homes."""
    last, done = synced.homes, synced.corruption
    rows = [
        ("orders in the shop / in the service's own store", last.shop, last.own),
        ("compared at the end: by sync verify / different", last.verification.compared, len(last.verification.kinds)),
        ("compared at the end: by the demo, row by row / different", max(last.shop, last.own), len(last.differences)),
        ("corrupted / found", len(done.planted), len(done.found.kinds)),
        ("mended / left", done.mended, len(done.planted) - done.mended),
        ("lag p50 / p99, ms", *(f"{seconds * 1000:.0f}" for seconds in (synced.delays.p50, synced.delays.p99))),
        ("lag p50 / p99 as sync status says, ms", *(f"{seconds * 1000:.0f}" for seconds in synced.lag)),
        ("shadowed reads: compared / wrong", synced.shadowed.compared, synced.shadowed.wrong),
        *(
            (f"{one.who} was dead: orders waited / arrived within, s", one.waited, f"{one.caught_up:.1f}")
            for one in synced.standstills
        ),
    ]
    return table("Two homes", ("", "first", "second"), rows)


def _moves(moves: Sequence[tuple[str, str]]) -> list[tuple[str, int]]:
    counted: dict[str, int] = {}
    for before, after in moves:
        counted[f"{before} -> {after}"] = counted.get(f"{before} -> {after}", 0) + 1
    return sorted(counted.items())
