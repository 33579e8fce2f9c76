"""Each mistake in what is to be compared is an error that says where it is and what to do."""

from typing import Any

import pytest
from django.core.checks import CheckMessage

from router.routes import Route, Visitor
from router.shadow import checks
from router.testing import override_routes

SERVICE = {"UPSTREAMS": {"shared": "http://127.0.0.1:8101"}, "SECRET": "s" * 32}


def of(settings: Any, route: dict[str, Any], service: dict[str, Any] = SERVICE, **shadow: Any) -> list[CheckMessage]:
    settings.STRANGLER = {"SERVICES": {"orders": service}, "SHADOW": shadow}
    declared = Route(service="orders", name="place", pattern="/orders/", key=Visitor(), **route)
    with override_routes(declared):
        found = [*checks.check_guard(None), *checks.check_shadowed_routes(None)]
    assert all(message.hint for message in found)
    return found


def test_what_is_right_is_right(settings: Any) -> None:
    assert of(settings, {"methods": ("POST",), "dry_run": True, "shadow_percent": 0, "shadow_back_percent": 100}) == []


def test_a_dry_run_of_a_read(settings: Any) -> None:
    (error,) = of(settings, {"dry_run": True})
    assert error.id == "strangler.E020"
    assert "'orders.place'" in error.msg
    assert error.msg.startswith(__file__)


def test_a_dry_run_by_a_service_without_an_address(settings: Any) -> None:
    (error,) = of(settings, {"methods": ("POST",), "dry_run": True}, {**SERVICE, "UPSTREAMS": {}})
    assert error.id == "strangler.E021"
    assert "['UPSTREAMS']" in (error.hint or "")


@pytest.mark.parametrize("value", [-1, 101, 0.5, "10", True])
@pytest.mark.parametrize("name", ["shadow_percent", "shadow_back_percent"])
def test_no_percentage(settings: Any, name: str, value: Any) -> None:
    (error,) = of(settings, {name: value})
    assert error.id == "strangler.E022"
    assert repr(value) in error.msg


@pytest.mark.parametrize("shadow", [{"SLOW_FACTOR": 1.0}, {"MEMORY_SHARE": 1.5}])
def test_limits_that_are_none(settings: Any, shadow: dict[str, float]) -> None:
    (error,) = of(settings, {}, **shadow)
    assert error.id == "strangler.E019"
    assert str(next(iter(shadow.values()))) in error.msg
