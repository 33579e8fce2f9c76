"""The real orders service with a store of its own: it keeps the protocol, and the shop's orders reach it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import transaction

from legacy_shop.payments.models import PaymentAttempt
from migrations_plan.sync import database, relay
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.capture import upkeep
from migrations_plan.sync.conf import Peer
from migrations_plan.sync.conformance.__main__ import main
from migrations_plan.sync.errors import PeerUnavailable
from migrations_plan.sync.local import LocalSide
from migrations_plan.sync.messages import Boundary, Change, Standing, State
from migrations_plan.sync.models import Ownership
from migrations_plan.sync.ownership import LOCK_SECONDS
from migrations_plan.sync.sides import Direction
from migrations_plan.sync.wire.client import RemoteSide
from tests.migrations_plan.sync.houses import LEGACY, OWN, as_extracted, customer
from tests.migrations_plan.sync.wire.serving import SECRET
from tests.own import ALIAS
from tests.own.rows import OwnOrder, dump, make_orders
from tests.processes import ROOT, database_url, free_port, gunicorn, start_process

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.xdist_group("processes"),
    pytest.mark.django_db(databases=["default", "own"], transaction=True),
]


@pytest.fixture
def service(transactional_db: None) -> Iterator[RemoteSide]:
    """Run the service on the test database of its own store, as a replica of everything."""
    with as_extracted():
        upkeep.start(OWN)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {"ORDERS_STORE": "own", "ORDERS_OWN_DATABASE_URL": database_url(ALIAS), "SYNC_SECRET_ORDERS": SECRET}
    subprocess.run(
        [sys.executable, "-m", "extracted.orders", "sync", "install", "orders"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "extracted.orders.settings", **env},
        check=True,
        timeout=60,
        capture_output=True,
    )
    command = gunicorn("extracted.orders.wsgi", port, workers=1, threads=3)
    with start_process(command, env, f"{url}/health/ready/"):
        yield RemoteSide(Peer(url=f"{url}/strangler/sync/", secret=SECRET, audience="orders"), "extracted")


def standings() -> list[tuple[int, str, int]]:
    """Return who the service is to each bucket, from its database."""
    return list(Ownership.objects.using(ALIAS).order_by("bucket").values_list("bucket", "state", "epoch"))


def test_the_service_passes_the_checks_of_the_protocol(
    service: RemoteSide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = customer()
    orders = make_orders(owner, 3)
    documents = [
        {"key": str(key), "bucket": bucket("orders", owner.pk), "data": data}
        for key, data in dump(LEGACY, [order.pk for order in orders]).items()
    ]
    path = tmp_path / "orders.json"
    path.write_text(json.dumps(documents))
    before = standings()
    given = ["--secret", SECRET, "--aggregate", "orders", "--document", str(path), "--json"]
    code = main([service.peer.url, *given])
    report = json.loads(capsys.readouterr().out)
    assert [one for one in report["checks"] if one["verdict"] != "pass"] == []
    assert (code, report["trouble"]) == (0, "")
    assert standings() == before
    assert not OwnOrder.objects.using(ALIAS).exists()


def test_the_shop_s_orders_reach_the_service(service: RemoteSide, wire_settings: Callable[..., None]) -> None:
    wire_settings(SIDE="legacy")
    upkeep.start(LEGACY)
    orders = make_orders(customer(), 12)
    gone = str(orders[3].pk)
    PaymentAttempt.objects.filter(order=orders[3]).delete()
    orders[3].delete()
    here = LocalSide("legacy", LEGACY)
    report = relay.relay(LEGACY, Direction(source=here, target=service))
    assert (report.sent, report.away, report.waiting) == (12, "", 0)
    mine, theirs = (side.digest("orders", Boundary(), detail=True) for side in (here, service))
    assert theirs.sum == mine.sum
    assert theirs.count == 12
    assert [one.key for one in theirs.entries or () if one.digest is None] == [gone]


@pytest.mark.postgres
def test_a_bucket_in_which_somebody_writes_for_too_long_is_not_changed(service: RemoteSide) -> None:
    change = Change(bucket=7, old=Standing(state=State.REPLICA, epoch=1), new=Standing(state=State.OWNER, epoch=2))
    with transaction.atomic(using=ALIAS):
        database.lock_shared(ALIAS, "orders", [7])
        with pytest.raises(PeerUnavailable, match=r"503.*lock timeout") as error:
            service.change("orders", change)
    assert 0 < error.value.retry_after <= 5 * LOCK_SECONDS
    assert (7, "replica", 1) in standings()
    assert service.change("orders", change)
    assert (7, "owner", 2) in standings()
