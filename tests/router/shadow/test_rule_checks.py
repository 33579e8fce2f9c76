"""Mistakes in what is compared are found at start-up."""

from typing import Any

import pytest
from django.core import checks as django_checks

from router.comparing import Rules
from router.routes import Route, Visitor
from router.shadow import rule_checks
from router.testing import override_routes

pytestmark = pytest.mark.any_database


def route(**values: Any) -> Route:
    return Route(**{"service": "orders", "name": "r", "pattern": "/o/", "key": Visitor(), **values})


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({}, []),
        ({"compare": Rules(ignore=["etag"])}, []),
        ({"shadow": False}, []),
        ({"compare": {"ignore": ["etag"]}}, ["strangler.E031"]),
        ({"compare": Rules(ignore=["etag"]), "shadow": False}, ["strangler.E032"]),
    ],
)
def test_rules(values: dict[str, Any], errors: list[str]) -> None:
    with override_routes(route(**values)):
        found = rule_checks.check_rules(None)
    assert [error.id for error in found] == errors
    assert all(error.hint and __file__ in error.msg for error in found)


@pytest.mark.parametrize(("share", "errors"), [(0.05, []), (1, []), (5, ["strangler.E030"])])
def test_noise_share(settings: Any, share: float, errors: list[str]) -> None:
    settings.STRANGLER = {"SHADOW": {"NOISE_SHARE": share}}
    assert [error.id for error in rule_checks.check_noise(None)] == errors


def test_both_are_registered() -> None:
    registered = {check.__name__ for check in django_checks.registry.registry.registered_checks}  # type: ignore[attr-defined]
    assert registered >= {"check_noise", "check_rules"}
