"""One customer, one decision: in the middleware, in a Celery worker, and in what ``route explain`` says."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.acceptance.conftest import Customer, House
from tests.acceptance.decider import application
from tests.processes import UNTRACED, database_url, start_process

pytestmark = [pytest.mark.acceptance, pytest.mark.any_database]

PATHS = (("GET", "/api/orders/"), ("GET", "/api/orders/1/"))


def test_middleware_celery_and_explain_agree(
    house: House, stand_at: Callable[..., None], make_customer: Callable[..., Customer], tmp_path: Path, capsys
) -> None:
    stand_at("shared.reads@50", reads=50)
    customers = [make_customer() for _ in range(12)]
    celery = application(tmp_path)
    worker = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tests.acceptance.decider",
        "worker",
        "-P",
        "solo",
        "-l",
        "WARNING",
    ]
    env = {
        **UNTRACED,
        "DECIDER_FOLDER": str(tmp_path),
        "SHOP_DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
    }
    with start_process(worker, env) as process:
        results = {
            (method, path, customer.user.pk): celery.send_task("decide", args=(method, path, str(customer.user.pk)))
            for customer in customers
            for method, path in PATHS
        }
        by_celery = {asked: result.get(timeout=60) for asked, result in results.items()}
        process.kill()  # one that ends in peace takes five seconds over it
    by_middleware, explained = {}, {}
    for customer in customers:
        for method, path in PATHS:
            asked = (method, path, customer.user.pk)
            by_middleware[asked] = customer.call(method, path).headers["X-Strangler-Side"]
            call_command("route", "explain", method, path, "--user", str(customer.user.pk), "--json")
            explained[asked] = json.loads(capsys.readouterr().out)["side"]
    assert by_celery == by_middleware == explained
    assert set(by_middleware.values()) == {"legacy", "extracted"}
