"""A request that stays in legacy asks database and cache exactly as often as without the router, whoever sends it."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.authtoken.models import Token

from router.buckets import bucket
from router.shadow import pool
from router.testing import override_envelope, override_flag, override_ownership

ROUTER = "router.middleware.StranglerMiddleware"
PATHS = ["/api/orders/", "/api/orders/1/", "/api/staff/orders/", "/api/products/", "/"]

pytestmark = pytest.mark.django_db


class CountingCache(LocMemCache):
    """A cache that counts what it is asked."""

    calls = 0

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """Count and get."""
        type(self).calls += 1
        return super().get(*args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        """Count and set."""
        type(self).calls += 1
        return super().set(*args, **kwargs)


@dataclass(frozen=True)
class Cost:
    """What a request asked of others, and its answer."""

    status: int
    queries: list[str]
    cache_calls: int


@pytest.fixture(autouse=True)
def counting(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the cache's calls; comparisons are not made here, they happen off the request."""
    monkeypatch.setattr(pool, "submit", lambda job: True)
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.CountingCache"}}


def customer(*, staff: bool = False) -> User:
    """Return a user outside of bucket 0, so that an envelope of one percent leaves them in legacy."""
    pk = next(number for number in count(1000) if bucket("orders", number) > 0)
    user = User.objects.create_user(f"user-{staff}", password="x", is_staff=staff, pk=pk)
    Token.objects.create(user=user)
    return user


def anonymous() -> Client:
    return Client()


def session() -> Client:
    client = Client()
    client.force_login(customer())
    return client


def token() -> Client:
    return Client(headers={"Authorization": f"Token {Token.objects.get(user=customer()).key}"})


def staff() -> Client:
    client = Client()
    client.force_login(customer(staff=True))
    return client


def wrong_token() -> Client:
    return Client(headers={"Authorization": "Token wrong"})


def cost(client: Client, method: str, path: str, **data: Any) -> Cost:
    before = CountingCache.calls
    with CaptureQueriesContext(connection) as queries:
        response = client.generic(method, path, **data)
    assert response.headers.get("X-Strangler-Side", "legacy") == "legacy"
    return Cost(response.status_code, [query["sql"] for query in queries], CountingCache.calls - before)


@pytest.fixture(
    params=[
        "nothing diverted",
        "partly diverted",
        "flag names a group",
        "some shadowed",
        "all shadowed",
        "some owned",
        "may be owned",
    ]
)
def steering(request: pytest.FixtureRequest) -> Iterator[None]:
    """Steer in every way that leaves these customers in legacy."""
    group_flag = override_flag("orders.reads", users={"999999"})
    ways: dict[str, Any] = {
        "nothing diverted": {},
        "partly diverted": {"reads": 1, "writes": 1},
        "flag names a group": {"reads": 100, "writes": 1},
        "some shadowed": {"shadow": 1},
        "all shadowed": {"shadow": 100},
        "some owned": {},
        "may be owned": {},
    }
    owned = {"some owned": override_ownership("orders", extracted=[0]), "may be owned": override_ownership("orders")}
    with override_envelope("orders", **ways[request.param]), owned.get(request.param, nullcontext()):
        if request.param == "flag names a group":
            with group_flag, override_flag("orders.writes", staff=False, percent=0):
                yield
        else:
            yield


@pytest.mark.parametrize("who", [anonymous, session, token, staff, wrong_token])
@pytest.mark.parametrize("path", PATHS)
def test_reads_cost_the_same(steering: None, who: Callable[[], Client], path: str, settings) -> None:
    client = who()
    with_router = cost(client, "GET", path)
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != ROUTER]
    client.handler.load_middleware()
    plain = cost(client, "GET", path)
    assert with_router.status == plain.status
    assert len(with_router.queries) == len(plain.queries), with_router.queries
    assert with_router.cache_calls == plain.cache_calls


@pytest.mark.parametrize("who", [anonymous, session, token, staff, wrong_token])
@pytest.mark.parametrize("path", ["/api/orders/", "/api/orders/1/cancel/"])
def test_writes_cost_the_same(steering: None, who: Callable[[], Client], path: str, settings) -> None:
    client = who()
    body = {"data": b"{}", "content_type": "application/json"}
    with_router = cost(client, "POST", path, **body)
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != ROUTER]
    client.handler.load_middleware()
    plain = cost(client, "POST", path, **body)
    assert with_router.status == plain.status
    assert len(with_router.queries) == len(plain.queries), with_router.queries
    assert with_router.cache_calls == plain.cache_calls
