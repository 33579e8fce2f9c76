"""Operations: functions of the monolith with a second implementation in a service, and the switch between both."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar

from router import metrics, snapshot
from router.comparing.rules import NO_RULES, Rules
from router.decide import Decision, Facts, decide, decide_for, needs_identity
from router.handover import own_writes
from router.handover.owners import owner_if_known
from router.identity import Identity
from router.metrics import Outcome
from router.routes import Key, Kind, Route
from router.seam import reads, writes
from router.seam.client import Client
from router.seam.errors import SeamMisused
from router.snapshot import Snapshot

P = ParamSpec("P")
R = TypeVar("R")

Keyed = Callable[..., Key | None]
"""Gets the operation's arguments, returns the partition key: the owner of the data, or None for many owners."""
Identified = Callable[..., Identity]
"""Gets the operation's arguments, returns who the service is told the client is."""
Refusal = Callable[[Exception], tuple[int, Any] | None]
"""Gets what legacy raised, returns the answer it stands for, or None for a crash."""
MONOLITH = "monolith"
"""Who asks, where the operation is about nobody in particular."""

_operations: dict[str, "Seam[..., Any]"] = {}


def declared() -> tuple["Seam[..., Any]", ...]:
    """Return all declared operations, sorted by label."""
    return tuple(operation for _, operation in sorted(_operations.items()))


