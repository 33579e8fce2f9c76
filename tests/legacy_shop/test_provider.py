"""The simulated payment provider, asked over HTTP as the shop asks it."""

import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.provider import Control, ProviderServer, running
from tests.legacy_shop.samples import at_once
from tests.processes import free_port, start_process

CHARGE = {"amount_minor": 1250, "currency": "USD", "card": "tok_visa", "reference": "260102-A"}


def post(
    server: ProviderServer, path: str, body: Any, key: str | None = None, timeout: float = 10
) -> requests.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    with requests.Session() as session:
        session.trust_env = False
        return session.post(server.url + path, json=body, headers=headers, timeout=timeout)


def ledger(server: ProviderServer) -> dict[str, list[dict[str, Any]]]:
    return requests.get(f"{server.url}/v1/ledger", timeout=10).json()


def control(server: ProviderServer, **wanted: Any) -> None:
    assert post(server, "/control", wanted).status_code == 200


def charge(server: ProviderServer, key: str | None = None, **changes: Any) -> requests.Response:
    return post(server, "/v1/charges", {**CHARGE, **changes}, key or str(uuid.uuid4()))


def test_a_charge_succeeds_and_is_in_the_ledger(provider: ProviderServer) -> None:
    response = charge(provider, "one")

    assert response.status_code == 200
    assert response.json()["status"] == "succeeded"
    (row,) = ledger(provider)["charges"]
    assert (row["key"], row["amount_minor"], row["reference"], row["status"]) == ("one", 1250, "260102-A", "succeeded")


def test_a_declined_card_is_answered_402_and_remembered(provider: ProviderServer) -> None:
    response = charge(provider, "one", card="tok_declined")

    assert response.status_code == 402
    assert response.json() == {"id": response.json()["id"], "status": "failed", "reason": "card_declined"}
    assert [row["status"] for row in ledger(provider)["charges"]] == ["failed"]


def test_the_same_key_and_body_gives_the_same_answer_and_one_row(provider: ProviderServer) -> None:
    answers = at_once([lambda: charge(provider, "one").json()] * 12)

    assert answers == [answers[0]] * 12
    assert len(ledger(provider)["charges"]) == 1


def test_the_same_key_with_another_body_is_refused(provider: ProviderServer) -> None:
    charge(provider, "one")

    assert charge(provider, "one", amount_minor=1).status_code == 422
    assert [row["amount_minor"] for row in ledger(provider)["charges"]] == [1250]


def test_a_refund_needs_a_succeeded_charge_and_gives_back_no_more_than_was_taken(provider: ProviderServer) -> None:
    charge(provider, "good")
    charge(provider, "bad", card="tok_declined")
    refund = {**CHARGE, "charge": "good"}

    assert post(provider, "/v1/refunds", refund, "r1").json()["status"] == "succeeded"
    again = post(provider, "/v1/refunds", refund, "r2")
    assert (again.status_code, again.json()["reason"]) == (402, "refund_exceeds_charge")
    for unknown in ("bad", "never"):
        assert post(provider, "/v1/refunds", {**refund, "charge": unknown}, f"r-{unknown}").status_code == 404
    assert [(row["charge"], row["status"]) for row in ledger(provider)["refunds"]] == [
        ("good", "succeeded"),
        ("good", "failed"),
    ]


def test_told_to_fail_it_answers_500_before_doing_anything(provider: ProviderServer) -> None:
    control(provider, fail_rate=1.0)

    assert charge(provider).status_code == 500
    assert ledger(provider)["charges"] == []


def test_told_to_answer_late_it_books_first(provider: ProviderServer) -> None:
    control(provider, answer_late_rate=1.0, late_ms=60_000)

    with pytest.raises(requests.ReadTimeout):
        post(provider, "/v1/charges", CHARGE, "one", timeout=0.3)
    assert [row["key"] for row in ledger(provider)["charges"]] == ["one"]


def test_told_to_be_slow_it_waits_before_it_books(provider: ProviderServer) -> None:
    control(provider, latency_ms=60_000)

    with pytest.raises(requests.ReadTimeout):
        post(provider, "/v1/charges", CHARGE, "one", timeout=0.3)
    assert ledger(provider)["charges"] == []


@pytest.mark.parametrize(
    "wrong", [{"fail_rate": 2}, {"latency_ms": -1}, {"speed": 1}, {"latency_ms": "1"}, {"late_ms": True}]
)
def test_a_wrong_control_changes_nothing(provider: ProviderServer, wrong: dict[str, Any]) -> None:
    before = requests.get(f"{provider.url}/control", timeout=10).json()

    response = post(provider, "/control", wrong)

    assert response.status_code == 400
    assert next(iter(wrong)) in response.json()["detail"]
    assert requests.get(f"{provider.url}/control", timeout=10).json() == before


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (CHARGE, None),
        (CHARGE, "k" * 201),
        ({**CHARGE, "amount_minor": 0}, "k"),
        ({**CHARGE, "amount_minor": "1250"}, "k"),
        ({**CHARGE, "amount_minor": True}, "k"),
        ({**CHARGE, "currency": None}, "k"),
        ([], "k"),
    ],
)
def test_a_malformed_charge_is_refused_and_not_booked(provider: ProviderServer, body: Any, key: str | None) -> None:
    assert post(provider, "/v1/charges", body, key).status_code == 400
    assert ledger(provider)["charges"] == []


def test_the_ledger_survives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "ledger.sqlite3") as server:
        first = charge(server, "one").json()
    with running(tmp_path / "ledger.sqlite3") as server:
        assert charge(server, "one").json() == first
        assert len(ledger(server)["charges"]) == 1


def test_what_is_under_way_when_it_closes_is_refused_in_peace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    waits = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with running(tmp_path / "ledger.sqlite3") as server:
            pause = server.pause
            monkeypatch.setattr(server, "pause", lambda milliseconds: (waits.set(), pause(milliseconds)))
            server.control = Control(latency_ms=60_000)
            asked = pool.submit(charge, server, "one")
            assert waits.wait(10)
        answer = asked.result(10)
    assert (answer.status_code, "closing" in answer.json()["detail"]) == (503, True)
    assert capfd.readouterr().err == ""
    with running(tmp_path / "ledger.sqlite3") as server:
        assert ledger(server)["charges"] == []


def test_it_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "demo.provider", "--port", str(port), "--ledger", str(tmp_path / "l.sqlite3")]
    with start_process(command, ready_url=f"http://127.0.0.1:{port}/health") as process:
        assert requests.get(f"http://127.0.0.1:{port}/v1/ledger", timeout=10).json() == {"charges": [], "refunds": []}
        assert f"http://127.0.0.1:{port}" in process.output()
