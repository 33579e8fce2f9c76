"""The same forwarding without Django around it: what a mount ahead of Django could reach."""

import os
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.site_settings")

from router.forward import OutboundRequest, Upstream, outbound_headers, raw_target, send

UPSTREAM = Upstream(service="orders", store="shared", base_url=os.environ["BENCH_UPSTREAM"])


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Forward a request without a body."""
    request = OutboundRequest(
        method=environ["REQUEST_METHOD"], raw_path_qs=raw_target(environ), headers=outbound_headers(environ)
    )
    response = send(UPSTREAM, request)
    start_response(f"{response.status} {response.reason}", response.headers)
    return [response.body] if isinstance(response.body, bytes) else response.body
