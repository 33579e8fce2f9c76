"""System checks: what is wrong with sagas shows before the first one is run."""

from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from router.sagas.conf import conf
from router.sagas.types import declared


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Report settings that mean nothing."""
    try:
        conf()
    except ImproperlyConfigured as problem:
        hint = "docs/sagas.md lists every key."
        return [Error(str(problem), hint=hint, id="strangler_sagas.E001")]
    return []


def check_types(**kwargs: Any) -> list[CheckMessage]:
    """Report types that could not be undone, or would be undone too late."""
    return [
        Error(
            f"The saga {kind.name!r} {problem}.", hint="docs/sagas.md says what goes where.", id="strangler_sagas.E002"
        )
        for kind in declared()
        for problem in kind.problems()
    ]
