"""On its own store the service does no dry-runs: a checkout begins with a reservation that nothing rolls back."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from extracted.orders.own_store import models as kept
from legacy_shop.catalog.models import Product, StockReservation
from router.identity import HEADER
from router.identity.tokens import issue
from router.sagas.models import Saga
from router.service.dryrun import audience
from router.service.headers import DRY_RUN_HEADER
from tests.extracted import shop
from tests.extracted.conftest import SECRET, Service
from tests.extracted.own_store.asking import wish
from tests.own import ALIAS

pytestmark = pytest.mark.django_db(databases=["default", "own"], transaction=True)


@pytest.mark.parametrize(("method", "said"), [("OPTIONS", "ask"), ("POST", "1")])
def test_it_says_so_and_does_nothing(own: Service, customer: User, product: Product, method: str, said: str) -> None:
    headers: dict[str, Any] = {DRY_RUN_HEADER: said}
    headers[HEADER] = issue(shop.identity(customer), audience=audience("orders"), secret=SECRET)
    answer = own.call(method, "/api/orders/", body=wish(product, 2, card="tok_visa"), headers=headers)
    assert (answer.status_code, answer.headers[DRY_RUN_HEADER]) == (422, "refused")
    assert answer.json()["code"] == "unsupported"
    assert shop.on_hand(product) == 10
    assert not kept.Order.objects.exists()
    assert not Saga.objects.using(ALIAS).exists()
    assert not StockReservation.objects.exists()
