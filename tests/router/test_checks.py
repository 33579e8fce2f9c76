"""Each mistake in the configuration is an error that says where it is and what to do."""

from typing import Any

import pytest
from django.core import checks as django_checks
from django.core.checks import CheckMessage, Error, Warning
from django.core.management import call_command

from router import checks, project_checks, registry
from router.routes import FromPath, KeySource, Route, Visitor
from router.testing import override_routes

SERVICE = {"UPSTREAMS": {"shared": "http://127.0.0.1:8101"}, "SECRET": "s" * 32}


def route(pattern: str = "/orders/", name: str = "r", **values: Any) -> Route:
    return Route(**{"service": "orders", "name": name, "pattern": pattern, "key": Visitor(), **values})


def only(found: list[CheckMessage]) -> CheckMessage:
    assert len(found) == 1, found
    assert found[0].hint, "an error without a way out"
    return found[0]


@pytest.fixture
def strangler(settings: Any) -> Any:
    """Set STRANGLER to a usable minimum, changed as a test likes."""

    def configure(**values: Any) -> None:
        settings.STRANGLER = {"SERVICES": {"orders": SERVICE}, **values}

    configure()
    return configure


def test_this_project_has_no_mistakes() -> None:
    assert [
        message for message in django_checks.run_checks() if message.id and message.id.startswith("strangler.")
    ] == []


def test_all_are_registered() -> None:
    registered = {check.__name__ for check in django_checks.registry.registry.registered_checks}  # type: ignore[attr-defined]

    assert registered >= {"check_settings", "check_services", "check_source", "check_project", "check_routes"}


def test_an_error_stops_the_check_command(strangler: Any) -> None:
    with override_routes(route(service="oders")), pytest.raises(Exception, match=r"strangler\.E001"):
        call_command("check")


# --- routes --------------------------------------------------------------------------------------------------
def of_routes(*routes: Route) -> list[CheckMessage]:
    with override_routes(*routes):
        return checks.check_routes(None)


def test_good_routes(strangler: Any) -> None:
    assert of_routes(route(), route("/orders/", "place", methods=("POST",)), route("/orders/<int:id>/", "detail")) == []


def test_an_unknown_service(strangler: Any) -> None:
    wrong = route(service="oders")
    error = only(of_routes(wrong))

    assert (error.id, error.hint) == ("strangler.E001", "Did you mean 'orders'?")
    assert error.msg.startswith(f"{__file__}:")
    assert wrong.origin in error.msg
    assert "'oders'" in error.msg


def test_an_unknown_service_that_is_like_none(strangler: Any) -> None:
    assert only(of_routes(route(service="warehouse"))).hint == "Add it to STRANGLER['SERVICES'] (there: orders)."


def test_a_route_without_a_key(strangler: Any) -> None:
    error = only(of_routes(route(key=None)))

    assert (error.id, "Visitor()" in (error.hint or "")) == ("strangler.E003", True)


@pytest.mark.parametrize("pattern", ["orders/", "", "/orders/<wrong:id>/", "/orders/<int:id/", "/<a>/<a>/"])
def test_an_unusable_pattern(strangler: Any, pattern: str) -> None:
    error = only(of_routes(route(pattern)))

    assert error.id == "strangler.E004"
    assert repr(pattern) in error.msg


@pytest.mark.parametrize(
    ("key", "errors"), [(FromPath("id"), []), (FromPath("customer"), ["strangler.E012"]), (Visitor(), [])]
)
def test_a_key_that_the_path_lacks(strangler: Any, key: KeySource, errors: list[str]) -> None:
    assert [error.id for error in of_routes(route("/orders/<int:id>/", key=key))] == errors


@pytest.mark.parametrize("methods", [(), ("GTE",), ("GET", "POTS")])
def test_methods_that_do_not_exist(strangler: Any, methods: tuple[str, ...]) -> None:
    assert only(of_routes(route(methods=methods))).id == "strangler.E013"


@pytest.mark.parametrize(
    ("second", "overlap"),
    [
        (route("/orders/<int:order_id>/", "other"), "GET, HEAD"),
        (route("/orders/<int:x>/", "other", methods=("HEAD",)), "HEAD"),
        (route("/orders/<int:id>/", "other", methods=("POST",)), None),
        (route("/orders/<slug:id>/", "other"), None),
    ],
)
def test_two_routes_for_one_pattern(strangler: Any, second: Route, overlap: str | None) -> None:
    first = route("/orders/<int:id>/")
    found = of_routes(first, second)
    if overlap is None:
        assert found == []
        return
    error = only(found)

    assert (error.id, f"({overlap})" in error.msg) == ("strangler.E002", True)
    assert second.origin in error.msg
    assert first.origin in (error.hint or "")


def test_two_routes_with_one_name(strangler: Any) -> None:
    assert only(of_routes(route("/a/"), route("/b/"))).id == "strangler.E015"


# --- settings ------------------------------------------------------------------------------------------------
def test_a_value_of_the_wrong_type(strangler: Any) -> None:
    strangler(POLL_SECONDS="often")
    error = only(checks.check_settings(None))

    assert (error.id, "STRANGLER['POLL_SECONDS'] is 'often'" in error.msg) == ("strangler.E010", True)
    # The others have nothing to add, and do not fall over it.
    assert checks.check_services(None) == checks.check_source(None) == []


@pytest.mark.parametrize(("key", "hint"), [("POL_SECONDS", "Did you mean 'POLL_SECONDS'?"), ("XYZ", "Take it out.")])
def test_a_key_that_means_nothing(strangler: Any, key: str, hint: str) -> None:
    strangler(**{key: 1})
    error = only(checks.check_settings(None))

    assert (error.id, error.hint, repr(key) in error.msg) == ("strangler.E011", hint, True)


