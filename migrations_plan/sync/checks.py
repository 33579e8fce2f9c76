"""What can be wrong with sync's settings and declarations, found at start-up."""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from migrations_plan.sync.aggregates import Aggregate, Part, Rows, declared
from migrations_plan.sync.capture import install, upkeep
from migrations_plan.sync.conf import SETTING, SyncSettings, conf
from migrations_plan.sync.documents import form_of
from migrations_plan.sync.errors import DeclarationError
from migrations_plan.sync.keys import check_travelling_keys
from migrations_plan.sync.numbers import check_travelling_numbers


def register_all(tasks: ModuleType) -> None:
    """Register the checks; ``tasks`` is named so that Celery's tasks are known wherever the app is installed."""
    assert tasks
    register(check_settings)
    register(check_aggregates)
    register(check_travelling_keys)
    register(check_travelling_numbers)
    register(check_triggers, Tags.database)


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the settings can be read, and say who takes part."""
    try:
        settings = conf()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="strangler_sync.E001")]
    return list(_settings(settings))


def _settings(settings: SyncSettings) -> Iterator[CheckMessage]:
    if settings.side == "extracted" and not (settings.audience and settings.secret):
        yield Error(
            f"{SETTING} says that this program is a service, and not to whom and with what tokens are made out.",
            hint=f"Set {SETTING}['AUDIENCE'] to the service's name, {SETTING}['SECRET'] from the environment.",
            id="strangler_sync.E002",
        )


def check_aggregates(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check every declared aggregate: each column has to be spoken for, and every conversion has to exist."""
    found: list[CheckMessage] = []
    for aggregate in declared():
        try:
            form_of(aggregate)
            found.extend(_columns(aggregate))
            found.extend(_keys(aggregate))
        except DeclarationError as error:
            found.append(Error(f"The aggregate {aggregate.name}: {error}", id="strangler_sync.E003"))
    return found


def _columns(aggregate: Aggregate) -> Iterator[CheckMessage]:
    for rows in aggregate.tables:
        spoken_for = {*rows.synced_columns, *rows.unsynced}
        columns = {field.attname for field in rows.model_class._meta.concrete_fields}
        for name in sorted(columns - spoken_for):
            yield Error(
                f"The aggregate {aggregate.name} says nothing about the column {rows.model}.{name}.",
                hint="Make it part of a field, or name it in unsynced=(...) if each side keeps its own.",
                id="strangler_sync.E004",
            )
        for name in sorted(set(rows.unsynced) - columns):
            yield Error(
                f"The aggregate {aggregate.name} names {rows.model}.{name} as unsynced, and there is no such column.",
                hint=f"The columns: {', '.join(sorted(columns))}.",
                id="strangler_sync.E005",
            )


def _keys(aggregate: Aggregate) -> Iterator[CheckMessage]:
    if aggregate.partition_kind == "text" and not aggregate.bucket:
        yield Error(
            f"The aggregate {aggregate.name} is partitioned by the text {aggregate.partition_key}, for which SQL "
            "has no bucket.",
            hint="Keep router.buckets.bucket() in a column of the root and name it: bucket=...",
            id="strangler_sync.E006",
        )
    aliases = {rows.alias for rows in aggregate.tables}
    if len(aliases) > 1:
        yield Error(
            f"The tables of the aggregate {aggregate.name} are in several databases: {', '.join(sorted(aliases))}.",
            hint="An aggregate is written in one transaction, so its tables have to be in one database.",
            id="strangler_sync.E007",
        )
    for rows in aggregate.tables:
        yield from _inherited(aggregate, rows)


def _inherited(aggregate: Aggregate, rows: Rows) -> Iterator[CheckMessage]:
    parents = [model._meta.label for model in rows.model_class._meta.parents]
    if parents:
        yield Error(
            f"{rows.model} of the aggregate {aggregate.name} keeps columns in the tables of {', '.join(parents)}.",
            hint="Declare each table as a part of its own; a model with multi-table inheritance cannot be one.",
            id="strangler_sync.E008",
        )
    if isinstance(rows, Part) and rows.model_class is aggregate.root.model_class:
        yield Error(
            f"{rows.model} is root and part of the aggregate {aggregate.name}.",
            hint="A table is one of them.",
            id="strangler_sync.E009",
        )


def check_triggers(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the triggers that somebody installed are still there (`check --database default`)."""
    found: list[CheckMessage] = []
    for aggregate in declared():
        if aggregate.alias not in (databases or ()) or not install.tables_exist(aggregate):
            continue
        if not upkeep.installed(aggregate):
            continue
        wrong = [f"{one.name} ({one.health})" for one in install.status(aggregate) if not one.works]
        if wrong:
            found.append(
                Error(
                    f"Changes of {aggregate.name} may go unseen: {', '.join(wrong)}.",
                    hint=f"`sync install {aggregate.name}` puts the triggers back and marks everything anew.",
                    id="strangler_sync.E010",
                )
            )
    return found
