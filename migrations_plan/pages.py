"""What the commands print, as text: no measuring, no moving, no printing in here."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from migrations_plan.api import ServiceStatus
from migrations_plan.gates import GateResult
from migrations_plan.moves import Move
from migrations_plan.plan import Plan
from migrations_plan.runs import GateStop, Ran
from migrations_plan.standing import Homecoming
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
    statuses = tuple(statuses)
    owned = ("owned",) if any(one.extracted or one.between for status in statuses for one in status.owners) else ()
    rows = [
        (
            status.service,
            status.state.step
            + (" (paused)" if status.state.paused else "")
            + (" (moving)" if status.state.moving else ""),
            *(f"{status.channels[name].effective} %" for name in ("reads", "writes")),
            shadow(status),
            *(owned_by_service(status) for _ in owned),
            since(status),
            status.next_step.name if status.next_step else "-",
            missing(status),
        )
        for status in statuses
    ]
    if not rows:
        return "No service has a plan: register one in an app's strangler.py."
    headers = ("service", "step", "reads", "writes", "shadow", *owned, "how long", "next", "what is missing")
    return table(headers, rows, width)


def owned_by_service(status: ServiceStatus) -> str:
    """Return how many percent of the buckets the service owns, and how many are in between."""
    told = [f"{one.extracted} %" + (f" ({one.between} in between)" if one.between else "") for one in status.owners]
    return ", ".join(told)


def point_of_no_return(plan: Plan) -> str:
    """Say from which step on there is no way back."""
    step = plan.point_of_no_return
    if step is None:
        return "Every step of this plan can be undone."
    return f"The point of no return is {step.name}: once it is begun, nobody can go back over it."


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


def one(status: ServiceStatus, width: int, coming: Iterable[Homecoming] = ()) -> str:
    """Return everything about one service, and what it would take to bring it home."""
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
    blocks += [f"Owners of {one.aggregate}: {one}." for one in status.owners]
    blocks += [f"To go back: {homecoming(one)}" for one in coming]
    if status.gates:
        before = f"Before {status.next_step.name}" if status.next_step else f"What {state.step} has to show"
        blocks.append(f"{before}, as measured now:\n{gate_table(status.gates, width)}")
    if status.evidence:
        blocks.append(f"Recorded evidence:\n{_evidence(status, width)}")
    blocks.append(_next(status))
    return "\n\n".join(blocks)


def ladder(status: ServiceStatus) -> str:
    """Return the steps of the plan with a mark at the present one."""
    here, to = status.state.step, status.state.moving_to
    marks = {here: "->", to: ".."} if to else {here: "->"}
    lines = [f"{marks.get(step.name, ''):>4} {step.name}" for step in status.plan.steps]
    return "\n".join([*lines, point_of_no_return(status.plan)])


def gate_table(results: Iterable[GateResult], width: int) -> str:
    """Return what gates measured."""
    rows = [
        (result.gate, result.outcome, result.samples, result.minimum, result.missing, result.detail)
        for result in results
    ]
    return table(("gate", "says", "samples", "wanted", "missing", "why"), rows, width)


def moves(found: tuple[Move, ...], width: int, plan: Plan, coming: tuple[Homecoming, ...] = ()) -> str:
    """Return what would be done, in order, how each is undone, and what has to be brought home."""
    if not found:
        return "Nothing to do."
    blocks = [homecoming(one) for one in coming]
    for number, move in enumerate(found, 1):
        resumes = ", begun before and to be finished" if move.resumes else ""
        head = f"{number}. {move.from_step.name} -> {move.to_step.name}{resumes}: {move.to_step.title}"
        gates = "".join(f"\n   must hold first: {gate.name}: {gate.describe()}" for gate in move.gates)
        lines = table(("does", "undone by"), move.lines(), width - 3)
        blocks.append(f"{head}{gates}\n" + "\n".join(f"   {line}" for line in lines.splitlines()))
    if any(move.irreversible for move in found):
        blocks.append("CAREFUL: this way has a point of no return.")
    return "\n\n".join([*blocks, point_of_no_return(plan)])


def homecoming(found: Homecoming) -> str:
    """Return what has to be brought home before anything is undone, and what would be lost."""
    return "\n".join([str(found), *(f"! This would lose data, so it is refused: {one}" for one in found.problems)])


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
