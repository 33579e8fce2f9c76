"""docs/sync-protocol.md says what is so: examples fit, formulas give our buckets, codes are those there are."""

import hashlib
import inspect
import json
import re
import struct
from typing import Any

import msgspec
import pytest

from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.conformance.comparing import sum_of
from migrations_plan.sync.conformance.samples import Sample
from migrations_plan.sync.digests import sum_of as our_sum_of
from migrations_plan.sync.documents import canonical, digest_of
from migrations_plan.sync.messages import Digest, Document, Outcome
from migrations_plan.sync.wire import forms, refusals, views
from tests.processes import ROOT

TEXT = (ROOT / "docs" / "sync-protocol.md").read_text()
PRIME = 2**31 - 1
FORMS: tuple[Any, ...] = (
    Document,
    forms.ErrorAnswer,
    forms.ChangesRequest,
    forms.ChangesAnswer,
    forms.ApplyRequest,
    forms.ApplyAnswer,
    forms.AckRequest,
    forms.AckAnswer,
    forms.DigestRequest,
    Digest,
    forms.DigestRequest,
    forms.CutAnswer,
    forms.OwnershipRequest,
    forms.OwnershipAnswer,
    forms.OwnershipRequest,
    forms.OwnershipAnswer,
    forms.OwnershipRequest,
    forms.OwnershipAnswer,
    forms.OwnershipRequest,
    forms.OwnershipAnswer,
    forms.ChangesRequest,
    forms.ChangesAnswer,
    forms.ApplyRequest,
    list[Sample],
)
"""Of the examples, in their order."""
EXAMPLES = re.findall(r"^```json\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def numbers(purpose: str, name: str) -> list[int]:
    """Return the coefficients as the document derives them."""
    digest = hashlib.sha256(f"strangler.bucket:{purpose}:{name}".encode()).digest()
    return [1 + word % (PRIME - 1) for word in struct.unpack(">8I", digest)]


def documented_bucket(name: str, text: str) -> int:
    """Return the bucket of a key, by what the document says and nothing else."""
    if re.fullmatch(r"0|-?[1-9][0-9]{0,30}", text):
        return mixed(int(text) % PRIME, name)
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
        digits = text.replace("-", "")
        words = [int(digits[start : start + 7], 16) for start in range(0, 32, 7)]
        return mixed(sum(m * w for m, w in zip(numbers("words", name), words, strict=False)) % PRIME, name)
    digest = hashlib.sha256(f"strangler.bucket:text:{name}:{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


def mixed(x: int, name: str) -> int:
    """Return the polynomial of the document."""
    a, b, c, d = numbers("polynomial", name)[:4]
    return (((a * x + b) % PRIME * x + c) % PRIME * x + d) % PRIME % 100


def test_every_example_has_a_form() -> None:
    assert len(EXAMPLES) == len(FORMS)


@pytest.mark.parametrize(("example", "form"), list(zip(EXAMPLES, FORMS, strict=False)))
def test_an_example_fits_its_form_with_nothing_left_over(example: str, form: Any) -> None:
    body = json.loads(example)
    read = msgspec.json.decode(example, type=form) if form is list[Sample] else forms.decode(example.encode(), form)
    again = json.loads(msgspec.json.encode(read))
    assert kept(body, again) == body


def kept(body: Any, again: Any) -> Any:
    """Return what was read, without what the example leaves out."""
    if isinstance(body, dict):
        return {name: kept(value, again.get(name, value)) for name, value in body.items() if name in again or not value}
    if isinstance(body, list):
        return [kept(*pair) for pair in zip(body, again, strict=True)]
    return again


def test_the_buckets_are_those_of_the_formulas_and_ours() -> None:
    table = TEXT.split("| partition key | bucket |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(.*)` \| ([0-9]+) \|$", table, re.MULTILINE)
    assert len(rows) == 10
    for text, told in rows:
        assert documented_bucket("orders", text) == bucket("orders", text) == int(told), text


def test_the_coefficients_are_those_of_the_formulas() -> None:
    told = re.search(r"`a, b, c, d` are ([0-9, ]+) and `m0 ... m4` are ([0-9, ]+)\.", TEXT)
    assert told is not None
    assert [int(one) for one in told[1].split(",")] == numbers("polynomial", "orders")[:4]
    assert [int(one) for one in told[2].split(",")] == numbers("words", "orders")[:5]


def test_the_canonical_example_is_ours() -> None:
    found = re.search(r"```\n(\{.*\})\n([0-9a-f\n]+)\ndigest ([0-9a-f]{32})\n```", TEXT)
    assert found is not None
    data = json.loads(found[1])
    assert canonical(data) == found[1].encode() == bytes.fromhex(found[2].replace("\n", ""))
    assert digest_of(data) == found[3]


def test_canonical_bytes_are_escaped_as_the_document_says() -> None:
    data = {"t": "".join(map(chr, range(0x80))) + "\u2028é🎁/", "\U0001f381": 1, "\uffee": 2, "Z": 3, "a": 4, "é": 5}
    told = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical(data) == told


def test_the_sum_in_the_example_is_the_documented_one() -> None:
    (example,) = [json.loads(one) for one in EXAMPLES if '"entries"' in one]
    lines = [f"{one['key']}|{one['gen']}|{one['digest'] or ''}\n" for one in example["entries"]]
    assert example["sum"] == sum_of(example["entries"]) == our_sum_of(lines)


def test_every_outcome_is_explained() -> None:
    assert set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", TEXT, re.MULTILINE)) == {str(one) for one in Outcome}


def test_every_error_is_explained() -> None:
    rows = re.findall(r"^\| ([0-9]{3}) \| (.*?) \|", TEXT, re.MULTILINE)
    told = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    sources = inspect.getsource(views) + inspect.getsource(refusals) + inspect.getsource(forms)
    written = {(int(status), code) for status, code in re.findall(r'([0-9]{3}),\s*"(\w+)"', sources)}
    written |= {(503, code) for code in re.findall(r'later\(\s*"(\w+)"', sources)} | {(429, "busy"), (415, "encoding")}
    assert told == written
