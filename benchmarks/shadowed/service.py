"""A service that is well, slow or broken, as BENCH_FAULT says."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.upstream import application as well

SLOW_SECONDS = 1.5


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request alike."""
    fault = os.environ.get("BENCH_FAULT", "well")
    if fault == "slow":
        time.sleep(SLOW_SECONDS)
    if fault == "broken":
        start_response("500 Internal Server Error", [("Content-Length", "0")])
        return [b""]
    return well(environ, start_response)
