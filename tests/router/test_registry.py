"""Which route a request belongs to: as Django's URL patterns would say, but without trying them all."""

import sys
import types
from typing import Any

import pytest
from django.urls.resolvers import RoutePattern
from hypothesis import given
from hypothesis import strategies as st

from router import registry
from router.routes import Route, Visitor
from router.testing import override_routes


def route(pattern: str, name: str = "r", methods: tuple[str, ...] = ("GET",)) -> Route:
    return Route(service="orders", name=name, pattern=pattern, methods=methods, key=Visitor())


def matched(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    found = registry.match(method, path)
    return None if found is None else (found.route.name, dict(found.kwargs))


ROUTES = (
    route("/api/orders/", "list"),
    route("/api/orders/", "place", ("POST",)),
    route("/api/orders/<int:order_id>/", "detail"),
    route("/api/orders/<int:order_id>/cancel/", "cancel", ("POST",)),
    route("/api/orders/<uuid:token>/", "by-token"),
    route("/api/orders/latest/", "latest"),
    route("/<slug:shop>/orders/", "of-shop"),
    route("/files/<path:name>", "file"),
    route("/", "home"),
)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/orders/", ("list", {})),
        ("HEAD", "/api/orders/", ("list", {})),
        ("POST", "/api/orders/", ("place", {})),
        ("PUT", "/api/orders/", None),
        ("get", "/api/orders/", None),
        ("", "/api/orders/", None),
        ("GET", "/api/orders", None),
        ("GET", "/api/orders/7/", ("detail", {"order_id": 7})),
        ("GET", "/api/orders/7", None),
        ("GET", "/api/orders/7/cancel/", None),
        ("POST", "/api/orders/7/cancel/", ("cancel", {"order_id": 7})),
        ("GET", "/api/orders/x/", None),
        ("GET", "/api/orders/-7/", None),
        ("GET", "/api/orders/" + "7" * 5000 + "/", None),  # Python refuses to read that many digits
        ("GET", "/api/orders/latest/", ("latest", {})),
        ("GET", "/acme/orders/", ("of-shop", {"shop": "acme"})),
        ("GET", "/files/a/b.txt", ("file", {"name": "a/b.txt"})),
        ("GET", "/", ("home", {})),
        ("GET", "", None),
        ("GET", "/api/products/", None),
        ("GET", "/api/orders/7/\n", None),
        ("GET", "//api/orders/", None),
        ("GET", "/API/orders/7/", None),
    ],
)
def test_match(method: str, path: str, expected: tuple[str, dict[str, Any]] | None) -> None:
    with override_routes(*ROUTES):
        assert matched(method, path) == expected


def test_the_first_declared_wins_whatever_is_more_specific() -> None:
    wide, narrow = route("/api/<str:a>/<str:b>/", "wide"), route("/api/orders/latest/", "narrow")
    with override_routes(wide, narrow):
        assert matched("GET", "/api/orders/latest/") == ("wide", {"a": "orders", "b": "latest"})
    with override_routes(narrow, wide):
        assert matched("GET", "/api/orders/latest/") == ("narrow", {})


SEGMENTS = ["api", "orders", "7", "latest", "<int:a>", "<str:b>", "<slug:c>", "x-1"]


@given(
    patterns=st.lists(st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4, unique=True), min_size=1, max_size=8),
    path=st.lists(st.sampled_from(["api", "orders", "7", "latest", "x-1", "ö"]), min_size=0, max_size=4),
)
def test_the_index_finds_what_trying_all_in_order_finds(patterns: list[list[str]], path: list[str]) -> None:
    routes = [route("/" + "".join(f"{part}/" for part in parts), str(n)) for n, parts in enumerate(patterns)]
    asked = "/" + "".join(f"{part}/" for part in path)
    expected = None
    for candidate in routes:
        tried = RoutePattern(candidate.pattern[1:], is_endpoint=True).match(asked[1:])
        if tried is not None:
            expected = (candidate.name, tried[2])
            break
    with override_routes(*routes):
        assert matched("GET", asked) == expected


@pytest.mark.parametrize(
    "pattern", ["orders/", "/orders/<wrong:id>/", "/orders/<int:id", "/orders/<int:1d>/", "/<a>/<a>/"]
)
def test_an_unusable_pattern_is_kept_for_the_checks_and_matches_nothing(pattern: str) -> None:
    with override_routes(route(pattern, "bad"), route("/orders/", "good")):
        assert [kept.name for kept in registry.routes()] == ["bad", "good"]
        assert matched("GET", "/orders/") == ("good", {})
        assert isinstance(registry.compile_pattern(pattern), str)


def test_register_adds_to_what_is_there_and_is_seen_at_once() -> None:
    with override_routes(route("/a/", "a")):
        assert matched("GET", "/b/") is None
        registry.register(route("/b/", "b"))
        assert matched("GET", "/b/") == ("b", {})
        assert matched("GET", "/a/") == ("a", {})


def test_overriding_ends() -> None:
    before = registry.routes()
    with override_routes(), override_routes(route("/a/")):
        assert len(registry.routes()) == 1

    assert registry.routes() == before


def test_services_are_sorted_and_without_doubles() -> None:
    others = [Route(service=service, name="r", pattern=f"/{service}/") for service in ("users", "orders", "users")]
    with override_routes(*others):
        assert registry.services() == ("orders", "users")


def test_autodiscover_imports_the_strangler_module_of_every_app(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    monkeypatch.setattr(registry, "autodiscover_modules", imported.append)

    registry.autodiscover()

    assert imported == ["strangler"]


def test_the_shop_declares_its_order_routes() -> None:
    assert isinstance(sys.modules["legacy_shop.orders.strangler"], types.ModuleType)
    found = {name for name, _ in filter(None, (matched(*asked) for asked in SHOP))}

    assert found == {"list", "place", "detail", "cancel", "address", "staff-list", "staff-detail"}
    assert matched("POST", "/api/orders/7/pay/") is None


SHOP = (
    ("GET", "/api/orders/"),
    ("POST", "/api/orders/"),
    ("GET", "/api/orders/7/"),
    ("POST", "/api/orders/7/cancel/"),
    ("PATCH", "/api/orders/7/address/"),
    ("GET", "/api/staff/orders/"),
    ("GET", "/api/staff/orders/7/"),
)


def test_a_path_of_no_route_tries_no_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many routes there are: their literal beginnings alone say that none can match."""
    many = [route(f"/api/part{n}/<int:id>/", str(n)) for n in range(200)]
    with override_routes(*ROUTES[:5], *many):
        assert registry.match("GET", "/api/part7/3/") is not None
        monkeypatch.setattr(RoutePattern, "match", lambda self, path: pytest.fail(f"{self} was tried"))
        assert registry.match("GET", "/static/shop.css") is None


@pytest.mark.parametrize(
    ("pattern", "prefix", "normal", "example"),
    [
        ("/a/", "/a/", "/a/", "/a/"),
        ("/a/<int:b>/", "/a/", "/a/<int>/", "/a/0/"),
        ("/a/<b>/", "/a/", "/a/<str>/", "/a/0/"),
        ("/a/<str:c>/", "/a/", "/a/<str>/", "/a/0/"),
        ("/<slug:x>-<int:y>", "/", "/<slug>-<int>", "/0-0"),
    ],
)
def test_what_is_made_of_a_pattern(pattern: str, prefix: str, normal: str, example: str) -> None:
    made = (registry.literal_prefix(pattern), registry.normalised(pattern), registry.example(pattern))

    assert made == (prefix, normal, example)
