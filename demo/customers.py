"""The shop's clients as they are: browsers with a session, programs with a token, visitors, and staff."""

import random
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from demo.records import NO_SIDE, Log, Record, now

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PATIENCE = 10.0
"""Seconds after which a customer who has no right answer counts as failed."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one try brought back; status 0 means the connection broke before an answer was complete."""

    status: int
    data: Any = None
    text: str = ""
    """The page, if the answer is one."""
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def stale(self) -> bool:
        """Whether the answer says of itself that it may be behind."""
        return self.headers.get("X-Strangler-Stale") == "1"

    @property
    def comes_back(self) -> bool:
        """Whether it asks the client to come back."""
        return self.status == 503 and "Retry-After" in self.headers

    @property
    def code(self) -> str:
        """The machine-readable code of a refusal, if the answer has one."""
        return str(self.data.get("code", "")) if isinstance(self.data, dict) else ""


@dataclass(frozen=True, kw_only=True)
class RetryRule:
    """When a well-behaved client asks again: after a 503 or 409 that says when, within its patience."""

    patience: float = PATIENCE
    unsaid_delay: float = 0.5
    """The pause before asking again where the server named none, after a broken connection for example."""

    def delay(self, reply: Reply, *, elapsed: float, repeatable: bool) -> float | None:
        """Return the seconds to wait before asking again; None if this reply has to stand."""
        if not repeatable:
            return None
        if reply.status == 0:
            wait = self.unsaid_delay
        elif reply.status == 503 or (reply.status == 409 and "Retry-After" in reply.headers):
            wait = _seconds(reply.headers.get("Retry-After"), self.unsaid_delay)
        else:
            return None
        return wait if elapsed + wait < self.patience else None


def _seconds(text: str | None, default: float) -> float:
    """Read a Retry-After header given in seconds."""
    return float(text) if text is not None and text.strip().isdigit() else default


class Client:
    """One program or browser that talks to the shop, and the records of what it was answered."""

    def __init__(
        self,
        base_url: str,
        log: Log,
        *,
        token: str | None = None,
        bucket: int | None = None,
        sends_keys: bool = True,
        rule: RetryRule | None = None,
        session: requests.Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = now,
        keys: random.Random | None = None,
    ) -> None:
        self.base_url = base_url
        self.log = log
        self.bucket = bucket
        self.sends_keys = sends_keys
        self.rule = rule or RetryRule()
        self.session = session or requests.Session()
        self.session.trust_env = False
        if token is not None:
            self.session.headers["Authorization"] = f"Token {token}"
        self.token = token
        self._sleep = sleep
        self._clock = clock
        self._keys = keys or random.Random()

    def get(self, action: str, path: str, *, expect: Collection[int] = (200,)) -> Reply:
        """Ask for ``path``."""
        return self.call(action, "GET", path, expect=expect)

    def call(
        self,
        action: str,
        method: str,
        path: str,
        *,
        body: Any = None,
        expect: Collection[int] = (200,),
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        """Carry one request through, with retries as the rule allows, and record how it went."""
        headers = self._headers(method)
        # A person whose form was not answered presses the button again.
        repeatable = method in SAFE_METHODS or "Idempotency-Key" in headers or form is not None
        begun = self._clock()
        tries = 0
        while True:
            tries += 1
            left = max(0.5, self.rule.patience - (self._clock() - begun))
            reply = self._once(method, path, headers, body, form, left)
            wait = self.rule.delay(reply, elapsed=self._clock() - begun, repeatable=repeatable)
            if wait is None:
                break
            self._sleep(wait)
        seconds = self._clock() - begun
        put_off = self.log.owner_is_dead and not repeatable and reply.comes_back
        not_there_yet = self.log.owner_is_dead and reply.stale and reply.status == 404
        failure = "" if put_off or not_there_yet else self._failure(method, path, reply, expect, seconds)
        self.log.add(
            Record(
                at=now(),
                act=self.log.act,
                action=action,
                method=method,
                side=reply.headers.get("X-Strangler-Side", NO_SIDE),
                reason=reply.headers.get("X-Strangler-Reason", ""),
                status=reply.status,
                seconds=seconds,
                tries=tries,
                bucket=self.bucket,
                failure=failure,
                stale=reply.stale,
                put_off=put_off,
            )
        )
        return reply

    def login(self, username: str, password: str) -> None:
        """Begin a session the way the shop's own pages do, with Django's CSRF cookie."""
        self.get("csrf", "/api/auth/csrf/", expect=(204, 200))
        credentials = {"username": username, "password": password}
        self.call("login", "POST", "/api/auth/login/", body=credentials)

    def _headers(self, method: str) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if method in SAFE_METHODS:
            return headers
        csrf = self.session.cookies.get("csrftoken")
        if csrf and self.token is None:
            headers["X-CSRFToken"] = csrf
        if self.sends_keys:
            headers["Idempotency-Key"] = str(uuid.UUID(int=self._keys.getrandbits(128), version=4))
        return headers

    def _once(
        self, method: str, path: str, headers: dict[str, str], body: Any, form: Mapping[str, str] | None, left: float
    ) -> Reply:
        try:
            answer = self.session.request(
                method,
                self.base_url + path,
                json=body,
                data=form,
                headers=headers,
                timeout=(3.0, left),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return Reply(status=0, error=f"{type(error).__name__}: {error}"[:200])
        kind = answer.headers.get("Content-Type", "")
        if kind.startswith("text/html"):
            return Reply(status=answer.status_code, text=answer.text, headers=answer.headers)
        data = None
        if kind.startswith("application/json"):
            try:
                data = answer.json()
            except ValueError as error:
                return Reply(status=0, error=f"{method} {path}: not the JSON it says it is: {error}")
        return Reply(status=answer.status_code, data=data, headers=answer.headers)

    def _failure(self, method: str, path: str, reply: Reply, expect: Collection[int], seconds: float) -> str:
        """Return why this was no right answer in time, or nothing."""
        if reply.status in expect:
            if seconds > self.rule.patience:
                return f"{method} {path}: the right answer came after {seconds:.1f} s"
            return ""
        said = reply.error or f"{reply.status} {reply.data or reply.text!r}"[:200]
        return f"{method} {path}: expected {'/'.join(map(str, sorted(expect)))}, got {said}"
