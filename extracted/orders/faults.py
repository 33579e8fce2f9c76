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
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_http_methods

READS = frozenset({"GET", "HEAD", "OPTIONS"})
AFFECTED = ("/api/orders/", "/api/staff/orders/")
MAX_MS = 600_000


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong with requests for orders."""

    latency_ms: float = 0.0
    """How long each request waits before any work."""
    fail_rate: float = 0.0
    """The share of requests that are answered 500 before any work."""
    hang_after_commit_ms: float = 0.0
    """How long the answer of a write is held back after the write has committed."""

    @classmethod
    def parse(cls, given: Any) -> "Faults":
        """Return the faults in a JSON object; raise ValueError with what is wrong."""
        limits = {"latency_ms": MAX_MS, "fail_rate": 1, "hang_after_commit_ms": MAX_MS}
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
        response = self.get_response(request)
        if request.method not in READS:
            time.sleep(faults.hang_after_commit_ms / 1000)
        return response


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
