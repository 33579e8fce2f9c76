"""Ownership goes there and back while customers buy and everything dies; in the end nothing is lost or there twice."""

from collections.abc import Callable
from typing import Any

import pytest

from tests import scratch
from tests.acceptance.chaos.house import house
from tests.acceptance.chaos.run import Run

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(420)]

SECONDS, WAYS, SEED = 10.0, 3, 8
"""Every thing breaks about once; buckets go to the service, back, and to the service again."""
CUSTOMERS, THREADS, PACE = 8, 4, 0.1
NOT_YET = {"customers read what they wrote, and never go back"}
"""Within a second after a bucket has changed hands, a process that has not heard of it has a read answered by the copy,
which may be behind and does not say so. What is broken of this is printed; take it out once that is mended."""


def play(say: Callable[[str], None], **where: Any) -> None:
    """Play a short run; fail with what is wrong."""
    with house(customers=CUSTOMERS, **where) as found:
        run = Run(house=found, seed=SEED, threads=THREADS, say=say, all_buckets=False, stops=1, pace=PACE)
        wrong = run.play(SECONDS, WAYS)
    assert {name: problems for name, problems in wrong.items() if name not in NOT_YET} == {}


@pytest.mark.sqlite
def test_on_files_by_commands_alone() -> None:
    play(print)


@pytest.mark.postgres
def test_on_postgres_with_a_broker(rabbitmq_url: str) -> None:
    play(print, postgres_url=scratch.url("chaos"), broker_url=rabbitmq_url)
