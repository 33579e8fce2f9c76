"""One call of one verb over HTTP: sent once, bounded in time and size, and every way to fail has a name."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from urllib.parse import quote

import msgspec
import requests
import urllib3

from migrations_plan.sync.conf import Peer, SyncSettings, conf
from migrations_plan.sync.errors import PeerRefused, PeerUnavailable
from migrations_plan.sync.wire import bodies, forms, sessions, tokens
from migrations_plan.sync.wire.forms import Form
from migrations_plan.sync.wire.refusals import Refusal

CHUNK = 262_144
LATER = frozenset({408, 425, 429})
"""Refusals that say nothing about the request; those from 500 on neither."""
BUSY = frozenset({429, 503})
"""What says that the other side is there, and could not do it at this moment."""
RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 300.0
ADVICE: Mapping[int, str] = {
    400: "Both programs have to speak the same version of the protocol.",
    401: "Check that SECRET and AUDIENCE are the same on both sides, and that both clocks are right.",
    403: "Check what stands in front of the service, and that it has SECRET and AUDIENCE.",
    404: "Check the URL of the peer, and that the service declares the aggregate.",
    405: "Check the URL of the peer: something else answers there.",
    413: "Lower BATCH_BYTES, or raise MAX_BODY_BYTES there and in whatever stands in front of it.",
}


class BodyTooLarge(PeerRefused):
    """The other side takes no body of this size."""


def call(peer: Peer, aggregate: str, verb: str, body: bytes, form: type[Form]) -> Form:
    """Send a verb's request; return its answer, or raise PeerUnavailable or PeerRefused."""
    settings, name = conf(), f"{verb} of {aggregate!r} at {peer.url}"
    patience = settings.patience(verb)
    try:
        with _post(peer, aggregate, verb, body, patience) as response:
            content = _content(response, settings, patience)
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise PeerUnavailable(f"{name} did not answer within {patience:g} s.") from error
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, urllib3.exceptions.HTTPError) as error:
        raise PeerUnavailable(f"{name} cannot be reached: {_told(error)}.") from error
    except requests.RequestException as error:
        raise PeerRefused(f"{name} cannot be asked: {_told(error)}.") from error
    except Refusal as error:
        raise PeerRefused(f"{name} answered what cannot be read: {error.detail}") from error
    if response.status_code != 200:
        raise _failure(response, content, name)
    try:
        return forms.decode(content, form)
    except Refusal as error:
        raise PeerRefused(f"{name} answered what this program cannot read. {error.detail}") from error


def _post(peer: Peer, aggregate: str, verb: str, body: bytes, patience: float) -> requests.Response:
    packed, headers = bodies.pack(body)
    token = tokens.issue(aggregate, verb, audience=peer.audience, secret=peer.secret)
    return sessions.session().post(
        f"{peer.url}{quote(aggregate, safe='')}/{verb}",
        data=packed,
        headers={**headers, "Accept-Encoding": bodies.GZIP, "Authorization": f"{tokens.SCHEME}{token}"},
        timeout=patience,
        allow_redirects=False,
        stream=True,
    )


def _content(response: requests.Response, settings: SyncSettings, patience: float) -> bytes:
    """Return the answer's JSON, read piece by piece: neither a flood nor a trickle keeps us longer than agreed."""
    deadline = monotonic() + patience
    chunks: list[bytes] = []
    size = 0
    while chunk := response.raw.read1(CHUNK, decode_content=False):
        chunks.append(chunk)
        size += len(chunk)
        if size > settings.max_body_bytes:
            break
        if monotonic() > deadline:
            raise requests.Timeout
    return bodies.unpack(b"".join(chunks), response.headers.get("Content-Encoding", ""), settings.max_body_bytes)


def _failure(response: requests.Response, content: bytes, name: str) -> PeerUnavailable | PeerRefused:
    status = response.status_code
    told = f"{name} answered {status}: {_reason(content)}"
    if status >= 500 or status in LATER:
        retry_after = _retry_after(response.headers.get("Retry-After", ""))
        return PeerUnavailable(told, retry_after=retry_after, busy=status in BUSY)
    if 300 <= status < 400:
        return PeerRefused(
            f"{told} It points to {response.headers.get('Location')!r}; give its URL without a redirect."
        )
    told = f"{told} {ADVICE.get(status, '')}".strip()
    return BodyTooLarge(told) if status == 413 else PeerRefused(told)


def _reason(content: bytes) -> str:
    try:
        return msgspec.json.decode(content, type=forms.ErrorAnswer).detail
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        text = " ".join(content[:200].decode(errors="replace").split())
        return f"{text or 'nothing'} (not an answer of this protocol)."


def _retry_after(header: str) -> float:
    """Return the seconds that a Retry-After header means, a number or a date, within reason."""
    if header.isdecimal():
        return min(float(header), LONGEST_RETRY_SECONDS)
    try:
        seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return RETRY_SECONDS
    return min(max(seconds, 0.0), LONGEST_RETRY_SECONDS)


def _told(error: Exception) -> str:
    cause = error.args[0] if error.args else error
    return " ".join(str(getattr(cause, "reason", None) or cause).split())[:300]
