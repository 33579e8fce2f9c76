"""The service as a process: who it listens to, what it says of itself, what it refuses to do."""

import json
import threading
import time
from typing import Any

import pytest
import requests
from django.db import connection, transaction
from rest_framework.authtoken.models import Token

from legacy_shop.catalog.models import Stock
from legacy_shop.orders.models import Order
from router.idempotency.models import IdempotencyKey
from router.identity import ANONYMOUS, HEADER, Identity
from router.identity.tokens import issue
from tests.extracted import shop
from tests.extracted.conftest import SECRET, Service
from tests.processes import database_url, free_port, gunicorn, start_process, wait_until

ENDPOINTS = (
    ("GET", "/api/orders/"),
    ("POST", "/api/orders/"),
    ("GET", "/api/orders/1/"),
    ("POST", "/api/orders/1/cancel/"),
    ("PATCH", "/api/orders/1/address/"),
    ("GET", "/api/staff/orders/"),
    ("GET", "/api/staff/orders/1/"),
)

INTERNAL = (
    ("POST", "/internal/orders/1/paid/"),
    ("POST", "/internal/orders/1/expire/"),
    ("POST", "/internal/orders/1/charge/"),
    ("POST", "/internal/orders/1/settle/"),
    ("POST", "/internal/resume/"),
    ("GET", "/internal/orders/sold-lines/"),
)


def wish(product: Any, quantity: int = 1) -> dict[str, Any]:
    return {"lines": [{"product": product.pk, "quantity": quantity}], "address": shop.HOME}


# --- identity -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_only_signed_identities_count(service: Service, method: str, path: str) -> None:
    ann = shop.make_customer(is_staff=True)
    someone = shop.identity(ann)
    tokens = {
        "none": None,
        "empty": "",
        "no token": "x.y.z",
        "forged": issue(someone, audience="orders", secret=SECRET + "!"),
        "for another service": issue(someone, audience="payments", secret=SECRET),
        "expired": issue(someone, audience="orders", secret=SECRET, ttl=-60),
        "no number": issue(Identity(subject="ann", kind="token", staff=False), audience="orders", secret=SECRET),
    }
    own = {
        "Authorization": f"Token {Token.objects.create(user=ann).key}",
        "Cookie": "sessionid=x",
        "X-User": str(ann.pk),
    }
    for name, token in tokens.items():
        headers = own if token is None else {**own, HEADER: token}
        answer = service.call(method, path, headers=headers)
        expected = 403 if name == "no number" and "staff" in path else 401
        assert (answer.status_code, list(answer.json())) == (expected, ["detail"]), (name, answer.text)


def test_anonymous_clients_are_told_so_as_the_shop_tells_them(service: Service) -> None:
    answer = service.call("GET", "/api/orders/", ANONYMOUS)
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Authentication credentials were not provided."}
    assert answer.headers["WWW-Authenticate"] == "Token"


# --- health and schema --------------------------------------------------------------------------------------


def test_health(service: Service) -> None:
    assert service.call("GET", "/health/").json() == {"status": "ok", "service": "orders"}
    ready = service.call("GET", "/health/ready/")
    assert ready.status_code == 200
    expected = {"status": "ready", "service": "orders", "store": "shared", "database": connection.vendor}
    assert ready.json() == expected


def test_without_its_database_the_service_lives_but_is_not_ready() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {"ORDERS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    with start_process(gunicorn("extracted.orders.wsgi", port), env, f"{url}/health/"), requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{url}/health/ready/", timeout=10)
    assert answer.status_code == 503
    assert (answer.json()["status"], answer.json()["store"]) == ("unavailable", "shared")


