"""Make the service slow or broken on purpose, in trials only.

Nothing of this is installed unless ORDERS_FAULTS=1 was set when the service started: no middleware, no URL.
"""

import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_http_methods

from router.idempotency.models import IdempotencyKey

READS = frozenset({"GET", "HEAD", "OPTIONS"})
AFFECTED = ("/api/orders/", "/api/staff/orders/")
COMPLETION = f'UPDATE "{IdempotencyKey._meta.db_table}"'
MAX_MS = 600_000


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong with requests for orders."""

    latency_ms: float = 0.0
    """How long each request waits before any work."""
    fail_rate: float = 0.0
    """The share of requests that are answered 500 before any work."""
    hang_before_commit_ms: float = 0.0
    """How long the transaction of a write with an idempotency key stays open once all of its work is done."""
    hang_after_commit_ms: float = 0.0
    """How long the answer of a write is held back after the write has committed."""

    @classmethod
    def parse(cls, given: Any) -> "Faults":
        """Return the faults in a JSON object; raise ValueError with what is wrong."""
        limits = {name: 1 if name.endswith("_rate") else MAX_MS for name in cls.__dataclass_fields__}
        if not isinstance(given, dict) or not given.keys() <= limits.keys():
            raise ValueError(f"Send a JSON object with any of {', '.join(limits)}.")
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limits[name]:
                raise ValueError(f"{name}={value!r} is not a number from 0 to {limits[name]}.")
        return cls(**given)


class FaultFile:
    """The faults of all worker processes, in one small file that is replaced as a whole."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def read(self) -> Faults:
        """Return the faults as they are now; a missing file means none."""
        try:
            return Faults(**json.loads(self.path.read_bytes()))
        except FileNotFoundError:
            return Faults()

    def write(self, faults: Faults) -> None:
        """Put ``faults`` into effect for every worker from its next request on."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, prefix=self.path.name, delete=False) as draft:
            json.dump(asdict(faults), draft)
        os.replace(draft.name, self.path)


class FaultMiddleware:
    """Apply the faults to requests for orders, around everything else the service does."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.file = FaultFile(str(settings.FAULTS_FILE))

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Wait, fail or hold the answer back, as told."""
        if not request.path_info.startswith(AFFECTED):
            return self.get_response(request)
        faults = self.file.read()
        time.sleep(faults.latency_ms / 1000)
        if random.random() < faults.fail_rate:
            return JsonResponse({"detail": "This failure was asked for at /faults/."}, status=500)
        with connection.execute_wrapper(_HoldTheCommit(faults.hang_before_commit_ms)):
            response = self.get_response(request)
        if request.method not in READS:
            time.sleep(faults.hang_after_commit_ms / 1000)
        return response


class _HoldTheCommit:
    """Wait once, before a request completes its key: the last thing a write does in its transaction."""

    def __init__(self, milliseconds: float) -> None:
        self.milliseconds = milliseconds

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Execute a statement."""
        if self.milliseconds and sql.startswith(COMPLETION) and connection.in_atomic_block:
            time.sleep(self.milliseconds / 1000)
            self.milliseconds = 0
        return execute(sql, params, many, context)


@require_http_methods(["GET", "POST"])
def faults_view(request: HttpRequest) -> HttpResponse:
    """Show the faults in effect, or replace them all by those in the body."""
    file = FaultFile(str(settings.FAULTS_FILE))
    if request.method == "POST":
        try:
            file.write(Faults.parse(json.loads(request.body)))
        except ValueError as error:
            return JsonResponse({"detail": str(error)}, status=400)
    return JsonResponse(asdict(file.read()))
