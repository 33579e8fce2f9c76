"""What stands for a value while it is compared, where the value itself has to differ."""

import re
import uuid
from collections.abc import Callable
from typing import Any

from router.comparing.tolerances import moment

Normaliser = Callable[[Any], Any]
"""Gets a value as parsed (numbers with a point are Decimals), returns what is compared in its place."""

_TOKEN = re.compile(r"[A-Za-z0-9_\-.~+/=]{8,}")
_SPACE = re.compile(r"\s+")


def IDS(value: Any) -> Any:
    """Let any whole number above zero stand for any other, and any UUID; something else stays what it is."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return "<id: number>"
    if isinstance(value, str) and value.isdigit():
        return "<id: number as text>"
    try:
        return "<id: uuid>" if isinstance(value, str) and uuid.UUID(value) else value
    except ValueError:
        return value


def TIMES(value: Any) -> Any:
    """Let any ISO 8601 time stand for any other, with and without a zone apart; other texts stay what they are."""
    found = moment(value) if isinstance(value, str) else None
    if found is None:
        return value
    return "<time>" if found.tzinfo is None else "<time with zone>"


def TOKENS(value: Any) -> Any:
    """Let any opaque text of eight characters or more stand for any other; none, or a shorter one, is different."""
    return "<token>" if isinstance(value, str) and _TOKEN.fullmatch(value) else value


def SPACES(value: Any) -> Any:
    """Take runs of white space for one space."""
    return _SPACE.sub(" ", value).strip() if isinstance(value, str) else value
