"""Placing an order is rehearsed by the running service: the answer and the document, and nothing written or charged."""

import base64
import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.authtoken.models import Token

from legacy_shop.orders.models import Order
from migrations_plan.sync.events.models import OutboxEvent
from router import breaker, metrics, registry
from router.identity import HEADER
from router.identity.tokens import issue
from router.models import ShadowMismatch, TrafficCount
from router.service.dryrun import audience
from router.service.headers import DRY_RUN_HEADER, GIVEN_HEADER
from router.shadow import pool, rehearsing
from router.testing import override_envelope, override_routes
from tests.extracted import shop
from tests.extracted.conftest import SECRET, InternalListener, Service
from tests.extracted.test_orders_writes import wish

CARD = "tok_visa"


def everything() -> list[tuple[Any, ...]]:
    """Return all that an order leaves behind anywhere."""
    return [*shop.fingerprint(), *OutboxEvent.objects.values_list()]


def rehearse(service: Service, who: User, body: Any, target: str = "/api/orders/", given: int = 201) -> Any:
    token = issue(shop.identity(who), audience=audience("orders"), secret=SECRET)
    headers = {HEADER: token, DRY_RUN_HEADER: "1", GIVEN_HEADER: str(given)}
    return service.call("POST", target, body=body, headers=headers)


def test_all_is_said_and_nothing_is_done(service: Service, listener: InternalListener) -> None:
    customer, product = shop.make_customer(), shop.make_product("12.50", on_hand=5)
    before = everything()
    answer = rehearse(service, customer, wish((product, 2), payment={"card": CARD}, note="ring"))
    assert (answer.status_code, answer.headers[DRY_RUN_HEADER]) == (200, "done"), answer.text
    envelope = answer.json()
    order = json.loads(base64.b64decode(envelope["body"]))
    assert (envelope["status"], order["total"], order["note"], order["ship_to"]) == (201, "25.00", "ring", shop.HOME)
    document = envelope["written"]
    assert (document["customer"], document["total"], document["number"]) == (customer.pk, 2500, order["number"])
    assert [(line["sku"], line["quantity"]) for line in document["lines"]] == [(product.sku, 2)]
    assert [(one["kind"], one["state"], one["card"]) for one in document["attempts"]] == [("charge", "open", CARD)]
    assert everything() == before
    assert listener.calls == []


