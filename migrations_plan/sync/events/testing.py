"""Deliver events in tests: in this process, without a broker, until nothing is left to do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from migrations_plan.sync.events import handlers, inbox, tasks, types
from migrations_plan.sync.events.envelopes import Envelope
from migrations_plan.sync.events.relay import relay
from migrations_plan.sync.events.runs import work

ROUNDS = 100


class LocalSender:
    """Hands each event to this program's own inbox, through JSON as a broker would."""

    def send(self, envelope: Envelope, to: str | None) -> None:
        """Receive the event; everybody is us."""
        self.receive(json.loads(json.dumps(envelope.as_json(), cls=DjangoJSONEncoder)))

    def waiting(self, consumer: str) -> int:
        """Nothing waits: it is received as it is sent."""
        return 0

    def receive(self, message: Any) -> None:
        """Take a message in and acknowledge it."""
        received = inbox.receive(message)
        if received.envelope is not None:
            tasks.confirm(received.envelope)


@contextmanager
def local_sender() -> Iterator[LocalSender]:
    """Stand in for the connection to a broker."""
    yield LocalSender()


def deliver_all() -> int:
    """Relay, receive and handle until nothing is due; return how many handlers ran."""
    done = 0
    for _ in range(ROUNDS):
        report, worked = relay(sender=local_sender), work()
        done += worked.done
        if not (report.new or report.sent or worked.done or worked.failed):
            return done
    raise RuntimeError(f"Events lead to events: after {ROUNDS} rounds there are still more.")


@contextmanager
def override_declarations() -> Iterator[None]:
    """Begin without handlers, and forget types, upcasters and handlers that are declared in the block."""
    with types.replaced(), handlers.replaced():
        yield
