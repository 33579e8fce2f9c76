"""What can be wrong with a plan, found before it runs: each message names the line and the way out."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, router

from migrations_plan import append_only, syncing
from migrations_plan.models import HistoryEntry
from migrations_plan.operations import Passage, SetEnvelope
from migrations_plan.owning import moved_by
from migrations_plan.plan import Step
from migrations_plan.plan_registry import Registered, registered
from router.api import LEGACY, routed_services, stores

CHANNELS = ("reads", "writes", "shadow")


def check_plans(**_: Any) -> list[CheckMessage]:
    """Check every registered plan."""
    return [*_two_plans(), *_routes_without_plan(), *_each_plan()]


def check_history_trigger(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that the database itself still refuses to change history."""
    alias = router.db_for_write(HistoryEntry)
    if alias not in (databases or ()):
        return []
    connection = connections[alias]
    if (
        append_only.TABLE not in connection.introspection.table_names()
        or append_only.installed(connection) is not False
    ):
        return []
    return [
        Warning(
            f"The trigger that keeps {append_only.TABLE} append-only is missing in the database {alias!r}.",
            hint="`manage.py migrate migrations_plan` puts it back.",
            id="migrations_plan.W002",
        )
    ]


def _two_plans() -> Iterator[CheckMessage]:
    by_service: dict[str, list[str]] = defaultdict(list)
    for entry in registered():
        by_service[entry.plan.service].append(entry.origin)
    for service, origins in by_service.items():
        if len(origins) > 1:
            yield Error(
                f"{' and '.join(origins)}: {len(origins)} plans for the service {service!r}.",
                hint="A service has one way. Remove all but one.",
                id="migrations_plan.E001",
            )


def _routes_without_plan() -> Iterator[CheckMessage]:
    planned = {entry.plan.service for entry in registered()}
    for service in routed_services():
        if service not in planned:
            yield Warning(
                f"The service {service!r} has routes and no plan, so nothing of it can ever be diverted.",
                hint="Register a Plan with migrations_plan.plan_registry.register() in the strangler.py of its routes.",
                id="migrations_plan.W001",
            )


def _each_plan() -> Iterator[CheckMessage]:
    for entry in registered():
        if not entry.plan.steps:
            yield _error(
                "E003",
                entry,
                "has no step.",
                "Begin with monolith() and add the phases: phases=(monolith(), shared()).",
            )
            continue
        for problem in PROBLEMS:
            yield from problem(entry)


def _no_route(entry: Registered) -> Iterator[CheckMessage]:
    routed = routed_services()
    if entry.plan.service not in routed:
        yield _error(
            "E002",
            entry,
            "has no route.",
            f"Register its routes with router.registry.register(), or name one of: {', '.join(routed) or 'none yet'}.",
        )


def _start(entry: Registered) -> Iterator[CheckMessage]:
    start = entry.plan.start
    if start.reads or start.writes or start.shadow or start.operations:
        yield _error(
            "E004",
            entry,
            f"begins with {start.name!r}, which diverts traffic or does something.",
            "A service that was never moved is in the first step. Begin with monolith().",
        )


def _step_names(entry: Registered) -> Iterator[CheckMessage]:
    names = [*entry.plan.names]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield _error("E005", entry, f"has {names.count(name)} steps named {name!r}.", "Give each a name of its own.")
    for phase in entry.plan.phases:
        for step in phase.steps:
            if step.group != phase.name and not step.name.startswith(f"{phase.name}."):
                yield _error(
                    "E006",
                    entry,
                    f"has a step {step.name!r} in the phase {phase.name!r}.",
                    f"Steps are named for their phase: {phase.name}.{step.name.rpartition('.')[2]}",
                )


def _percentages(entry: Registered) -> Iterator[CheckMessage]:
    for step in entry.plan.steps:
        for channel in CHANNELS:
            percent = getattr(step, channel)
            if not 0 <= percent <= 100:
                yield _error("E007", entry, f"{step.name} has {channel} {percent} %.", "Use 0 to 100.")


def _ladder(entry: Registered) -> Iterator[CheckMessage]:
    for lower, upper in pairwise(entry.plan.steps):
        for channel in ("reads", "writes"):
            if lower.store == upper.store and getattr(upper, channel) < getattr(lower, channel):
                yield _error(
                    "E008",
                    entry,
                    f"shrinks: {upper.name} diverts {getattr(upper, channel)} % of {channel}, "
                    f"{lower.name} before it {getattr(lower, channel)} %.",
                    "Going forwards never moves a customer back. Put the steps in rising order.",
                )


def _without_envelope(entry: Registered) -> Iterator[CheckMessage]:
    for lower, upper in pairwise(entry.plan.steps):
        differs = any(
            getattr(lower, name) != getattr(upper, name) for name in (*CHANNELS, "store", "shadow_store", "owned_store")
        )
        if differs and not any(isinstance(operation, SetEnvelope) for operation in upper.operations):
            yield _error(
                "E009",
                entry,
                f"{upper.name} allows something else than {lower.name} and never puts it in force.",
                "Add SetEnvelope() to its operations, last.",
            )


