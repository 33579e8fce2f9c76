"""A real orders service on the test database, and a stand-in for the monolith's internal listener."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings

from router.identity import HEADER, Identity
from router.identity.tokens import issue
from tests.processes import RunningProcess, database_url, free_port, gunicorn, start_process

SECRET = settings.STRANGLER["SERVICES"]["orders"]["SECRET"]
STILL_OPEN = {"kind": "charge", "state": "open", "settled_at": None}


@dataclass
class InternalListener:
    """What the monolith's internal listener was asked, and what it answers."""

    url: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Path and identity token of each call."""
    answer: Callable[[str], tuple[int, Any]] = lambda key: (200, STILL_OPEN)
    """Takes the provider key, returns status and JSON."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """The running service and a client that speaks to it as the router does."""

    url: str
    process: RunningProcess
    faults_file: Path

    def call(
        self, method: str, path: str, who: Identity | None = None, *, body: Any = None, headers: Any = None
    ) -> requests.Response:
        """Send a request in the name of ``who``; None sends no identity token at all. Bytes are sent as they are."""
        sent = dict(headers or {})
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        if data is not None:
            sent["Content-Type"] = "application/json"
        if who is not None:
            sent[HEADER] = issue(who, audience="orders", secret=SECRET)
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, data=data, headers=sent, timeout=20, allow_redirects=False)


@pytest.fixture(scope="session")
def listener_server() -> Iterator[InternalListener]:
    """Serve a stand-in for the monolith's internal listener."""
    listener = InternalListener()

    class Handler(BaseHTTPRequestHandler):
        """Record the call and answer as told."""

        def do_POST(self) -> None:
            """Answer a request to run an attempt."""
            listener.calls.append((self.path, self.headers.get(HEADER, "")))
            status, document = listener.answer(self.path.rstrip("/").split("/")[-2])
            payload = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield listener
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def listener(listener_server: InternalListener) -> InternalListener:
    """Return the internal listener's stand-in as it is before anybody called it."""
    listener_server.calls.clear()
    listener_server.answer = lambda key: (200, STILL_OPEN)
    return listener_server


@pytest.fixture(scope="session")
def service_process(
    django_db_setup: None,
    django_db_blocker: Any,
    listener_server: InternalListener,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """Run the service with gunicorn on the test database for the whole session."""
    faults_file = tmp_path_factory.mktemp("orders") / "faults.json"
    env = {
        "ORDERS_DATABASE_URL": database_url(),
        "SHOP_INTERNAL_URL": listener_server.url,
        "SHOP_INTERNAL_TIMEOUT": "1.0",
        "STRANGLER_SECRET_ORDERS": SECRET,
        "ORDERS_FAULTS": "1",
        "ORDERS_FAULTS_FILE": str(faults_file),
    }
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = gunicorn("extracted.orders.wsgi", port, workers=2, threads=2)
    with django_db_blocker.unblock(), start_process(command, env, f"{url}/health/ready/") as process:
        yield Service(url=url, process=process, faults_file=faults_file)


@pytest.fixture
def service(service_process: Service, transactional_db: None) -> Iterator[Service]:
    """Return the running service, without faults, on a database whose rows all processes see."""
    service_process.faults_file.unlink(missing_ok=True)
    yield service_process
    service_process.faults_file.unlink(missing_ok=True)


@pytest.fixture
def run_service_command(transactional_db: None) -> Callable[..., RunningProcess]:
    """Return a function that runs `python -m extracted.orders <command>` on the test database until it ends."""

    def run(*args: str, **env: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "extracted.orders", *args]
        with start_process(command, {"ORDERS_DATABASE_URL": database_url(), **env}) as process:
            return process.process.wait(30), process.output()

    return run
