"""Who is let in, and with what body."""

import time
from typing import Any

import jwt

from migrations_plan.sync.conformance.caller import gzipped
from migrations_plan.sync.conformance.outcomes import Check, require
from migrations_plan.sync.conformance.subject import Subject, refused, told

ASK = b"{}"


def token_absent(subject: Subject) -> None:
    """Without a token: 401."""
    refused(subject.caller.send("ownership", ASK, token=None), 401)


def token_forged(subject: Subject) -> None:
    """A token signed with another secret: 401."""
    token = subject.caller.token("ownership", secret="another secret, of a length that nobody objects to")
    refused(subject.caller.send("ownership", ASK, token=token), 401)


def token_unsigned(subject: Subject) -> None:
    """A token that says it needs no signature (alg none): 401."""
    token = jwt.encode(subject.caller.claims("ownership"), None, algorithm="none")
    refused(subject.caller.send("ownership", ASK, token=token), 401)


def token_expired(subject: Subject) -> None:
    """A token that was over half a minute ago: 401."""
    past = int(time.time()) - 60
    _token_refused(subject, iat=past, exp=past + 30)


def token_endless(subject: Subject) -> None:
    """A token made to live for an hour: 401."""
    _token_refused(subject, exp=int(time.time()) + 3600)


def token_without_end(subject: Subject) -> None:
    """A token that does not say when it ends: 401."""
    _token_refused(subject, exp=None)


def token_of_other_audience(subject: Subject) -> None:
    """A token made out to another service: 401."""
    _token_refused(subject, aud=f"{subject.caller.audience}-not")


def token_of_other_issuer(subject: Subject) -> None:
    """A token of another issuer, as those for requests are: 401."""
    _token_refused(subject, iss="strangler")


def token_of_other_verb(subject: Subject) -> None:
    """A token for another verb: 401."""
    refused(subject.caller.send("ownership", ASK, token=subject.caller.token("digest")), 401)


def token_of_other_aggregate(subject: Subject) -> None:
    """A token for another aggregate: 401."""
    _token_refused(subject, agg=f"{subject.caller.aggregate}-not")


def unknown_aggregate(subject: Subject) -> None:
    """An aggregate that is not served: 404, naming those that are."""
    refused(subject.caller.call("ownership", aggregate="no-such-aggregate"), 404, mentions=subject.caller.aggregate)


def other_method(subject: Subject) -> None:
    """GET instead of POST: 405."""
    token = subject.caller.token("ownership")
    refused(subject.caller.send("ownership", b"", token=token, method="GET"), 405)


def body_no_json(subject: Subject) -> None:
    """A body that is no JSON: 400."""
    refused(subject.caller.send("ownership", b"{'", token=subject.caller.token("ownership")), 400)


def body_of_wrong_type(subject: Subject) -> None:
    """A body with a text where a number belongs: 400, naming the field; no number is guessed from it."""
    document = {**subject.document(subject.sample, 1), "gen": "1"}
    refused(subject.caller.call("apply", {"documents": [document]}), 400, mentions="gen")


def body_lacks_field(subject: Subject) -> None:
    """A body that lacks what the verb needs: 400, naming the field."""
    refused(subject.caller.call("apply", {}), 400, mentions="documents")


def body_with_unknown_field(subject: Subject) -> None:
    """A request with a field that means nothing: 400, since it asks for what would not be done."""
    refused(subject.caller.call("ack", {"agian": []}), 400, mentions="agian")


def body_too_large(subject: Subject) -> None:
    """A body above the limit: 413."""
    body = ASK.ljust(subject.max_body + 1)
    refused(subject.caller.send("ownership", body, token=subject.caller.token("ownership")), 413)


def body_too_large_unpacked(subject: Subject) -> None:
    """A compressed body that unpacks to more than the limit: 413."""
    body = gzipped(ASK.ljust(subject.max_body + 1))
    refused(_gzip(subject, body), 413)


def gzip_request(subject: Subject) -> None:
    """A compressed request is understood."""
    reply = _gzip(subject, gzipped(ASK))
    require(reply.status == 200 and isinstance(reply.body, dict), f"answered {told(reply)}.")


def gzip_request_broken(subject: Subject) -> None:
    """A request that says it is compressed and is not, or ends early: 400."""
    refused(_gzip(subject, ASK), 400)
    refused(_gzip(subject, gzipped(ASK)[:-6]), 400)


def gzip_answer(subject: Subject) -> None:
    """A long answer is compressed if, and only if, the request accepts that."""
    token = subject.caller.token("ownership")
    plain = subject.caller.send("ownership", ASK, token=token)
    packed = subject.caller.send("ownership", ASK, token=token, accept="gzip")
    require(not plain.headers.get("Content-Encoding"), "An answer is compressed that was not to be.")
    require(packed.headers.get("Content-Encoding") == "gzip", "A long answer is not compressed.")
    require(plain.body == packed.body, "The compressed answer is another one than the plain one.")


def _gzip(subject: Subject, body: bytes) -> Any:
    return subject.caller.send("ownership", body, token=subject.caller.token("ownership"), encoding="gzip")


def _token_refused(subject: Subject, **claims: Any) -> None:
    refused(subject.caller.send("ownership", ASK, token=subject.caller.token("ownership", **claims)), 401)


CHECKS: tuple[Check, ...] = (
    token_absent,
    token_forged,
    token_unsigned,
    token_expired,
    token_endless,
    token_without_end,
    token_of_other_audience,
    token_of_other_issuer,
    token_of_other_verb,
    token_of_other_aggregate,
    unknown_aggregate,
    other_method,
    body_no_json,
    body_of_wrong_type,
    body_lacks_field,
    body_with_unknown_field,
    body_too_large,
    body_too_large_unpacked,
    gzip_request,
    gzip_request_broken,
    gzip_answer,
)