class Seam(ABC, Generic[P, R]):
    """One operation. Calling it runs the side that is due; it has the signature of the legacy implementation."""

    kind: ClassVar[Kind]
    method: ClassVar[str]

    def __init__(
        self,
        label: str,
        legacy: Callable[P, R],
        *,
        key: Keyed | None,
        identity: Identified | None,
        refusal: Refusal | None,
        shadow: bool = False,
        compare: Rules = NO_RULES,
    ) -> None:
        service, _, name = label.partition(".")
        if not service or not name:
            raise SeamMisused(f"{label!r} names no operation. Use service.name, for example orders.place.")
        self.label = label
        self.legacy = legacy
        """The monolith's implementation, without the switch."""
        self.remote_function: Callable[Concatenate[Client, P], R] | None = None
        """The implementation in the service."""
        self.origin = _origin(legacy)
        self.route = Route(
            service=service,
            name=f"seam:{name}",
            pattern="",
            methods=(self.method,),
            kind=self.kind,
            shadow=shadow,
            compare=compare,
            origin=self.origin,
        )
        self._key = key
        self._identity = identity
        self._refusal = refusal
        self._nobody = Facts(method=self.method, route=self.route)
        functools.update_wrapper(self, legacy)
        _declare(self)

    @abstractmethod
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Carry the operation out."""

    def remote(self, function: Callable[Concatenate[Client, P], R]) -> Callable[Concatenate[Client, P], R]:
        """Declare the implementation in the service: it gets a ``Client`` first, then the operation's arguments."""
        if self.remote_function is not None:
            known, second = _origin(self.remote_function), _origin(function)
            raise SeamMisused(f"{self.label} has two remote functions: {known} and {second}. Keep one.")
        self.remote_function = function
        return function

    def decision(self, *args: P.args, **kwargs: P.kwargs) -> Decision:
        """Return who would carry the operation out now, and why; nothing is run."""
        return self.decide(snapshot.current(), args, kwargs)

    def decide(self, rules: Snapshot, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Decision:
        """Decide by these rules. Looks at the arguments only where that makes a difference."""
        if not needs_identity(self.route, rules):
            return decide(self._nobody, rules)
        return decide(self.facts(args, kwargs), rules)

    def facts(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
        """Return what a decision about a call may depend on."""
        identity = self.identity(args, kwargs)
        return Facts(
            method=self.method,
            route=self.route,
            key=self.key(args, kwargs),
            subject=identity.subject,
            staff=identity.staff,
            superuser=identity.superuser,
            authenticated=identity.authenticated,
        )

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Key | None:
        """Return whose data a call is about."""
        return None if self._key is None else self._key(*args, **kwargs)

    def identity(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Identity:
        """Return who the service is told the client is: by default the owner, for whom the monolith asks."""
        if self._identity is not None:
            return self._identity(*args, **kwargs)
        key = self.key(args, kwargs)
        return Identity(subject=MONOLITH if key is None else str(key), kind="service")

    def refused(self, error: Exception) -> tuple[int, Any] | None:
        """Return the answer that an exception of legacy stands for, None for a crash."""
        return None if self._refusal is None else self._refusal(error)

    def ask(self, client: Client, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R:
        """Run the remote function."""
        if self.remote_function is None:
            raise self.unfinished()
        return self.remote_function(client, *args, **kwargs)

    def unfinished(self) -> SeamMisused:
        """Return the error of an operation that has no second implementation."""
        return SeamMisused(f"{self.label} ({self.origin}) has no remote function yet. Declare one with .remote.")

    def record(self, side: str, outcome: Outcome, started: float) -> None:
        """Count one call, as the router counts requests."""
        route = self.route
        metrics.record(
            service=route.service,
            route=route.name,
            kind=self.kind,
            side=side,
            outcome=outcome,
            seconds=monotonic() - started,
        )

    def outcome_of(self, error: Exception) -> Outcome:
        """Return what kind of answer an exception of legacy is."""
        return Outcome.SERVER_ERROR if self.refused(error) is None else Outcome.CLIENT_ERROR

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label} at {self.origin}>"


class ReadSeam(Seam[P, R]):
    """An operation that changes nothing."""

    kind = Kind.READ
    method = "GET"

    def __init__(self, label: str, legacy: Callable[P, R], *, comparable: Callable[[R], Any] | None, **declared: Any):
        super().__init__(label, legacy, **declared)
        self.comparable: Callable[[R], Any] = comparable or _as_it_is
        """Makes of a result the JSON-able value that is compared with the other side's."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Read from the side that is due; legacy answers where the service does not."""
        rules = snapshot.current()
        decision = self.decide(rules, args, kwargs)
        if decision.unsettled and decision.bucket is not None:
            owner = owner_if_known(decision.service, decision.bucket)
            if owner is None:
                own_writes.may_be_stale()
            else:
                decision = decide_for(owner, self.facts(args, kwargs), rules)
        if decision.side == "legacy" and decision.has_left:
            own_writes.catch_up(self.label)
        if decision.side != "legacy" or decision.shadow:
            return reads.run(self, decision, args, kwargs)
        started = monotonic()
        try:
            result = self.legacy(*args, **kwargs)
        except Exception as error:
            self.record("legacy", self.outcome_of(error), started)
            raise
        self.record("legacy", Outcome.OK, started)
        return result


class WriteSeam(Seam[P, R]):
    """An operation that changes something; it takes effect once for its idempotency key."""

    kind = Kind.WRITE
    method = "POST"

    def __init__(
        self, label: str, legacy: Callable[P, R], *, answer: Callable[[R], tuple[int, Any]] | None, **declared: Any
    ):
        super().__init__(label, legacy, **declared)
        self.answer: Callable[[R], tuple[int, Any]] = answer or _done
        """Makes of a result what the service would have answered, to be kept with the idempotency key."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Have the side that is due write, under a key made here."""
        return writes.run(self, None, args, kwargs)

    def once(self, key: str) -> Callable[P, R]:
        """Return the operation under an idempotency key of the caller's: a second call gives the first one's result."""

        def keyed(*args: P.args, **kwargs: P.kwargs) -> R:
            return writes.run(self, key, args, kwargs)

        return keyed


def read(
    label: str,
    *,
    key: Keyed | None = None,
    identity: Identified | None = None,
    refusal: Refusal | None = None,
    comparable: Callable[[Any], Any] | None = None,
    shadow: bool = True,
    compare: Rules = NO_RULES,
) -> Callable[[Callable[P, R]], ReadSeam[P, R]]:
    """Make the decorated function the legacy implementation of an operation that changes nothing.

    ``key``, ``identity`` and ``refusal`` are described at their types. ``comparable`` makes of a result the JSON-able
    value that shadowing compares, by the rules of ``compare``; without ``shadow`` nothing is compared.
    """

    def declare(legacy: Callable[P, R]) -> ReadSeam[P, R]:
        return ReadSeam(
            label,
            legacy,
            comparable=comparable,
            key=key,
            identity=identity,
            refusal=refusal,
            shadow=shadow,
            compare=compare,
        )

    return declare


def write(
    label: str,
    *,
    key: Keyed | None = None,
    identity: Identified | None = None,
    refusal: Refusal | None = None,
    answer: Callable[[Any], tuple[int, Any]] | None = None,
) -> Callable[[Callable[P, R]], WriteSeam[P, R]]:
    """Make the decorated function the legacy implementation of an operation that changes something.

    It runs in a transaction of its own and changes this database only; what another process has to do comes after the
    call. ``answer`` gives status and JSON-able data of what the service would have answered to the same call, by
    default 200 and the result itself: an answer kept by either side is read by the remote function.
    """

    def declare(legacy: Callable[P, R]) -> WriteSeam[P, R]:
        return WriteSeam(label, legacy, answer=answer, key=key, identity=identity, refusal=refusal)

    return declare


def _declare(operation: "Seam[..., Any]") -> None:
    known = _operations.get(operation.label)
    if known is not None and known.origin != operation.origin:
        raise SeamMisused(
            f"The operation {operation.label} is declared twice: {known.origin} and {operation.origin}. Rename one."
        )
    _operations[operation.label] = operation


def _origin(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(function)


def _as_it_is(result: Any) -> Any:
    return result


def _done(result: Any) -> tuple[int, Any]:
    return 200, result
