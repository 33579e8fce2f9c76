"""Which header fields pass, in either direction, and the request target as the client spelled it."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_from_bytes

from django.conf import settings
from django.http import HttpRequest

from router.forwarding.messages import Headers

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
OURS = "x-strangler-"
"""Only the router and its services may speak in these fields; from a client they are removed."""
SET_BY_US = frozenset({"content-length", "expect", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"})
PATH_SAFE = "/:@!$&'()*+,;=-._~"
TARGET_SAFE = PATH_SAFE + '?%[]{}|\\^`"<>#'


def outbound_headers(source: HttpRequest | Mapping[str, Any]) -> Headers:
    """Return what the upstream gets to see of the client's headers, and who the client is for it.

    The body's framing is not in it (``send`` writes that); ``Host`` is the client's. Under WSGI repeated fields come
    merged by the server, and the case of names is lost; under ASGI both are kept.
    """
    environ: Mapping[str, Any] = source.META if isinstance(source, HttpRequest) else source
    fields = _client_fields(source, environ)
    named = {name for key, value in fields if key.lower() == "connection" for name in _list(value)} - {"host"}
    headers = [(name, value) for name, value in fields if _passes(name.lower(), named)]
    forwarded = environ.get("HTTP_X_FORWARDED_FOR")
    client = str(environ.get("REMOTE_ADDR") or "unknown")
    headers.append(("X-Forwarded-For", f"{forwarded}, {client}" if forwarded else client))
    scheme = source.scheme if isinstance(source, HttpRequest) else environ.get("wsgi.url_scheme")
    headers.append(("X-Forwarded-Proto", scheme or "http"))
    if host := _host(environ):
        headers.append(("X-Forwarded-Host", host))
    return headers


def received_headers(headers: Headers, status: int) -> Headers:
    """Return the fields of an upstream's answer that go on: none that belong to its connection or steer a server."""
    named = {name for key, value in headers if key.lower() == "connection" for name in _list(value)}
    passed: Headers = []
    lengths = 0
    for name, value in headers:
        lowered = name.lower()
        if lowered in HOP_BY_HOP or lowered in named or lowered.startswith("x-accel-"):
            continue
        if lowered == "content-length":
            lengths += 1
            if status == 204 or lengths > 1:
                continue
            value = value.partition(",")[0].strip()
        passed.append((name, value))
    return passed


def raw_target(source: HttpRequest | Mapping[str, Any]) -> str:
    """Return path and query as the client sent them, or quoted anew where the server does not hand them over.

    gunicorn gives RAW_URI, uWSGI and mod_wsgi REQUEST_URI, ASGI servers raw_path. From PATH_INFO alone a quoted slash
    (``%2F``) can not be told from a plain one, and needless quoting is lost.
    """
    scope = getattr(source, "scope", None)
    if isinstance(scope, Mapping):
        path = (scope.get("raw_path") or quote(scope["path"], safe=PATH_SAFE).encode()).partition(b"?")[0]
        query = scope.get("query_string", b"")
        return _clean(_origin_form((path + (b"?" + query if query else b"")).decode("latin-1")))
    environ: Mapping[str, Any] = source.META if isinstance(source, HttpRequest) else source
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw:
        return _clean(_origin_form(raw))
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}" or "/"
    query_string = environ.get("QUERY_STRING", "")
    return _clean(quote_from_bytes(_bytes(path), safe=PATH_SAFE) + (f"?{query_string}" if query_string else ""))


def _origin_form(raw: str) -> str:
    if raw.startswith("/") or raw == "*":
        return raw
    rest = raw.partition("://")[2]
    slash = rest.find("/")
    return rest[slash:] if slash >= 0 else "/"


def _clean(target: str) -> str:
    if target.isascii() and target.isprintable() and " " not in target:
        return target
    return quote(_bytes(target), safe=TARGET_SAFE)


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")


def _client_fields(source: HttpRequest | Mapping[str, Any], environ: Mapping[str, Any]) -> Headers:
    scope = getattr(source, "scope", None)
    if isinstance(scope, Mapping):
        pairs: Iterable[tuple[bytes, bytes]] = scope.get("headers", ())
        # A name with an underscore is indistinguishable from one with a hyphen for whoever reads it as an environment
        # variable, so such names do not pass (nginx and gunicorn drop them too).
        fields = [(k.decode("latin-1").title(), v.decode("latin-1")) for k, v in pairs if b"_" not in k]
        return _one_cookie_field(fields)
    fields = [(_field_name(key), value) for key, value in environ.items() if key.startswith("HTTP_")]
    if content_type := environ.get("CONTENT_TYPE"):
        fields.append(("Content-Type", content_type))
    return fields


def _one_cookie_field(fields: Headers) -> Headers:
    """Join the cookies, which HTTP/2 may send in several fields and HTTP/1.1 may not (RFC 9113, 8.2.3)."""
    cookies = [value for name, value in fields if name == "Cookie"]
    if len(cookies) < 2:
        return fields
    return [*(field for field in fields if field[0] != "Cookie"), ("Cookie", "; ".join(cookies))]


@lru_cache(maxsize=1024)
def _field_name(key: str) -> str:
    return key[5:].replace("_", "-").title()


def _passes(lowered: str, named: set[str]) -> bool:
    return not (
        lowered in HOP_BY_HOP or lowered in SET_BY_US or lowered.startswith(OURS) or (named and lowered in named)
    )


def _host(environ: Mapping[str, Any]) -> str | None:
    if settings.USE_X_FORWARDED_HOST and environ.get("HTTP_X_FORWARDED_HOST"):
        return str(environ["HTTP_X_FORWARDED_HOST"])
    host = environ.get("HTTP_HOST")
    return str(host) if host else None


def _list(value: str) -> list[str]:
    return [part.strip().lower() for part in value.split(",")]