def test_the_schema_names_every_endpoint(service: Service) -> None:
    answer = service.call("GET", "/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert answer.status_code == 200
    described = {(method.upper(), path) for path, item in answer.json()["paths"].items() for method in item}
    assert described == {(method, path.replace("1", "{order_id}")) for method, path in (*ENDPOINTS, *INTERNAL)}


# --- shadows ------------------------------------------------------------------------------------------------


def test_shadows_read_and_never_write(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    order = shop.make_order(customer, (product, 1))
    shadow = {"X-Strangler-Shadow": "1"}
    for path in ("/api/orders/", f"/api/orders/{order.pk}/"):
        seen = service.call("GET", path, shop.identity(customer), headers=shadow)
        assert seen.content == service.call("GET", path, shop.identity(customer)).content
        assert seen.status_code == 200
    for method, path, body in (
        ("POST", "/api/orders/", wish(product)),
        ("POST", f"/api/orders/{order.pk}/cancel/", None),
        ("PATCH", f"/api/orders/{order.pk}/address/", {**shop.HOME, "city": "Bern"}),
    ):
        assert service.call(method, path, shop.identity(customer), body=body, headers=shadow).status_code == 405
    assert (Order.objects.get().status, Order.objects.get().ship_city) == (Order.Status.PENDING, "Zürich")


# --- concurrency and keys -----------------------------------------------------------------------------------


def ask_together(count: int, ask: Any) -> list[int]:
    """Return the statuses of ``count`` requests that are sent at once."""
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(ask().status_code)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return sorted(statuses)


def test_an_order_is_cancelled_once(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product(on_hand=0)
    order = shop.make_order(customer, (product, 2), status="PAID")
    shop.make_attempt(order)
    path = f"/api/orders/{order.pk}/cancel/"
    assert ask_together(4, lambda: service.call("POST", path, shop.identity(customer))) == [200, 409, 409, 409]
    assert shop.on_hand(product) == 2
    assert order.payment_attempts.filter(kind="refund").count() == 1


def test_a_cart_is_ordered_once(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    shop.fill_cart(customer, (product, 1))
    body = {"cart": True, "address": shop.HOME}
    statuses = ask_together(4, lambda: service.call("POST", "/api/orders/", shop.identity(customer), body=body))
    assert statuses == [201, 400, 400, 400]
    assert Order.objects.count() == 1


def test_one_key_orders_once(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    headers = {"Idempotency-Key": "the-same"}

    def ask() -> Any:
        return service.call("POST", "/api/orders/", shop.identity(customer), body=wish(product), headers=headers)

    assert set(ask_together(4, ask)) <= {201, 409}
    assert ask().status_code == 201
    assert Order.objects.count() == 1
    assert shop.on_hand(product) == 9


@pytest.mark.postgres
def test_a_key_taken_over_in_the_middle_of_the_work_undoes_the_work(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    answered: list[Any] = []

    def ask() -> None:
        headers = {"Idempotency-Key": "taken"}
        answered.append(
            service.call("POST", "/api/orders/", shop.identity(customer), body=wish(product), headers=headers)
        )

    thread = threading.Thread(target=ask)
    with transaction.atomic():
        Stock.objects.select_for_update().get(product=product)  # the service's work waits for this row
        thread.start()
        wait_until(IdempotencyKey.objects.filter(key="taken", holder="extracted").exists, "the service's claim")
        IdempotencyKey.objects.filter(key="taken").update(holder="legacy", token="0" * 32)
    thread.join(30)
    assert (answered[0].status_code, answered[0].json()["code"]) == (409, "idempotency_claim_lost")
    assert not Order.objects.exists()
    assert shop.on_hand(product) == 10


# --- faults -------------------------------------------------------------------------------------------------


def elapsed(service: Service, method: str, path: str, who: Identity, **more: Any) -> tuple[float, Any]:
    """Return how long a request took, and its answer."""
    begun = time.monotonic()
    answer = service.call(method, path, who, **more)
    return time.monotonic() - begun, answer


def test_faults_on_demand(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    who = shop.identity(customer)
    assert service.call("GET", "/faults/").json() == dict.fromkeys(
        ("latency_ms", "fail_rate", "hang_before_commit_ms", "hang_after_commit_ms"), 0.0
    )

    service.call("POST", "/faults/", body={"fail_rate": 1})
    assert {service.call("GET", "/api/orders/", who).status_code for _ in range(6)} == {500}
    assert service.call("POST", "/api/orders/", who, body=wish(product)).status_code == 500
    assert not Order.objects.exists()
    assert service.call("GET", "/health/ready/").status_code == 200

    service.call("POST", "/faults/", body={"latency_ms": 300})
    assert elapsed(service, "GET", "/api/orders/", who)[0] >= 0.3

    service.call("POST", "/faults/", body={"hang_before_commit_ms": 300})
    keyed = {"body": wish(product), "headers": {"Idempotency-Key": "held"}}
    assert elapsed(service, "POST", "/api/orders/", who, **keyed)[0] >= 0.3
    Order.objects.all().delete()

    service.call("POST", "/faults/", body={"hang_after_commit_ms": 1500})
    thread = threading.Thread(target=service.call, args=("POST", "/api/orders/", who), kwargs={"body": wish(product)})
    thread.start()
    wait_until(Order.objects.exists, "the order is committed")
    assert thread.is_alive()
    thread.join(30)
    assert service.call("GET", "/api/orders/", who).json()["count"] == 1


@pytest.mark.parametrize(
    "body", [None, [], {"latency": 1}, {"latency_ms": -1}, {"fail_rate": 2}, {"fail_rate": "1"}, {"latency_ms": True}]
)
def test_faults_that_make_no_sense(service_process: Service, body: Any) -> None:
    answer = service_process.call("POST", "/faults/", body=body)
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert not service_process.faults_file.exists()


def test_without_the_switch_there_are_no_faults(transactional_db: None, tmp_path: Any) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps({"fail_rate": 1.0}))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {"ORDERS_DATABASE_URL": database_url(), "ORDERS_FAULTS_FILE": str(faults), "ORDERS_FAULTS": ""}
    who = shop.identity(shop.make_customer())
    with start_process(gunicorn("extracted.orders.wsgi", port), env, f"{url}/health/") as process:
        service = Service(url=url, process=process, faults_file=faults)
        assert service.call("GET", "/faults/").status_code == 404
        assert service.call("POST", "/faults/", who, body={"fail_rate": 0}).status_code == 404
        assert service.call("GET", "/api/orders/", who).status_code == 200
    assert json.loads(faults.read_text()) == {"fail_rate": 1.0}


# --- commands and settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("migrate",), ("migrate", "--fake"), ("flush", "--no-input")])
def test_the_shared_tables_are_left_alone(run_service_command: Any, command: tuple[str, ...]) -> None:
    customer = shop.make_customer()
    code, output = run_service_command(*command)
    assert code == 1
    assert "ORDERS_STORE=shared: these tables belong to the monolith" in output
    customer.refresh_from_db()


def test_there_is_nothing_to_migrate(run_service_command: Any) -> None:
    assert run_service_command("makemigrations", "--check", "--dry-run") == (0, "No changes detected\n")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"ORDERS_STORE": "mine"}, "ORDERS_STORE='mine' is not one of shared, own"),
        ({"ORDERS_FAULTS": "1", "ORDERS_FAULTS_FILE": ""}, "ORDERS_FAULTS=1 needs ORDERS_FAULTS_FILE"),
        ({"ORDERS_FAULTS": "perhaps"}, "ORDERS_FAULTS='perhaps' is neither true nor false"),
        ({"ORDERS_DATABASE_URL": "mysql://x/y"}, "ORDERS_DATABASE_URL"),
    ],
    ids=str,
)
def test_wrong_settings_end_the_start(run_service_command: Any, env: dict[str, str], message: str) -> None:
    code, output = run_service_command("check", **env)
    assert code == 1
    assert message in output
    assert "ImproperlyConfigured" in output
