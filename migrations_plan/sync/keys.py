"""Answered idempotency keys as an aggregate that changes hands together with the data that their requests changed."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error

from migrations_plan.sync.aggregates import Aggregate, Rows, declared
from migrations_plan.sync.fields import Column

MODEL = "strangler_idempotency.TravellingKey"
SETTING = "STRANGLER_IDEMPOTENCY"
FIELDS = (
    "scope",
    "subject",
    "bucket",
    "key",
    "fingerprint",
    "status",
    "content_type",
    "body",
    "location",
    "completed_at",
)


def travelling_keys(service: str) -> Aggregate:
    """Return the aggregate of a service's answered keys, to be registered on both sides: ``orders.keys`` of ``orders``.

    Its rows know their buckets, which are the service's, and it needs no peer of its own in the settings.
    """
    return Aggregate(
        name=f"{service}.keys",
        moves_with=service,
        partition_key="subject",
        bucket="bucket",
        root=Rows(model=MODEL, fields=tuple(Column(name) for name in FIELDS)),
    )


def check_travelling_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the keys that are kept to travel are declared, and that those that are declared are kept."""
    given = getattr(settings, SETTING, {})
    kept = given.get("TRAVELS", ()) if isinstance(given, dict) else ()
    found = declared()
    names = {aggregate.name for aggregate in found}
    keys = [aggregate for aggregate in found if aggregate.root.model.lower() == MODEL.lower()]
    return [*_undeclared(kept, keys), *_not_kept(kept, keys), *without_leader(keys, names)]


def _undeclared(kept: Iterable[str], keys: Iterable[Aggregate]) -> Iterator[CheckMessage]:
    for service in sorted(set(kept) - {one.moves_with for one in keys}):
        yield Error(
            f"{SETTING}['TRAVELS'] names {service!r}, and no aggregate takes its keys to the other side.",
            hint=f"In strangler.py: register(travelling_keys({service!r})), from migrations_plan.sync.keys.",
            id="strangler_sync.E011",
        )


def _not_kept(kept: Iterable[str], keys: Iterable[Aggregate]) -> Iterator[CheckMessage]:
    for one in keys:
        if not apps.is_installed("router.idempotency"):
            yield Error(
                f"The aggregate {one.name} needs the app router.idempotency.",
                hint="Add it to INSTALLED_APPS.",
                id="strangler_sync.E012",
            )
        elif one.moves_with not in set(kept):
            yield Error(
                f"The aggregate {one.name} is declared, and no key is kept to travel with {one.moves_with}.",
                hint=f"Set {SETTING}['TRAVELS'] to [{one.moves_with!r}], on both sides.",
                id="strangler_sync.E012",
            )


def without_leader(keys: Iterable[Aggregate], names: set[str]) -> Iterator[CheckMessage]:
    """Yield an error for each that changes hands with an aggregate which is not declared."""
    for one in keys:
        if one.moves_with not in names:
            yield Error(
                f"The aggregate {one.name} changes hands with {one.moves_with!r}, which is not declared.",
                hint=f"Declare the aggregate {one.moves_with!r}; it leads.",
                id="strangler_sync.E013",
            )
