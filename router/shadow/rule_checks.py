"""What is wrong with comparisons as they are declared and set, found at start-up."""

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.core.checks import CheckMessage, Error

from router import registry
from router.comparing.rules import NO_RULES, Rules
from router.conf import SETTING, conf
from router.exceptions import ConfigurationError


def check_noise(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report a share that is none."""
    try:
        share = conf().shadow.noise_share
    except ConfigurationError:
        return []  # reported by the settings' own check
    if share <= 1:
        return []
    return [
        Error(
            f"{SETTING}['SHADOW']['NOISE_SHARE'] is {share}, which is no share of the comparisons.",
            hint="Use a number up to 1: 0.05 asks the answering side twice in one comparison of twenty.",
            id="strangler.E030",
        )
    ]


def check_rules(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report rules that are none, and rules of routes that are never compared."""
    found: list[CheckMessage] = []
    for route in registry.routes():
        if not isinstance(route.compare, Rules):
            found.append(
                Error(
                    f"{route.origin}: compare of the route {route.label!r} is {route.compare!r}.",
                    hint="Declare it with router.comparing: compare=Rules(ignore=['etag']).",
                    id="strangler.E031",
                )
            )
        elif route.compare is not NO_RULES and not route.shadow:
            found.append(
                Error(
                    f"{route.origin}: the route {route.label!r} has comparison rules and is never compared.",
                    hint="Take out compare, or shadow=False.",
                    id="strangler.E032",
                )
            )
    return found
