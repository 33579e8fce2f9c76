"""A client that does not give up: lost connections and refusals "for a moment" are tried again, with the same key."""

import time
from collections.abc import Callable
from typing import Any

import requests

from tests.processes import wait_until

PATIENCE = 10.0
"""Within this a client that retries has a right answer, seconds."""
LOST = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
"""What a client sees of a server that dies: no answer, or one that breaks off."""


def answer_within(ask: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Ask until there is an answer that is no "try again", waiting as long as each one says; fail after the bound."""
    answers: list[Any] = []
    due = time.monotonic()

    def answered() -> bool:
        nonlocal due
        if time.monotonic() < due:
            return False
        try:
            answer = ask()
        except LOST:
            return False
        if answer.status_code in {409, 503} and "Retry-After" in answer.headers:
            due = time.monotonic() + float(answer.headers["Retry-After"])
            return False
        answers.append(answer)
        return True

    wait_until(answered, "a retrying client has an answer", seconds)
    return answers[0]
