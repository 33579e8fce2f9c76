"""What a route is: which requests belong to a service, and whose data they touch."""

import enum
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

from router.comparing.rules import NO_RULES, Rules

Key: TypeAlias = int | uuid.UUID | str
"""A partition key: the owner of the data."""


class Kind(enum.StrEnum):
    """Whether a route changes anything."""

    READ = "read"
    """Changes nothing: may be shadowed, and asked again on the other side."""
    WRITE = "write"
    """Changes something: never sent to both sides without a claimed idempotency key."""


READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Asked(NamedTuple):
    """What a key source may look at: who asks, the path's arguments, the body. A tuple, made for each request."""

    arguments: Mapping[str, Any]
    """What the converters of the pattern made of the path."""
    subject: str | None = None
    """The visitor's primary key as text, None for an anonymous one."""
    body: Callable[[], Mapping[str, Any] | None] = lambda: None
    """Parses the body when it is called; None where it is no JSON object."""


class KeySource(ABC):
    """Where a route's partition key comes from."""

    needs_subject: ClassVar[bool] = False
    """Whether the visitor has to be known first."""
    needs_body: ClassVar[bool] = False
    """Whether the request's body is parsed."""
    queries: ClassVar[int] = 0
    """How many SQL reads finding the key costs."""
    keyless: ClassVar[bool] = False
    """Whether there never is a key."""

    @abstractmethod
    def find(self, asked: Asked) -> Key | None:
        """Return the key of the request, or None where it has none."""

    @abstractmethod
    def describe(self) -> str:
        """Say in a few words where the key comes from."""


@dataclass(frozen=True)
class Visitor(KeySource):
    """The visitor owns the data: the view shows only what is theirs."""

    needs_subject: ClassVar[bool] = True

    def find(self, asked: Asked) -> Key | None:
        return asked.subject

    def describe(self) -> str:
        return "the visitor"


@dataclass(frozen=True)
class FromPath(KeySource):
    """The owner stands in the path, as the argument ``name`` of the pattern."""

    name: str

    def find(self, asked: Asked) -> Key | None:
        return usable_key(asked.arguments.get(self.name))

    def describe(self) -> str:
        return f"<{self.name}> in the path"


@dataclass(frozen=True)
class FromBody(KeySource):
    """The owner stands in the JSON body, as the field ``name``."""

    name: str
    needs_body: ClassVar[bool] = True

    def find(self, asked: Asked) -> Key | None:
        body = asked.body()
        return None if body is None else usable_key(body.get(self.name))

    def describe(self) -> str:
        return f'"{self.name}" in the body'


@dataclass(frozen=True)
class Lookup(KeySource):
    """The owner has to be looked up, with one SQL read: ``find_owner(**arguments)`` returns it, or None."""

    find_owner: Callable[..., Key | None]
    queries: ClassVar[int] = 1

    def find(self, asked: Asked) -> Key | None:
        return usable_key(self.find_owner(**asked.arguments))

    def describe(self) -> str:
        return f"{self.find_owner.__module__}.{self.find_owner.__qualname__}()"


@dataclass(frozen=True)
class Scatter(KeySource):
    """The request touches many owners' data; it moves last, when everything has moved."""

    keyless: ClassVar[bool] = True

    def find(self, asked: Asked) -> Key | None:
        return None

    def describe(self) -> str:
        return "many owners"


def usable_key(value: object) -> Key | None:
    """Return the value if it can be a key; anything else (a list, true, an empty text) is no key."""
    if isinstance(value, bool) or not isinstance(value, int | str | uuid.UUID) or value == "":
        return None
    return value


_DERIVED: Any = None  # the default of fields that __post_init__ fills in


@dataclass(frozen=True, kw_only=True)
class Route:
    """Requests that belong to a service: a pattern, its methods, and whose data they touch."""

    service: str
    name: str
    """Unique within the service: ``detail``."""
    pattern: str
    """A pattern of Django's ``path()`` with a leading slash: ``/api/orders/<int:order_id>/``."""
    methods: Collection[str] = ("GET",)
    """HTTP methods; GET brings HEAD along, as Django's views do."""
    key: KeySource | None = None
    """Where the partition key comes from."""
    kind: Kind = _DERIVED
    """Derived from the methods unless given."""
    replayable: bool = False
    """Whether the view has no effect outside its transaction, so that a refused write may be sent to the owner."""
    public: bool = False
    """Whether the answer is the same for everybody. Such reads may be forwarded ahead of Django (``router.ahead``)."""
    shadow: bool = True
    """Whether reads may be sent to the other side for comparison."""
    shadow_percent: int = 100
    """The share of the buckets whose requests are compared at most, in an order of this route's own."""
    shadow_back_percent: int = 10
    """Likewise of reads that the service answers while legacy works on the same data, and gets the copies."""
    dry_run: bool = False
    """Whether writes that legacy answers are sent to the service too, which does them, and rolls that back."""
    minted: tuple[str, ...] = ()
    """Fields of a write's answer that are made anew each time (ids, moments), so that no dry-run repeats them."""
    written: Callable[[Mapping[str, Any]], Any] | None = None
    """Makes of a write's answer the document of what it has written, which is compared as well."""
    compare: Rules = NO_RULES
    """What of both sides' answers may differ; without it, nothing."""
    origin: str = ""
    """File and line of the declaration, found by itself."""

    def __post_init__(self) -> None:
        methods = frozenset([self.methods] if isinstance(self.methods, str) else self.methods)
        methods = frozenset(method.upper() for method in methods)
        if "GET" in methods:
            methods |= {"HEAD"}
        object.__setattr__(self, "methods", methods)
        if self.kind is _DERIVED:
            object.__setattr__(self, "kind", Kind.READ if methods <= READ_METHODS else Kind.WRITE)
        if not self.origin:
            caller = sys._getframe(2)  # past this method and the generated __init__
            object.__setattr__(self, "origin", f"{caller.f_code.co_filename}:{caller.f_lineno}")

    @property
    def label(self) -> str:
        """Return the name that is unique among all services: ``orders.detail``."""
        return f"{self.service}.{self.name}"

    def partition_key(self, asked: Asked) -> Key | None:
        """Find whose data a request touches; with a Lookup key this reads the database once."""
        return None if self.key is None else self.key.find(asked)

    def __str__(self) -> str:
        return f"{self.label} ({', '.join(sorted(self.methods))} {self.pattern})"
