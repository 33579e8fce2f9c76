"""One request on its way through the router: what is known about it, worked out when it is first needed."""

import json
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from router.conf import conf
from router.decide import Decision, Facts, decide, needs_identity
from router.identity import ANONYMOUS, Identity
from router.identity.resolvers import CredentialsRejected, Resolver, resolve
from router.registry import Match
from router.routes import Asked, Kind, Route
from router.snapshot import Snapshot

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class Exchange:
    """A request that belongs to a route, and how it was decided and answered."""

    credentials_rejected = False
    """Whether the request carries credentials that no resolver believes."""
    note = ""
    """Why another side answered than the one decided for; empty if it was that one."""

    def __init__(self, *, request: HttpRequest, match: Match, snapshot: Snapshot) -> None:
        self.request = request
        self.match = match
        self.route: Route = match.route
        self.snapshot = snapshot
        self.started = time.monotonic()

    @property
    def is_write(self) -> bool:
        """Whether the request may change something."""
        return self.route.kind is Kind.WRITE

    @cached_property
    def identity(self) -> Identity:
        """Who asks; anonymous where the credentials prove nothing, since legacy is to say so in its own words."""
        try:
            return resolve(self.request, _resolvers(conf().identity_resolvers))
        except CredentialsRejected:
            self.credentials_rejected = True
            return ANONYMOUS

    @property
    def known_as_staff(self) -> bool:
        """Whether it has turned out already that staff asks; nobody is asked for it."""
        identity: Identity | None = self.__dict__.get("identity")
        return identity is not None and identity.staff

    @cached_property
    def decision(self) -> Decision:
        """Who answers. Looks at the client only where that makes a difference, so that most requests pay nothing."""
        if not needs_identity(self.route, self.snapshot):
            return decide(Facts(method=self.request.method or "", route=self.route), self.snapshot)
        identity = self.identity
        asked = Asked(subject=identity.subject, arguments=self.match.kwargs, body=self.json_body)
        facts = Facts(
            method=self.request.method or "",
            route=self.route,
            key=self.route.partition_key(asked),
            subject=identity.subject,
            staff=identity.staff,
            superuser=identity.superuser,
            authenticated=identity.authenticated,
        )
        return decide(facts, self.snapshot)

    @property
    def body_is_kept(self) -> bool:
        """Whether the body is small enough to be read whole, and so to be sent a second time."""
        limit = conf().max_body_bytes
        if settings.DATA_UPLOAD_MAX_MEMORY_SIZE is not None:
            limit = min(limit, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        return hasattr(self.request, "_body") or self.content_length <= limit

    @property
    def body_is_whole(self) -> bool:
        """Whether legacy would find all of the body: it is kept, or nobody has begun to read it."""
        return hasattr(self.request, "_body") or not getattr(self.request, "_read_started", False)

    @property
    def content_length(self) -> int:
        """The length the client announced, 0 if none or nonsense, as Django reads it."""
        try:
            return max(0, int(self.request.META.get("CONTENT_LENGTH") or 0))
        except ValueError:
            return 0

    def json_body(self) -> Mapping[str, Any] | None:
        """Return the body if it is a JSON object small enough to be kept."""
        if not self.body_is_kept:
            return None
        try:
            body = json.loads(self.request.body)
        except ValueError:
            return None
        return body if isinstance(body, dict) else None

    @property
    def elapsed(self) -> float:
        """Seconds since the router saw the request."""
        return time.monotonic() - self.started


@lru_cache(maxsize=8)
def _resolvers(paths: tuple[str, ...]) -> tuple[Resolver, ...]:
    return tuple(import_string(path) for path in paths)
