"""Forms that take effect once, however often they are sent: each one shown carries a token of its own."""

import re
import uuid
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.http import HttpRequest

from router import seam

P = ParamSpec("P")
R = TypeVar("R")

FIELD = "once"
TOKEN = re.compile(r"[0-9a-f]{32}")


def new_token() -> str:
    """Return the token for a form that is about to be shown."""
    return uuid.uuid4().hex


def once(request: HttpRequest, operation: seam.WriteSeam[P, R]) -> Callable[P, R]:
    """Return the operation under the token of the form that was sent; without a token it is an ordinary call."""
    token = request.POST.get(FIELD, "")
    return operation.once(f"{operation.label}-{token}") if TOKEN.fullmatch(token) else operation
