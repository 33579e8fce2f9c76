"""What the commands print, as text: no measuring, no moving, no printing in here."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from migrations_plan.api import ServiceStatus
from migrations_plan.executor import GateStop, Ran
from migrations_plan.gates import GateResult
from migrations_plan.moves import Move
from migrations_plan.state import HistoryLine, Kind
from migrations_plan.tables import table

UNITS = (("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def duration(span: timedelta) -> str:
    """Return a length of time in its largest whole unit."""
    seconds = max(0, int(span.total_seconds()))
    for unit, size in UNITS:
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if unit == 'day' and count != 1 else ''}"
    return "0 s"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago a moment was."""
    return f"{duration(now - then)} ago"


def since(status: ServiceStatus) -> str:
    """Return how long a service has been where it is."""
    return f"for {duration(status.now - status.state.entered_at)}" if status.state.entered else "from the start"


def overview(statuses: Iterable[ServiceStatus], width: int) -> str:
    """Return one line per service."""
    rows = [
        (
            status.service,
            status.state.step
            + (" (paused)" if status.state.paused else "")
            + (" (moving)" if status.state.moving else ""),
            *(f"{status.channels[name].effective} %" for name in ("reads", "writes")),
            shadow(status),
            since(status),
            status.next_step.name if status.next_step else "-",
            missing(status),
        )
        for status in statuses
    ]
    if not rows:
        return "No service has a plan: register one in an app's strangler.py."
    return table(("service", "step", "reads", "writes", "shadow", "how long", "next", "what is missing"), rows, width)


def shadow(status: ServiceStatus) -> str:
    """Return how much is shadowed, and by which store where it is not the one that answers."""
    found = status.channels["shadow"]
    where = "" if found.store == status.channels["reads"].store else f" to {found.store}"
    return f"{found.effective} %{where}"


def missing(status: ServiceStatus) -> str:
    """Return in one line what keeps the service from the next step."""
    if status.warnings:
        return status.warnings[0]
    if not status.next_step:
        return "nothing: this is the last step"
    told = [f"{result.gate} {result.outcome}{_lacking(result)}" for result in status.blocking]
    if status.state.paused:
        told.insert(0, "paused")
    return "; ".join(told) or ("nothing: every gate holds" if status.gates else "nothing")


def one(status: ServiceStatus, width: int) -> str:
    """Return everything about one service."""
    state = status.state
    title = status.step.title if status.step else "a step that the plan does not have"
    blocks = [
        f"{status.service} is at {state.step}: {title}\n"
        f"{since(status)}, version {state.version}{', PAUSED' if state.paused else ''}"
    ]
    blocks += [f"! {warning}" for warning in status.warnings]
    if state.held_at(status.now):
        blocks.append(f"{state.holder} is moving it, {state.direction}, with {state.moving_to}.")
    blocks.append(_channels(status, width))
    blocks.append(ladder(status))
    if status.gates and status.next_step:
        blocks.append(f"Before {status.next_step.name}, as measured now:\n{gate_table(status.gates, width)}")
    if status.evidence:
        blocks.append(f"Recorded evidence:\n{_evidence(status, width)}")
    blocks.append(_next(status))
    return "\n\n".join(blocks)


def ladder(status: ServiceStatus) -> str:
    """Return the steps of the plan with a mark at the present one."""
    here, to = status.state.step, status.state.moving_to
    marks = {here: "->", to: ".."} if to else {here: "->"}
    return "\n".join(f"{marks.get(step.name, ''):>4} {step.name}" for step in status.plan.steps)


def gate_table(results: Iterable[GateResult], width: int) -> str:
    """Return what gates measured."""
    rows = [
        (result.gate, result.outcome, result.samples, result.minimum, result.missing, result.detail)
        for result in results
    ]
    return table(("gate", "says", "samples", "wanted", "missing", "why"), rows, width)