def _descriptions(entry: Registered) -> Iterator[CheckMessage]:
    for lower, upper in pairwise(entry.plan.steps):
        passage = Passage(service=entry.plan.service, before=lower.envelope, after=upper.envelope)
        for operation in upper.operations:
            if not operation.describe(passage).strip():
                kind = "an operation" if operation.reversible else "an irreversible operation"
                yield _error(
                    "E010",
                    entry,
                    f"has in {upper.name} {kind}, {type(operation).__name__}, that does not say what it does.",
                    "Return a sentence from its describe(): `phase plan` shows it before anything runs.",
                )


def _stores(entry: Registered) -> Iterator[CheckMessage]:
    service, known = entry.plan.service, stores(entry.plan.service)
    if known is None:
        return  # the router's own checks say what a service without settings lacks
    named = {store: step.name for step in reversed(entry.plan.steps) for store in _stores_of(step)}
    for store, step in sorted(named.items()):
        if store not in known:
            yield _error(
                "E011",
                entry,
                f"names in {step} the store {store!r}, which has no upstream.",
                f"Say where it runs: STRANGLER['SERVICES'][{service!r}]['UPSTREAMS'][{store!r}] = "
                f"'http://127.0.0.1:8103', or name one of: {', '.join(known) or 'none yet'}.",
            )


def _stores_of(step: Step) -> set[str]:
    in_use = {step.store} if any(getattr(step, channel) for channel in CHANNELS) else set()
    owned = {step.owned_store} if any(moved_by(step)) else set()
    return (in_use | owned | {step.shadow_store} | _named_in(step, "store")) - {"", LEGACY}


def _aggregates(entry: Registered) -> Iterator[CheckMessage]:
    named = {aggregate: step.name for step in reversed(entry.plan.steps) for aggregate in _named_in(step, "aggregate")}
    if named and not syncing.installed():
        yield _error(
            "E013",
            entry,
            f"syncs {', '.join(sorted(named))}, and {syncing.APP} is not installed.",
            f"Add {syncing.APP!r} to INSTALLED_APPS and migrate.",
        )
        return
    known = syncing.declared()
    for aggregate, step in sorted(named.items()):
        if aggregate not in known:
            yield _error(
                "E012",
                entry,
                f"names in {step} the aggregate {aggregate!r}, which nobody declares.",
                "Declare it with migrations_plan.sync.aggregates.register() in the strangler.py of its app, or name "
                f"one of: {', '.join(known) or 'none yet'}.",
            )


def _named_in(step: Step, attribute: str) -> set[str]:
    """Return what operations and gates of a step say they are about, by the field of this name."""
    return {getattr(part, attribute, "") for part in (*step.operations, *step.gates)} - {""}


def _cutover(entry: Registered) -> Iterator[CheckMessage]:
    moves = [(step, move) for step in entry.plan.steps for move in moved_by(step)]
    for aggregate in dict.fromkeys(move.aggregate for _, move in moves):
        mine = [(step, move) for step, move in moves if move.aggregate == aggregate]
        percentages = [move.percent for _, move in mine]
        told = ", ".join(map(str, percentages))
        if percentages != sorted(set(percentages)) or percentages[0] < 1 or percentages[-1] != 100:
            yield _error(
                "E014",
                entry,
                f"brings {told} % of {aggregate!r} to the service.",
                "Use rising percentages from 1 on, the last of them 100: separate(cutover=(1, 10, 50, 100)).",
            )
        elif [move.before for _, move in mine] != [0, *percentages[:-1]]:
            yield _error(
                "E014",
                entry,
                f"brings {told} % of {aggregate!r} to the service, and home from others: "
                f"{', '.join(str(move.before) for _, move in mine)} %.",
                "A step brings home what it has brought there: `before` is the percentage of the step before.",
            )
        if len(percentages) > 1 and syncing.whole(aggregate):
            yield _error(
                "E016",
                entry,
                f"brings {told} % of {aggregate!r} to the service, whose rows are their own partition keys.",
                "A new row has no bucket before it has an id, so all change hands at once: cutover=(100,).",
            )


def _owned_under(entry: Registered) -> Iterator[CheckMessage]:
    service, known = entry.plan.service, syncing.declared()
    named = dict.fromkeys(move.aggregate for step in entry.plan.steps for move in moved_by(step))
    for aggregate in named:
        if aggregate in known and (group := syncing.owned_under(aggregate)) != service:
            yield _error(
                "E015",
                entry,
                f"moves {aggregate!r}, the owners of whose buckets are kept under {group!r}; the router looks under "
                f"{service!r}.",
                f"Call the aggregate (or the one that it moves with) {service!r}, like its service.",
            )


PROBLEMS = (
    _no_route,
    _start,
    _step_names,
    _percentages,
    _ladder,
    _without_envelope,
    _descriptions,
    _stores,
    _aggregates,
    _cutover,
    _owned_under,
)
"""What may be wrong with one plan."""


def _error(number: str, entry: Registered, text: str, hint: str) -> CheckMessage:
    return Error(
        f"{entry.origin}: the plan of {entry.plan.service!r} {text}", hint=hint, id=f"migrations_plan.{number}"
    )
