"""Forms: read strictly, and a refusal names what does not fit."""

from typing import Any

import msgspec
import pytest

from migrations_plan.sync.messages import Again, Document, Held, Result, Sent, State
from migrations_plan.sync.wire import forms
from migrations_plan.sync.wire.forms import AckRequest, ApplyRequest, ChangesAnswer, DigestRequest, OwnershipRequest
from migrations_plan.sync.wire.refusals import Refusal

DOCUMENT = {"key": "7", "bucket": 3, "epoch": 1, "gen": 2, "version": 1, "data": {"name": "a"}}


def refused(body: Any, form: type[Any]) -> str:
    """Return why a body is refused."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    with pytest.raises(Refusal) as error:
        forms.decode(raw, form)
    assert (error.value.status, error.value.code) == (400, "malformed")
    return error.value.detail


def apply(**changed: Any) -> dict[str, Any]:
    """Return an apply request whose second document is changed."""
    return {"documents": [DOCUMENT, {**DOCUMENT, **changed}]}


def test_a_document_is_read() -> None:
    (document,) = forms.decode(msgspec.json.encode({"documents": [DOCUMENT]}), ApplyRequest).documents
    assert document == Document(key="7", bucket=3, epoch=1, gen=2, version=1, data={"name": "a"})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"nonsense", "malformed"),
        (b'{"documents": []} {}', "trailing"),
        (b'{"documents": [NaN]}', "malformed"),
        (b'{"documents": ["\xff"]}', "fit"),
        (b'{"documents": [{"data": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001 + b"]}", "nested"),
        ([], "object"),
        ({}, "documents"),
        ({"documents": None}, "documents"),
        ({"documents": {}}, "documents"),
        ({"documents": [], "limit": 1}, "limit"),
    ],
)
def test_what_is_no_request_is_refused(body: Any, reason: str) -> None:
    assert reason in refused(body, ApplyRequest)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", 7),
        ("key", ""),
        ("key", "x" * 256),
        ("key", "a\0b"),
        ("bucket", "3"),
        ("bucket", 3.0),
        ("epoch", None),
        ("epoch", -1),
        ("epoch", 2**63),
        ("gen", True),
        ("gen", -1),
        ("gen", 2**63),
        ("version", 2**31),
        ("version", -1),
        ("data", []),
        ("data", "text"),
        ("changed_at", "yesterday"),
        ("changed_at", "2026-11-27T02:05:15"),
        ("changed_at", "2026-13-27T02:05:15Z"),
    ],
)
def test_a_document_that_does_not_fit_is_named_with_its_field(field: str, value: Any) -> None:
    assert f"`$.documents[1].{field}`" in refused(apply(**{field: value}), ApplyRequest)


def test_a_field_that_is_missing_is_named() -> None:
    lacking = {name: value for name, value in DOCUMENT.items() if name != "epoch"}
    assert "`epoch` - at `$.documents[0]`" in refused({"documents": [lacking]}, ApplyRequest)


def test_a_document_may_say_more_than_is_known() -> None:
    assert forms.decode(msgspec.json.encode(apply(colour="red")), ApplyRequest).documents[1].key == "7"


def test_moments_are_read() -> None:
    forms.decode(msgspec.json.encode(apply(changed_at="2026-11-27T02:05:15.123456Z")), ApplyRequest)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("sent", {"key": "7", "gen": 2**63}, "gen"),
        ("held", {"key": "7", "gen": 1, "seconds": -1.0, "reason": ""}, "seconds"),
        ("held", {"key": "7", "gen": 1, "seconds": 1e300, "reason": ""}, "seconds"),
        ("again", {"key": "7", "gen": 1, "bucket": 100}, "bucket"),
        ("again", {"key": "", "gen": 1, "bucket": 1}, "key"),
    ],
)
def test_an_acknowledgement_that_does_not_fit_is_named_with_its_field(name: str, value: Any, field: str) -> None:
    assert f"`$.{name}[0].{field}`" in refused({name: [value]}, AckRequest)


def test_an_acknowledgement_may_leave_out_what_it_does_not_say() -> None:
    assert forms.decode(b"{}", AckRequest) == AckRequest()
    full = AckRequest(
        sent=(Sent(key="7", gen=1),),
        held=(Held(key="8", gen=2, seconds=1.5, reason="why"),),
        again=(Again(key="9", gen=3, bucket=4),),
    )
    assert forms.decode(forms.encode(full), AckRequest) == full


@pytest.mark.parametrize(("body", "field"), [({"cut": 0}, "cut"), ({"keys": [""]}, "keys"), ({"detail": 1}, "detail")])
def test_a_question_that_does_not_fit_is_named_with_its_field(body: Any, field: str) -> None:
    assert f"`$.{field}" in refused(body, DigestRequest)


def test_a_change_is_read_by_its_words() -> None:
    change = {"bucket": 7, "from": {"state": "replica", "epoch": 1}, "to": {"state": "owner", "epoch": 2}}
    read = forms.decode(msgspec.json.encode({"change": change}), OwnershipRequest).change
    assert read is not None
    assert (read.bucket, read.old.state, read.new.state, read.new.epoch) == (7, State.REPLICA, State.OWNER, 2)
    assert read.settle is False


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"bucket": 100}, "bucket"),
        ({"from": {"state": "king", "epoch": 1}}, "from.state"),
        ({"to": {"state": "owner"}}, "to"),
        ({"to": {"state": "owner", "epoch": 2**63}}, "to.epoch"),
        ({"setle": True}, "setle"),
    ],
)
def test_a_change_that_does_not_fit_is_named_with_its_field(changed: dict[str, Any], field: str) -> None:
    change = {"bucket": 7, "from": {"state": "replica", "epoch": 1}, "to": {"state": "owner", "epoch": 2}, **changed}
    assert field in refused({"change": change}, OwnershipRequest)


def test_documents_are_put_together_as_they_would_be_encoded() -> None:
    documents = tuple(Document(key=str(n), bucket=n, epoch=1, gen=1, version=1, data={"n": n}) for n in range(3))
    body = forms.encode_documents([forms.encode(document) for document in documents], waiting=9)
    assert forms.decode(body, ChangesAnswer) == ChangesAnswer(documents=documents, waiting=9)
    assert forms.decode(forms.encode_documents([]), ApplyRequest) == ApplyRequest(documents=())


def test_an_outcome_that_nobody_knows_is_refused() -> None:
    body = {"results": [{"key": "7", "gen": 1, "outcome": "lost"}]}
    assert "`$.results[0].outcome`" in refused(body, forms.ApplyAnswer)
    assert forms.encode(Result(key="7", gen=1, outcome="applied")) == b'{"key":"7","gen":1,"outcome":"applied"}'  # type: ignore[arg-type]
