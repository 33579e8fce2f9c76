"""What the middleware adds to a request that stays in legacy: the shop's own stack with it and without, in turns.

Django is imported where it is used, since it has to be set up for a scratch database first.
"""

import io
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import django

ROUNDS = 1000
WARM_UP = 100
PARTIAL = 10
"""Percent of the buckets diverted in the second set; the clients measured are not among them."""

Handler = Callable[[dict[str, Any], Callable[..., Any]], Any]


def main() -> None:
    """Set up a shop in a scratch directory, measure, print the rows as JSON."""
    with tempfile.TemporaryDirectory(prefix="strangler-bench-") as folder:
        os.environ.update({"SHOP_VAR": folder, "DJANGO_SETTINGS_MODULE": "legacy_shop.settings"})
        os.environ.pop("SHOP_DATABASE_URL", None)
        django.setup()
        logging.disable(logging.CRITICAL)  # anonymous clients are refused, and Django would say so each time
        print(json.dumps(_rows()))


def _rows() -> list[dict[str, Any]]:
    from django.conf import settings
    from django.core.management import call_command
    from django.test import override_settings

    from router import snapshot
    from router.testing import override_envelope, override_snapshot

    settings.DATABASES["default"]["CONN_MAX_AGE"] = None
    call_command("migrate", verbosity=0, skip_checks=True)
    clients = _clients()
    router_in = list(settings.MIDDLEWARE)
    router_out = [name for name in router_in if name != "router.middleware.StranglerMiddleware"]
    rows = []
    with override_settings(ROOT_URLCONF="benchmarks.shop_urls", STRANGLER={**settings.STRANGLER, "POLLER": False}):
        with_it, without = _handler(router_in), _handler(router_out)
        rows.append(_row("a path of no route", "anonymous", "/elsewhere/", {}, with_it, without))
        for state in ("nothing diverted", f"{PARTIAL} % diverted, not these"):
            percent = 0 if state == "nothing diverted" else PARTIAL
            with override_snapshot(snapshot.Snapshot()), override_envelope("orders", reads=percent, writes=percent):
                for kind, headers in clients.items():
                    rows.append(_row(state, kind, "/api/orders/", headers, with_it, without))
    return rows


def _clients() -> Mapping[str, dict[str, str]]:
    """Make a customer whose bucket stays, with a session and a token."""
    from django.contrib.auth import get_user_model
    from django.test import Client
    from rest_framework.authtoken.models import Token

    from router.buckets import bucket

    number = 0
    while True:
        number += 1
        user = get_user_model().objects.create_user(username=f"customer{number}")
        if bucket("orders", user.pk) >= PARTIAL:
            break
    browser = Client()
    browser.force_login(user)
    token, _ = Token.objects.get_or_create(user=user)
    return {
        "anonymous": {},
        "session": {"HTTP_COOKIE": f"sessionid={browser.cookies['sessionid'].value}"},
        "token": {"HTTP_AUTHORIZATION": f"Token {token.key}"},
    }


def _handler(middleware: list[str]) -> Handler:
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import override_settings

    with override_settings(MIDDLEWARE=middleware):
        return WSGIHandler()


def _row(
    state: str, kind: str, path: str, headers: dict[str, str], with_it: Handler, without: Handler
) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "RAW_URI": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_ACCEPT": "application/json",
        "wsgi.url_scheme": "http",
        **headers,
    }
    times: dict[str, list[float]] = {"with": [], "without": []}
    for number in range(WARM_UP + ROUNDS):
        order = [("with", with_it), ("without", without)]
        for name, handler in order if number % 2 else reversed(order):
            seconds = _once(handler, environ)
            if number >= WARM_UP:
                times[name].append(seconds)
    medians = {name: statistics.median(values) * 1e6 for name, values in times.items()}
    pairs = zip(times["with"], times["without"], strict=True)
    added = statistics.median(more - less for more, less in pairs) * 1e6
    return {"state": state, "client": kind, "added": added, **medians}


def _once(handler: Handler, environ: dict[str, Any]) -> float:
    # Processor time of this thread: waiting for a busy machine is not the router's doing.
    fresh = {**environ, "wsgi.input": io.BytesIO()}
    started = time.thread_time()
    response = handler(fresh, lambda status, headers, exc_info=None: None)
    for _ in response:
        pass
    seconds = time.thread_time() - started
    response.close()
    if response.status_code not in {200, 401}:
        sys.exit(f"the shop answered {response.status_code}")
    return seconds


if __name__ == "__main__":
    main()
