"""Legacy asked a second time, for a comparison, finds the request as it reached the router the first time."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from router import metrics
from router.models import TrafficCount
from router.shadow import pool
from router.testing import override_envelope
from tests.core.port import Project
from tests.router.upstreams import Received, Recorder

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)
GERMAN = {"Accept-Language": "de"}


@pytest.mark.parametrize("on_loop", [False, True], ids=["wsgi", "asgi"])
def test_the_language_is_that_of_the_client(project: Project, upstream: Recorder, ann: Any, on_loop: bool) -> None:
    """The service lags at first; then both sides say the same, in German, with no LocaleMiddleware in between."""
    browser: Any = AsyncClient() if on_loop else Client()
    browser.force_login(ann)
    get = async_to_sync(browser.get) if on_loop else browser.get
    same = get("/mine/", headers=GERMAN)
    assert same.json()["title"] == "Ja"

    def behind_at_first(request: Received) -> tuple[int, dict[str, str], bytes]:
        body = b'{"loans": ["not yet"]}' if len(upstream.received) == 1 else same.content
        return 200, {"Content-Type": "application/json"}, body

    upstream.answer = behind_at_first
    with override_envelope("loans", shadow=100):
        get("/mine/", headers=GERMAN)
    assert pool.current().drain(20)
    metrics.flush()
    assert dict(TrafficCount.objects.filter(side="shadow").values_list("outcome", "count")) == {"changed": 1}
