"""The shop's entry point, which names the worker process that answers."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from legacy_shop.wsgi import application as shop

WORKER_HEADER = "X-Worker"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer as the shop does, and say which process it was."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, (WORKER_HEADER, str(os.getpid()))], *more)

    return shop(environ, start)  # type: ignore[no-any-return]
