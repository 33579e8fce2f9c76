"""No secret in any stored example: cards, tokens and passwords go through everything, and the database is searched."""

import json
import logging
from typing import Any

import pytest
from django.core import serializers

from router.conf import ShadowSettings
from router.metrics import Outcome
from router.models import ShadowFieldCount, ShadowMismatch
from router.shadow import store, tally
from router.shadow.cards import spans
from router.shadow.compare import Answer
from router.shadow.redact import redact_text, redact_value
from router.shadow.runner import Job, Verdict, run
from router.shadow.telling import example_as_text, examples_as_text

CARDS = ("4111111111111111", "5500005555555559", "378282246310005", "6011111111111117", "30569309025904")
SECRETS = (
    *CARDS,
    "hunter2-pass",
    "tok_4eC39HqLyjWDarj",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl",
    "sessionid=5up3rs3cr3t",
    "ann@example.org",
    "Zm9vYmFy",
)
PAN, OTHER, AMEX, DISCOVER, DINERS, PASSWORD, TOKEN, JWT, COOKIE, MAIL, BASIC = SECRETS


def answers(n: int) -> dict[str, Any]:
    """Return a document full of secrets, each in a place where somebody might put it."""
    return {
        "n": n,
        "card": {"number": PAN, "note": n},
        "payment": {"pan": f"{PAN[:4]} {PAN[4:8]} {PAN[8:12]} {PAN[12:]} #{n}"},
        "number": int(OTHER) if n else 0,
        "comment": f"paid with {AMEX[:4]}-{AMEX[4:10]}-{AMEX[10:]}, call {n}",
        "log": [f"card{DISCOVER}x{n}", f"dcc {DINERS} 12/27 {n}", f"password={PASSWORD}&n={n}"],
        "password": PASSWORD if n else "",
        "auth": f"Bearer {TOKEN} {n}",
        "jwt_in_text": f"see {JWT} {n}",
        "set": {"Cookie": f"{COOKIE};{n}"},
        "who": f"{MAIL} {n}",
        MAIL: n,
        "basic": f"Basic {BASIC}{n}",
        "nested": {"list": [{"id": PAN, "v": n}]},
    }


def served(n: int) -> Answer:
    headers = (("Authorization", f"Bearer {TOKEN}"), ("Set-Cookie", COOKIE))
    return Answer(status=200, content_type="application/json", body=json.dumps(answers(n)).encode(), headers=headers)


def page(n: int) -> Answer:
    html = (
        f"<form><input type=password name=pw value={PASSWORD}{n}><input name=card_number value='{PAN}{n}'>"
        f"<p data-token={TOKEN}{n}>{PAN} and {n}</p></form>"
    )
    return Answer(status=200, content_type="text/html", body=html.encode())


def job(left: Answer, right: Answer) -> Job:
    return Job(
        service="orders",
        store="shared",
        route="list",
        method="GET",
        path=f"/api/orders/{PAN}/?token={TOKEN}&q={MAIL}&card={PAN}",
        given=left,
        ask_copy=lambda: right,
        ask_again=lambda: left,
        ask_twice=True,
        subject=MAIL,
    )


@pytest.mark.django_db
def test_no_secret_is_stored_told_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for left, right in (
        (served(0), served(1)),
        (page(0), page(1)),
        (served(0), Answer(status=200, content_type="", body=b"")),
    ):
        comparison = job(left, right)
        verdict = run(comparison)
        assert isinstance(verdict, Verdict)
        assert verdict.outcome is Outcome.MISMATCH
        tally.count(comparison, verdict)
        assert store.save(comparison, verdict, ShadowSettings())
    tally.flush()
    rows = list(ShadowMismatch.objects.all())
    told = examples_as_text(rows) + "".join(example_as_text(row) for row in rows)
    everything = serializers.serialize("json", [*rows, *ShadowFieldCount.objects.all()]) + told + caplog.text
    digits = "".join(character for character in everything if character.isdigit() or character.isalpha())
    assert [secret for secret in SECRETS if secret in everything] == []
    assert [card for card in CARDS if card in digits] == []
    assert sum(len(row.differences) for row in rows) > 15


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("text", "card"),
    [
        ("4111111111111111", True),
        ("4111 1111 1111 1111", True),
        ("4111.1111.1111.1111", True),
        ("4111-1111-1111-1111 12/27 123", True),
        ("x4111111111111111y", True),
        ("0000000000000000", False),
        ("4111111111111112", False),
        ("2026-01-02T03:04:05.678901Z", False),
        ("20260102030405", False),
        ("3.14159265358979", False),
        ("order 123456789012", False),
    ],
)
def test_cards_are_found_by_their_checksum(text: str, card: bool) -> None:
    assert bool(list(spans(text))) is card


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("order=7&token=abc", "order=7&token=[redacted]"),
        ("the basic idea", "the basic idea"),
        ("Authorization: Bearer abcdef123", "Authorization: [redacted]"),
        ('{"password": "x1"}', '{"password": "[redacted]"}'),
    ],
)
def test_what_is_assigned_to_a_secret_name(text: str, left: str) -> None:
    assert redact_text(text).startswith(left[:-1])


@pytest.mark.any_database
@pytest.mark.timeout(5)
@pytest.mark.parametrize("text", ["a" * 250_000, "4" * 250_000, "a=" * 100_000, "@" * 250_000, "4 " * 100_000])
def test_long_values_take_no_time(text: str) -> None:
    assert len(redact_value(text)) < 250


@pytest.mark.django_db
def test_retention_by_bytes_and_by_age() -> None:
    comparison = job(served(0), served(1))
    verdict = run(comparison)
    assert isinstance(verdict, Verdict)
    [first] = store.save(comparison, verdict, ShadowSettings())
    ShadowMismatch.objects.update(at=first.at.replace(year=first.at.year - 1))
    [second] = store.save(comparison, verdict, ShadowSettings())
    assert list(ShadowMismatch.objects.values_list("pk", flat=True)) == [second.pk]
    small = ShadowSettings(keep_bytes=second.size * 2)
    made = [store.save(comparison, verdict, small) for _ in range(4)]
    kept = ShadowMismatch.objects.order_by("pk")
    assert [row.pk for row in kept] == [row.pk for [row] in made[2:]]
    assert sum(row.size for row in kept) <= small.keep_bytes
