"""What happens when a step is taken or undone: immutable, idempotent, and able to describe themselves."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from django.db import router, transaction
from waffle import get_waffle_flag_model

from migrations_plan.errors import NotReady
from migrations_plan.gates import HealthReport, Measurements
from router.api import Envelope

NOTE = "Made by the migration plan: a lower percent, a group or a user narrows what the phase allows."
"""The note of the flags we create; one that a person changed is not ours any more."""
FLAGS = ("reads", "writes", "shadow")


@dataclass(frozen=True, kw_only=True)
class Passage:
    """What an operation may describe: the service, and the envelopes on both sides of the step."""

    service: str
    before: Envelope
    """What was in force before the step."""
    after: Envelope
    """What the step puts in force."""


@dataclass(frozen=True, kw_only=True)
class Context(Passage):
    """What a running operation may use as well."""

    measurements: Measurements
    actor: str = ""
    report: Callable[[str], None] = lambda text: None
    """Called by a long operation between two pieces of it, with how far it is; raises if it has to stop there."""
    note: Callable[[str], None] = lambda text: None
    """Called with what came of it, for history."""


class Operation(ABC):
    """One reversible piece of a step. Both directions may run again after a crash in their middle."""

    reversible: ClassVar[bool] = True

    @abstractmethod
    def describe(self, passage: Passage) -> str:
        """Say what ``forwards`` does."""

    @abstractmethod
    def describe_undo(self, passage: Passage) -> str:
        """Say what ``backwards`` does."""

    def preflight(self, context: Context) -> None:  # noqa: B027
        """Raise NotReady if ``forwards`` could not succeed; change nothing."""

    def brings_home(self) -> Mapping[str, frozenset[int]]:
        """Return which buckets of which aggregates ``backwards`` brings home, where they are away."""
        return {}

    @abstractmethod
    def forwards(self, context: Context) -> Envelope | None:
        """Do it; return the envelope that is in force from now on if this operation changes it."""

    @abstractmethod
    def backwards(self, context: Context) -> Envelope | None:
        """Undo it; return the envelope that is in force from now on if this operation changes it."""


@dataclass(frozen=True, kw_only=True)
class CheckUpstream(Operation):
    """Ask the service whether it is ready before any traffic goes there."""

    store: str = ""
    """Which store of it; empty: the one that answers."""

    def describe(self, passage: Passage) -> str:
        return f"ask {passage.service} ({self._store(passage)}) whether it is ready"

    def describe_undo(self, passage: Passage) -> str:
        return "nothing to undo"

    def preflight(self, context: Context) -> None:
        report = self._ask(context)
        if not report.ok:
            raise NotReady(
                f"{context.service} ({self._store(context)}) is not ready: {report.detail} "
                f"Start it, or correct STRANGLER['SERVICES'][{context.service!r}]['UPSTREAMS'], and advance again."
            )

    def forwards(self, context: Context) -> None:
        self.preflight(context)

    def backwards(self, context: Context) -> None:
        """Undo nothing: asking changed nothing."""

    def _ask(self, context: Context) -> HealthReport:
        return context.measurements.health(context.service, self._store(context))

    def _store(self, passage: Passage) -> str:
        return self.store or passage.after.store


@dataclass(frozen=True, kw_only=True)
class EnsureFlags(Operation):
    """Create the waffle flags that steer inside the envelope, so that they stand in the admin."""

    def describe(self, passage: Passage) -> str:
        return f"create the flags {', '.join(self._names(passage))} with 100 % where they do not exist"

    def describe_undo(self, passage: Passage) -> str:
        return "delete those of the flags that nobody changed"

    def forwards(self, context: Context) -> None:
        flags = get_waffle_flag_model()
        for name in self._names(context):
            flags.objects.get_or_create(name=name, defaults={"percent": 100, "superusers": False, "note": NOTE})

    def backwards(self, context: Context) -> None:
        flags = get_waffle_flag_model()
        with transaction.atomic(using=router.db_for_write(flags)):
            for flag in flags.objects.select_for_update().filter(name__in=self._names(context)):
                if _untouched(flag):
                    flag.delete()

    @staticmethod
    def _names(passage: Passage) -> list[str]:
        return [f"{passage.service}.{name}" for name in FLAGS]


@dataclass(frozen=True, kw_only=True)
class SetEnvelope(Operation):
    """Put the step's envelope in force: routers follow within their poll interval."""

    def describe(self, passage: Passage) -> str:
        return _difference(passage.before, passage.after)

    def describe_undo(self, passage: Passage) -> str:
        return _difference(passage.after, passage.before)

    def forwards(self, context: Context) -> Envelope:
        return context.after

    def backwards(self, context: Context) -> Envelope:
        return context.before


def _difference(old: Envelope, new: Envelope) -> str:
    changes = [
        f"{name} {getattr(old, name)} % -> {getattr(new, name)} %"
        for name in ("shadow", "reads", "writes")
        if getattr(old, name) != getattr(new, name)
    ]
    if old.store != new.store:
        changes.append(f"store {old.store} -> {new.store}")
    if old.owned_store != new.owned_store:
        changes.append(f"the store for what the service owns {old.owned_store} -> {new.owned_store}")
    copies = old.shadow_store or old.store, new.shadow_store or new.store
    if copies != (old.store, new.store):
        changes.append(f"shadow to the store {copies[0]} -> {copies[1]}")
    return f"allow {', '.join(changes)}" if changes else "allow what is allowed already"


def _untouched(flag: object) -> bool:
    plain: dict[str, object] = {"everyone": None, "percent": 100, "testing": False, "superusers": False, "staff": False}
    plain |= {"authenticated": False, "languages": "", "rollout": False, "note": NOTE}
    if any(getattr(flag, name) != value for name, value in plain.items()):
        return False
    return not any(getattr(flag, name).exists() for name in ("users", "groups") if hasattr(flag, name))