@pytest.mark.parametrize(
    ("secret", "says"), [("", "is missing"), ("short", "has 5 characters"), ("s" * 31, "has 31 characters"), (None, "")]
)
def test_secrets(strangler: Any, secret: str | None, says: str) -> None:
    service = {key: value for key, value in SERVICE.items() if key != "SECRET"}
    strangler(SERVICES={"orders": service if secret is None else {**service, "SECRET": secret}})
    error = only(checks.check_services(None))

    assert (error.id, says in error.msg, "'orders'" in error.msg) == ("strangler.E005", True, True)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8101", "ftp://host", "http://", "", "/orders", "http://host:port", "http://[::1"]
)
def test_upstreams_that_are_no_urls(strangler: Any, url: str) -> None:
    strangler(SERVICES={"orders": {**SERVICE, "UPSTREAMS": {"shared": url}}})
    error = only(checks.check_services(None))

    assert (error.id, repr(url) in error.msg) == ("strangler.E006", True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8101", "https://orders.example.com", "http://[::1]:80/base/"])
def test_upstreams_that_are(strangler: Any, url: str) -> None:
    strangler(SERVICES={"orders": {**SERVICE, "UPSTREAMS": {"shared": url}}})

    assert checks.check_services(None) == []


def test_a_service_that_runs_nowhere(strangler: Any) -> None:
    strangler(SERVICES={"orders": {"SECRET": "s" * 32}})

    assert only(checks.check_services(None)).id == "strangler.E006"


class KnowsOwnersOnlyLater:
    """A source that tells owners in one of the two ways that are needed."""

    def envelopes(self) -> dict[str, Any]:
        """Return none."""
        return {}

    def ownership(self) -> dict[str, Any]:
        """Return none."""
        return {}


def test_waiting_without_looking(strangler: Any) -> None:
    strangler(HOLD={"SECONDS": 0.5, "POLL_SECONDS": 0.5})
    error = only(checks.check_hold(None))
    assert (error.id, "POLL_SECONDS" in error.hint) == ("strangler.E018", True)
    strangler(HOLD={"SECONDS": 0.5})
    assert checks.check_hold(None) == []


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nowhere.Source", "nowhere"),
        ("router.snapshot.NoSuchName", "NoSuchName"),
        ("notdotted", "notdotted"),
        ("router.snapshot.Snapshot", "no method envelopes()"),
        (f"{__name__}.KnowsOwnersOnlyLater", "ownership() and owner_now()"),
    ],
)
def test_a_source_that_is_none(strangler: Any, path: str, says: str) -> None:
    strangler(SNAPSHOT_SOURCE=path)
    error = only(checks.check_source(None))

    assert (error.id, says in error.msg) == ("strangler.E007", True)


@pytest.mark.parametrize("path", ["nowhere.resolve", "router.conf.SETTING"])
def test_a_resolver_that_is_none(strangler: Any, path: str) -> None:
    strangler(IDENTITY_RESOLVERS=[path])

    assert only(checks.check_source(None)).id == "strangler.E014"


def test_a_source_and_resolvers_that_are(strangler: Any, settings: Any) -> None:
    strangler(SNAPSHOT_SOURCE="migrations_plan.source.PlanSnapshotSource", IDENTITY_RESOLVERS=["router.conf.conf"])

    assert checks.check_source(None) == []


# --- the project ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", ["waffle.Flag", None])
def test_another_flag_model(settings: Any, model: str | None) -> None:
    settings.WAFFLE_FLAG_MODEL = model

    assert only(project_checks.check_project(None)).id == "strangler.E009"


@pytest.mark.parametrize(
    ("middleware", "says"),
    [
        ([project_checks.AUTHENTICATION], "lacks"),
        ([project_checks.MIDDLEWARE], "does not stand behind"),
        ([project_checks.MIDDLEWARE, project_checks.AUTHENTICATION], "does not stand behind"),
    ],
)
def test_a_middleware_that_cannot_work(settings: Any, middleware: list[str], says: str) -> None:
    settings.MIDDLEWARE = middleware
    error = only(project_checks.check_project(None))

    assert (error.id, says in error.msg, project_checks.AUTHENTICATION in (error.hint or "") or says != "lacks") == (
        "strangler.E008",
        True,
        True,
    )


def test_without_routes_no_middleware_is_needed(settings: Any) -> None:
    settings.MIDDLEWARE = []
    with override_routes():
        assert project_checks.check_project(None) == []
    assert registry.routes()


# --- deployment ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("secret", "debug", "warned"),
    [
        ("demo-only-secret-between-shop-and-orders", False, True),
        ("demo-only-secret-between-shop-and-orders", True, False),
        ("x" * 40, False, False),
    ],
)
def test_the_demos_secret_in_a_deployment(
    strangler: Any, settings: Any, secret: str, debug: bool, warned: bool
) -> None:
    strangler(SERVICES={"orders": {**SERVICE, "SECRET": secret}})
    settings.DEBUG = debug
    found = checks.check_secrets(None)

    assert [message.id for message in found] == (["strangler.W001"] if warned else [])
    assert all(isinstance(message, Warning) and not isinstance(message, Error) for message in found)


def test_it_is_looked_for_in_deployments_only(strangler: Any, settings: Any) -> None:
    settings.DEBUG = False
    strangler(SERVICES={"orders": {**SERVICE, "SECRET": "demo-only-secret-between-shop-and-orders"}})
    everyday, deploying = (
        {message.id for message in django_checks.run_checks(include_deployment_checks=deploy)}
        for deploy in (False, True)
    )

    assert "strangler.W001" not in everyday
    assert "strangler.W001" in deploying
