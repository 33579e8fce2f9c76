"""Ownership goes there and back while customers buy and everything dies; in the end nothing is lost or there twice."""

from collections.abc import Callable
from typing import Any

import pytest

from tests import scratch
from tests.acceptance.chaos.house import house
from tests.acceptance.chaos.run import Run

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(420)]

SECONDS, WAYS, SEED = 10.0, 3, 4834
"""Every thing breaks about once; buckets go to the service, back, and to the service again."""
CUSTOMERS, THREADS, PACE = 8, 4, 0.1


def play(say: Callable[[str], None], **where: Any) -> None:
    """Play a short run; fail with what is wrong."""
    with house(customers=CUSTOMERS, **where) as found:
        run = Run(house=found, seed=SEED, threads=THREADS, say=say, all_buckets=False, stops=1, pace=PACE)
        wrong = run.play(SECONDS, WAYS)
    assert wrong == {}


@pytest.mark.sqlite
def test_on_files_by_commands_alone() -> None:
    play(print)


@pytest.mark.postgres
def test_on_postgres_with_a_broker(rabbitmq_url: str) -> None:
    play(print, postgres_url=scratch.url("chaos"), broker_url=rabbitmq_url)