def moves(found: tuple[Move, ...], width: int) -> str:
    """Return what would be done, in order, and how each is undone."""
    if not found:
        return "Nothing to do."
    blocks = []
    for number, move in enumerate(found, 1):
        resumes = ", begun before and to be finished" if move.resumes else ""
        head = f"{number}. {move.from_step.name} -> {move.to_step.name}{resumes}: {move.to_step.title}"
        gates = "".join(f"\n   must hold first: {gate.name}: {gate.describe()}" for gate in move.gates)
        lines = table(("does", "undone by"), move.lines(), width - 3)
        blocks.append(f"{head}{gates}\n" + "\n".join(f"   {line}" for line in lines.splitlines()))
    warning = "\n\nCAREFUL: this way has a point of no return." if any(move.irreversible for move in found) else ""
    return "\n\n".join(blocks) + warning


def ran(result: Ran) -> str:
    """Return what a command did."""
    if not result.steps:
        return f"{result.service} is at {result.after}; nothing was done."
    return f"{result.service}: {' -> '.join((result.before, *result.steps))}"


def stopped(service: str, stop: GateStop, width: int) -> str:
    """Return which gates stopped the service, and what is missing."""
    return f"{service} stays at {stop.step}:\n{gate_table(stop.results, width)}"


def stopped_line(service: str, stop: GateStop) -> str:
    """Return the same in one sentence."""
    told = "; ".join(f"{result.gate} is {result.outcome}{_lacking(result)}" for result in stop.blocking)
    return f"{service} stays at {stop.step}, because {told}."


def history(lines: Iterable[HistoryLine], width: int) -> str:
    """Return who did what, when and why."""
    rows = [
        (
            line.version,
            f"{line.at:%Y-%m-%d %H:%M:%S}",
            line.change.actor,
            line.change.kind,
            f"{line.change.from_step} -> {line.change.to_step}"
            if line.change.kind not in {Kind.PAUSED, Kind.RESUMED}
            else line.change.from_step,
            _told(line),
        )
        for line in lines
    ]
    if not rows:
        return "Nothing has happened yet."
    return table(("version", "at (UTC)", "who", "what", "step", "why, and on which evidence"), rows, width)


def _told(line: HistoryLine) -> str:
    decided = line.change.kind not in {Kind.OPERATION, Kind.TAKEN}  # these follow from the line before
    parts = [line.change.detail, f"reason: {line.change.reason}" if line.change.reason and decided else ""]
    parts += [
        f"{item['gate']} {item['outcome']}{' OVERRIDDEN' if item.get('overridden') else ''} ({item['samples']})"
        for item in line.change.evidence
    ]
    return "; ".join(part for part in parts if part)


def _channels(status: ServiceStatus, width: int) -> str:
    rows = [
        (
            name,
            f"{found.envelope} %",
            f"{found.requested} %",
            f"{found.effective} %",
            found.store,
            found.why + _people(found.people),
        )
        for name, found in status.channels.items()
    ]
    return table(("", "phase allows", "flag requests", "effective", "store", "why"), rows, width)


def _evidence(status: ServiceStatus, width: int) -> str:
    rows = []
    for item in status.evidence:
        result = item.result
        left = result.expires_at - status.now
        rows.append(
            (
                result.gate,
                f"{result.outcome}{' (overridden)' if item.overridden else ''}",
                ago(result.measured_at, status.now),
                f"{duration(left)} left" if left > timedelta(0) else "expired",
                result.detail,
            )
        )
    return table(("gate", "said", "measured", "valid", "why"), rows, width)


def _next(status: ServiceStatus) -> str:
    if not status.next_step:
        return "Next: nothing, this is the last step."
    lines = [f"Next: phase advance {status.service}   ({status.next_step.name}: {status.next_step.title})"]
    lines.append(f"Missing: {missing(status)}")
    return "\n".join(lines)


def _people(people: str) -> str:
    return f"; also {people}" if people else ""


def _lacking(result: GateResult) -> str:
    return f" ({result.samples} samples, {result.missing} missing)" if result.missing else ""
