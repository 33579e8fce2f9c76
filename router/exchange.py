"""One request on its way through the router: what is known about it, worked out when it is first needed."""

import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, RawPostDataException
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from router.conf import conf
from router.csrf import SAFE_METHODS, refusal
from router.decide import Decision, Facts, bucket_for, decide, decide_for, needs_identity, samples_requests
from router.holders import Holder
from router.identity import ANONYMOUS, Identity
from router.identity.resolvers import CredentialsRejected, Resolver, resolve
from router.registry import Match
from router.routes import Asked, Kind, Route
from router.shadow import sampling
from router.snapshot import Snapshot

USERS = ("_cached_user", "_acached_user")
"""Where Django keeps the user it has looked up, for ``request.user`` and for ``request.auser()``."""


class Exchange:
    """A request that belongs to a route, and how it was decided and answered."""

    credentials_rejected = False
    """Whether the request carries credentials that no resolver believes."""
    ask_legacy: Callable[[], Any] | None = None
    """Has legacy answer a copy of the request, for comparison; None where nothing is compared."""
    note = ""
    """Why another side answered than the one decided for; empty if it was that one."""
    in_doubt: Exception | None = None
    """Why a write that may have reached the service got no answer from it; then nobody does it but under its key."""

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
        _share_user(self.request)  # an async middleware may have looked
        try:
            return resolve(self.request, _resolvers(conf().identity_resolvers))
        except CredentialsRejected:
            self.credentials_rejected = True
            return ANONYMOUS
        finally:
            _share_user(self.request)

    @property
    def asks_nobody(self) -> bool:
        """Whether legacy answers, whoever asks, and nobody compares: then neither session nor database is touched."""
        if "decision" not in self.__dict__ and needs_identity(self.route, self.snapshot):
            return False
        return self.decision.side == "legacy" and not self.decision.shadow

    def look_up(self) -> None:
        """Ask session and database for all that is needed before the answer."""
        if self.decision.side == "legacy" and not self.decision.shadow:
            return
        _ = self.identity
        if self.decision.side != "legacy":
            _ = self.forbidden

    def find_bucket(self) -> int | None:
        """Ask session and database for all that another owner needs, and return the bucket that is touched."""
        _ = self.forbidden
        return bucket_for(self.facts)

    def hand_to(self, owner: Holder) -> None:
        """Decide anew, for the owner that the data turned out to have."""
        self.decision = decide_for(owner, self.facts, self.snapshot)

    @cached_property
    def minted_key(self) -> str:
        """The idempotency key of a write whose client gave none: whoever is asked next is asked under the same."""
        return uuid.uuid4().hex

    @cached_property
    def forbidden(self) -> HttpResponse | None:
        """The answer to a request that a browser may have been tricked into, None if it may go on."""
        if self.credentials_rejected or self.request.method in SAFE_METHODS:
            return None
        return refusal(self.request, self.identity, keep_body=self.body_is_kept)

    @property
    def known_as_staff(self) -> bool:
        """Whether it has turned out already that staff asks; nobody is asked for it."""
        identity: Identity | None = self.__dict__.get("identity")
        return identity is not None and identity.staff

    @cached_property
    def decision(self) -> Decision:
        """Who answers. Looks at the client only where that makes a difference, so that most requests pay nothing."""
        if not needs_identity(self.route, self.snapshot):
            facts = Facts(method=self.request.method or "", route=self.route, sample=self._sample())
            return decide(facts, self.snapshot)
        return decide(self.facts, self.snapshot)

    def _sample(self) -> int | None:
        """Return the place of a request without a key among those that may be compared, None where all or none are."""
        if not samples_requests(self.route, self.snapshot):
            return None
        request = self.request
        return sampling.of_request(request.method or "", request.get_full_path(), int(time.time()))

    @cached_property
    def facts(self) -> Facts:
        """All that a decision may depend on."""
        identity = self.identity
        asked = Asked(subject=identity.subject, arguments=self.match.kwargs, body=self.json_body)
        key = self.route.partition_key(asked)
        return Facts(
            method=self.request.method or "",
            route=self.route,
            key=key,
            subject=identity.subject,
            staff=identity.staff,
            superuser=identity.superuser,
            authenticated=identity.authenticated,
            sample=self._sample() if key is None else None,
        )

    @property
    def host_is_ours(self) -> bool:
        """Whether Django accepts the host, for which the service builds its links."""
        try:
            return bool(self.request.get_host())
        except DisallowedHost:
            return False

    @property
    def body_is_kept(self) -> bool:
        """Whether the body is small enough to be read whole, and so to be sent a second time."""
        limit = conf().max_body_bytes
        if settings.DATA_UPLOAD_MAX_MEMORY_SIZE is not None:
            limit = min(limit, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        return hasattr(self.request, "_body") or self.content_length <= limit

    @property
    def may_change_hands(self) -> bool:
        """Whether the data may have, or get, another owner than legacy; True as well while nobody knows."""
        return self.route.service in self.snapshot.ownership or self.snapshot.version == 0

    @property
    def is_changing_hands(self) -> bool:
        """Whether somebody else may own the data by now, so that the request may be handed on."""
        known = self.snapshot.ownership.get(self.route.service)
        if known is None or known.wholly_legacy:
            return False
        return self.is_write or self.decision.unsettled

    def keep_body(self) -> None:
        """Read the body of a write that may have to be sent a second time, before a view consumes it."""
        if self.route.replayable and self.may_change_hands and self.body_is_kept:
            with suppress(RawPostDataException):  # a form that middleware has parsed already
                _ = self.request.body

    @property
    def has_body(self) -> bool:
        """Whether the body is in memory, so that it can be sent again."""
        return hasattr(self.request, "_body")

    @property
    def body_is_whole(self) -> bool:
        """Whether legacy would find all of the body: it is kept, or nobody has begun to read it."""
        return hasattr(self.request, "_body") or not getattr(self.request, "_read_started", False)

    @cached_property
    def content_length(self) -> int:
        """The length of the body as Django reads it: what the client announced, 0 if nothing or nonsense.

        Under ASGI all of it is there already, also of one that was sent in chunks.
        """
        announced = self.request.META.get("CONTENT_LENGTH")
        stream: Any = getattr(self.request, "_stream", None)
        if not announced and hasattr(self.request, "scope") and stream.seekable():
            here = stream.tell()
            length: int = stream.seek(0, os.SEEK_END) - here
            stream.seek(here)
            return length
        try:
            return max(0, int(announced or 0))
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


def _share_user(request: HttpRequest) -> None:
    """Let ``request.user`` and ``request.auser()`` know of each other's look-up, which Django keeps apart."""
    known = vars(request)
    for name, other in (USERS, USERS[::-1]):
        if name in known:
            known.setdefault(other, known[name])


@lru_cache(maxsize=8)
def _resolvers(paths: tuple[str, ...]) -> tuple[Resolver, ...]:
    return tuple(import_string(path) for path in paths)
