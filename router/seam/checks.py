"""What is wrong with the operations, found at start-up."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from router.conf import conf
from router.exceptions import ConfigurationError
from router.seam.operations import declared


def register_all() -> None:
    """Register the checks."""
    register(check_operations)


def check_operations(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Find operations without a second implementation, and of services that nobody has configured."""
    found: list[CheckMessage] = []
    try:
        services = conf().services
    except ConfigurationError:
        return []  # reported by the settings' own check
    for operation in declared():
        if operation.remote_function is None:
            found.append(
                Error(
                    f"The operation {operation.label} ({operation.origin}) has no remote function: it can never move.",
                    hint=f"Declare one with @{operation.legacy.__name__}.remote, or make it a plain function again.",
                    id="strangler.E101",
                )
            )
        if operation.route.service not in services:
            known = ", ".join(sorted(services)) or "none"
            found.append(
                Error(
                    f"The operation {operation.label} ({operation.origin}) belongs to the service "
                    f"{operation.route.service!r}, which STRANGLER['SERVICES'] does not have.",
                    hint=f"Known services: {known}.",
                    id="strangler.E102",
                )
            )
    return found
