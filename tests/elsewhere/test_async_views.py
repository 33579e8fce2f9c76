"""Async views of a monolith: the router and the view look the user up once between them."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.http import HttpRequest
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from router.testing import override_envelope, override_flag
from tests.core.port import Project

pytestmark = pytest.mark.django_db(databases="__all__")
ROUTER = "router.middleware.StranglerMiddleware"


def looking_early(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Ask who the visitor is, as an async middleware before the router may."""

    async def middleware(request: HttpRequest) -> Any:
        await request.auser()
        return await get_response(request)

    return middleware


looking_early.async_capable, looking_early.sync_capable = True, False  # type: ignore[attr-defined]


@pytest.mark.parametrize("early", [False, True])
def test_the_user_is_looked_up_once(project: Project, ann: Any, settings: Any, early: bool) -> None:
    def queries() -> int:
        browser = AsyncClient()
        browser.force_login(ann)
        with CaptureQueriesContext(connections["default"]) as found:
            assert async_to_sync(browser.get)("/later/").status_code == 200
        return len(found)

    if early:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE]
        settings.MIDDLEWARE.insert(settings.MIDDLEWARE.index(ROUTER), f"{__name__}.looking_early")
    with override_envelope("loans", reads=100), override_flag("loans.reads", users={"somebody else"}):
        with_router = queries()
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != ROUTER]
    assert queries() == with_router == 1
