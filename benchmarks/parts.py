"""Parts of the request path that have to cost next to nothing, each by itself: best of several rounds."""

import json
import os
import timeit
from collections.abc import Callable

import django

ROUNDS = 7
CALLS = 5_000
ROUTES = 200


def main() -> None:
    """Print microseconds per call as JSON."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.site_settings")
    django.setup()
    from router import metrics, registry
    from router.routes import Route, Scatter
    from router.testing import override_routes

    routes = [
        Route(service="orders", name=str(n), pattern=f"/api/part{n}/<int:id>/", key=Scatter()) for n in range(ROUTES)
    ]
    with override_routes(*routes):
        rows = {
            f"finding no route among {ROUTES}": best(lambda: registry.match("GET", "/static/shop.css")),
            "counting a request": best(
                lambda: metrics.record(
                    service="orders", route="list", kind="read", side="legacy", outcome="ok", seconds=0.0123
                )
            ),
        }
    metrics.reset()
    print(json.dumps(rows))


def best(call: Callable[[], object]) -> float:
    """Return the microseconds of one call in the best round."""
    return min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


if __name__ == "__main__":
    main()
