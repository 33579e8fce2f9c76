"""Take secrets and card data out of what is about to be stored."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from router.shadow import cards
from router.shadow.difference import Difference

REDACTED = "[redacted]"
MAX_VALUE = 200
MAX_PATH = 500
MAX_SEARCHED = 2_000
"""Characters of a text in which secrets are looked for; what is shown ends long before."""
SENSITIVE = (
    "authorization",
    "card",
    "cookie",
    "credential",
    "cvc",
    "cvv",
    "email",
    "iban",
    "passwd",
    "password",
    "phone",
    "secret",
    "session",
    "signature",
    "ssn",
    "token",
    "apikey",
    "api_key",
)
"""A name that contains one of these, in any spelling, has its value redacted; settings may add more."""
CREDENTIALS = re.compile(r"\b(?:Bearer|Basic|Token|Digest)\s+[A-Za-z0-9_\-.~+/=:]{6,}", re.IGNORECASE)
SIGNED_TOKEN = re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*")
"""A JSON web token, which anybody who has it may use."""
ASSIGNED = re.compile(
    r"""(?P<name>[A-Za-z_][\w-]*)(?P<between>["']?\s*[=:]\s*["']?)(?P<value>[^\s&;,"'<>]+)""",
)
"""``token=abc``, ``"password": "abc"`` in a text; whether it is a secret depends on the name."""
EMAIL = re.compile(r"[^\s@\"'<>]+@[^\s@\"'<>]+\.[A-Za-z]{2,}")
NAME = re.compile(r"[^\[\].\"]+")


def redact_difference(difference: Difference, extra: Sequence[str] = ()) -> dict[str, Any]:
    """Return a difference as JSON that may be stored."""
    secret = any(is_sensitive(name, extra) for name in NAME.findall(difference.path))
    shown: dict[str, Any] = {
        "path": redact_text(difference.path, extra)[:MAX_PATH],
        "kind": difference.kind,
        "field": redact_text(difference.field, extra)[:MAX_PATH],
    }
    for side, value in (("legacy", difference.legacy), ("extracted", difference.extracted)):
        shown[side] = REDACTED if secret and value is not None else redact_value(value, extra)
    return shown


def redact_value(value: Any, extra: Sequence[str] = ()) -> Any:
    """Return the value without secrets, as short JSON: numbers and short texts as they are, the rest as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and len(str(value)) < 13:
        return value
    if isinstance(value, bytes):
        return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:16]}"
    whole = value if isinstance(value, str) else str(_without_secrets(value, extra))
    text = redact_text(whole, extra)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(whole)} characters)"


def redact_text(text: str, extra: Sequence[str] = ()) -> str:
    """Return a text without what looks like a secret, whatever it stands under."""
    text = text[:MAX_SEARCHED]
    for low, high in sorted(cards.spans(text), reverse=True):
        text = f"{text[:low]}{REDACTED}{text[high:]}"
    for pattern in (SIGNED_TOKEN, CREDENTIALS, EMAIL):
        text = pattern.sub(REDACTED, text)
    return ASSIGNED.sub(lambda found: _assigned(found, extra), text)


def redact_path(path: str, extra: Sequence[str] = ()) -> str:
    """Return path and query without the values of sensitive parameters."""
    base, mark, query = path.partition("?")
    if mark:
        pairs = parse_qsl(query, keep_blank_values=True)
        shown = [(name, REDACTED if is_sensitive(name, extra) else redact_value(value, extra)) for name, value in pairs]
        return f"{redact_text(base, extra)}?{urlencode(shown, safe='[]')}"[:MAX_PATH]
    return redact_text(base, extra)[:MAX_PATH]


def is_sensitive(name: str, extra: Sequence[str] = ()) -> bool:
    """Return whether values under this name are not to be stored."""
    lowered = name.lower().replace("-", "_")
    return any(part in lowered for part in (*SENSITIVE, *extra))


def _assigned(found: re.Match[str], extra: Sequence[str]) -> str:
    if not is_sensitive(found["name"], extra) or found["value"].startswith(REDACTED):
        return found[0]
    return f"{found['name']}{found['between']}{REDACTED}"


def _without_secrets(value: Any, extra: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {
            name: REDACTED if is_sensitive(name, extra) else _without_secrets(item, extra)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item, extra) for item in value]
    return value
