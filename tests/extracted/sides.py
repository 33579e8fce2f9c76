"""Ask the monolith and the service the same thing."""

import json
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from rest_framework.authtoken.models import Token

from router.identity import ANONYMOUS
from tests.extracted import shop
from tests.extracted.conftest import Service

Answer = tuple[int, bytes, dict[str, str | None]]
HEADERS = ("Content-Type", "WWW-Authenticate", "Allow", "X-Frame-Options", "Idempotency-Replayed", "Retry-After")
NOBODY_LISTENS = "http://127.0.0.1:1"


class Sides:
    """Both sides of the contract, asked in the same words."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.client = Client(raise_request_exception=False)

    def legacy(self, method: str, path: str, who: User | None, body: Any, headers: dict[str, str]) -> Answer:
        """Return what the monolith answers."""
        sent = dict(headers)
        if who is not None:
            sent["Authorization"] = f"Token {Token.objects.get_or_create(user=who)[0].key}"
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body)
        kind = "application/json" if data else "application/octet-stream"
        answer = self.client.generic(method, path, data, content_type=kind, headers=sent)
        return answer.status_code, answer.content, {name: answer.headers.get(name) for name in HEADERS}

    def extracted(self, method: str, path: str, who: User | None, body: Any, headers: dict[str, str]) -> Answer:
        """Return what the service answers."""
        identity = ANONYMOUS if who is None else shop.identity(who)
        answer = self.service.call(method, path, identity, body=body, headers=headers)
        return answer.status_code, answer.content, {name: answer.headers.get(name) for name in HEADERS}

    def both(self, method: str, path: str, who: User | None, body: Any = None, **headers: str) -> Answer:
        """Return the answer that both sides give; fail if they differ."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        legacy = self.legacy(method, path, who, body, sent)
        assert self.extracted(method, path, who, body, sent) == legacy
        return legacy
