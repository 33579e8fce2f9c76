"""The orders service on its own store, as a real process beside the one on the shared store."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.extracted.conftest import SECRET, Service
from tests.own import ALIAS
from tests.processes import database_url, free_port, gunicorn, start_process


@pytest.fixture(scope="session")
def own_process(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Run the service with gunicorn on the test database of the own store for the whole session."""
    with django_db_blocker.unblock():
        database = database_url(ALIAS)
    env = {"ORDERS_STORE": "own", "ORDERS_OWN_DATABASE_URL": database, "STRANGLER_SECRET_ORDERS": SECRET}
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = gunicorn("extracted.orders.wsgi", port, workers=1, threads=2)
    with django_db_blocker.unblock(), start_process(command, env, f"{url}/health/ready/") as process:
        yield Service(url=url, process=process, faults_file=tmp_path_factory.mktemp("own") / "faults.json")