def test_what_is_refused_is_refused_alike(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product(on_hand=1)
    before = everything()
    envelope = rehearse(service, customer, wish((product, 2)), given=409).json()
    assert (envelope["status"], json.loads(base64.b64decode(envelope["body"]))["code"]) == (409, "out_of_stock")
    assert everything() == before


def test_an_order_of_the_cart_cannot_be_repeated(service: Service) -> None:
    customer, product = shop.make_customer(), shop.make_product()
    shop.fill_cart(customer, (product, 1))
    before = everything()
    answer = rehearse(service, customer, {"cart": True, "address": shop.HOME})
    assert (answer.status_code, answer.json()["code"]) == (422, "not_repeatable")
    assert everything() == before


def test_calling_an_order_off_is_not_rehearsed(service: Service) -> None:
    """It would find the order cancelled; its view does not say that it supports it, and is not run."""
    customer, product = shop.make_customer(), shop.make_product()
    order = shop.make_order(customer, (product, 1))
    before = everything()
    answer = rehearse(service, customer, None, target=f"/api/orders/{order.pk}/cancel/")
    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported")
    assert everything() == before


def point_to(settings: Any, url: str) -> None:
    """Let the monolith find the service here."""
    strangler = copy.deepcopy(settings.STRANGLER)
    strangler["SERVICES"]["orders"]["UPSTREAMS"] = {"shared": url}
    settings.STRANGLER = strangler


class TestBesideTheMonolith:
    """A customer orders; legacy answers, and the service is asked what it would have done."""

    @pytest.fixture(autouse=True)
    def shadowed(self, service: Service, settings: Any) -> Iterator[None]:
        point_to(settings, service.url)
        for module in (metrics, breaker, pool, rehearsing):
            module.reset()
        everybody = [replace(route, shadow_percent=100) for route in registry.routes()]
        with override_envelope("orders", shadow=100), override_routes(*everybody):
            yield
        for module in (metrics, breaker, pool, rehearsing):
            module.reset()

    def place(self, body: Any, **headers: str) -> Any:
        self.customer = shop.make_customer()
        token = Token.objects.create(user=self.customer).key
        self.client = Client(headers={"Authorization": f"Token {token}", **headers})
        return self.client.post("/api/orders/", json.dumps(body), content_type="application/json")

    def compared(self) -> dict[tuple[str, str, str], int]:
        assert pool.current().drain(20)
        metrics.flush()
        rows = TrafficCount.objects.filter(side="shadow", route="place", kind="write")
        return {(row.outcome, row.store, row.cause): row.count for row in rows}

    def test_the_same_is_a_match_and_one_order_is_placed(self, listener: InternalListener) -> None:
        product = shop.make_product("12.50", on_hand=5)
        key = {"Idempotency-Key": "once"}
        assert self.place(wish((product, 2), payment=None), **key).status_code == 201
        assert self.compared() == {("match", "shared", ""): 1}
        assert (Order.objects.count(), shop.on_hand(product)) == (1, 3)
        assert OutboxEvent.objects.count() == 1
        assert listener.calls == []

    def test_refusals_match_as_well_if_they_are_about_the_request(self) -> None:
        """Those about the state of things prove nothing a moment later."""
        assert self.place(wish((shop.make_product(on_hand=1), 2))).status_code == 409
        assert self.place(wish((shop.make_product(), 0))).status_code == 400
        assert self.compared() == {("match", "shared", ""): 1, ("dropped", "shared", "conflict"): 1}

    def test_another_document_is_a_mismatch_although_the_answers_agree(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The monolith has kept another street than it says."""
        from legacy_shop.orders import api

        def otherwise(order: Order) -> Any:
            document = answered(order)
            Order.objects.filter(pk=order.pk).update(ship_street="Elsewhere 2")
            return document

        answered = api.order_document
        monkeypatch.setattr(api, "order_document", otherwise)
        monkeypatch.setattr(api, "fresh_document", lambda pk: answered(api.with_parts(Order.objects).get(pk=pk)))
        monkeypatch.setattr(api, "paid_up", lambda outcome: outcome)
        assert self.place(wish((shop.make_product(), 1))).status_code == 201
        assert self.compared() == {("mismatch", "shared", ""): 1}
        assert ShadowMismatch.objects.get().fields == ["written_document.street"]

    def test_a_piece_that_is_gone_by_now_proves_nothing(self) -> None:
        """The dry-run finds the data as it is after legacy's write: the price of asking off the request path."""
        assert self.place(wish((shop.make_product(on_hand=1), 1))).status_code == 201
        assert self.compared() == {("dropped", "shared", "dry_run_not_repeatable"): 1}

    def test_nor_does_a_cart_that_is_empty_by_now(self) -> None:
        body = {"cart": True, "address": shop.HOME}
        assert self.place(body).status_code == 400
        assert pool.current().drain(20)
        shop.fill_cart(self.customer, (shop.make_product(), 1))
        assert self.client.post("/api/orders/", json.dumps(body), content_type="application/json").status_code == 201
        assert self.compared() == {("match", "shared", ""): 1, ("dropped", "shared", "dry_run_not_repeatable"): 1}

    def test_a_stored_answer_is_not_compared(self) -> None:
        product = shop.make_product()
        customer = shop.make_customer()
        client = Client(headers={"Authorization": f"Token {Token.objects.create(user=customer).key}"})
        for _ in range(2):
            client.post(
                "/api/orders/", json.dumps(wish((product, 1))), "application/json", headers={"Idempotency-Key": "k"}
            )
        assert self.compared() == {("match", "shared", ""): 1, ("dropped", "shared", "replayed"): 1}

    def test_a_body_that_is_too_long_is_not_sent(self, settings: Any) -> None:
        settings.STRANGLER = {**settings.STRANGLER, "SHADOW": {"MAX_REQUEST_BYTES": 100}}
        assert self.place(wish((shop.make_product(), 1), note="x" * 200)).status_code == 201
        assert self.compared() == {("dropped", "shared", "request_too_large"): 1}

    def test_nothing_is_sent_to_a_service_that_does_not_say_it_does_dry_runs(self, settings: Any) -> None:
        from tests.router.upstreams import recording_upstream

        with recording_upstream() as other:
            point_to(settings, other.url)
            assert self.place(wish((shop.make_product(), 1))).status_code == 201
            assert self.compared() == {("dropped", "shared", "dry_run_unsupported"): 1}
            assert [request.method for request in other.received] == ["OPTIONS"]

    def test_a_client_cannot_ask_for_a_dry_run(self) -> None:
        with override_envelope("orders", writes=100):
            answer = self.place(wish((shop.make_product(), 1)), **{DRY_RUN_HEADER: "1"})
        assert (answer.status_code, Order.objects.count()) == (201, 1)
