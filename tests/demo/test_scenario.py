"""The story, and who is due to answer in it."""

import random
from typing import Any

import pytest

from demo.cast import BANDS, choose
from demo.checks import Check
from demo.records import Log, Record, by_side, percentile
from demo.report import last_line, verdicts
from demo.scenario import ACTS, story
from demo.shopping import MIX
from demo.sides import due_side, fell_back
from demo.tables import Person
from demo.traffic import Traffic
from demo.waiting import until


def record(**given: Any) -> Record:
    basis: dict[str, Any] = {
        "at": 1.0, "act": "a", "action": "list", "method": "GET", "side": "legacy", "reason": "", "status": 200,
        "seconds": 0.1, "tries": 1, "bucket": 5,
    }  # fmt: skip
    return Record(**{**basis, **given})


@pytest.mark.parametrize(
    ("action", "place", "reads", "writes", "expected"),
    [
        ("list", 0, 0, 0, "legacy"),
        ("list", 0, 1, 0, "extracted"),
        ("list", 1, 1, 0, "legacy"),
        ("detail", 9, 10, 0, "extracted"),
        ("order", 9, 100, 0, "legacy"),
        ("order", 9, 100, 10, "extracted"),
        ("cancel", 10, 100, 10, "legacy"),
        ("address", 99, 100, 100, "extracted"),
    ],
)
def test_due_side(action: str, place: int, reads: int, writes: int, expected: str) -> None:
    assert due_side(record(action=action, bucket=place), reads, writes) == expected


def test_fallback_is_no_wrong_turn() -> None:
    assert fell_back(record(reason="everyone; fallback:ambiguous-first_byte_deadline"))
    assert not fell_back(record(reason="outside-envelope"))


def test_story_goes_there_and_back_and_there_again() -> None:
    names = [act.name for act in ACTS]
    assert names[0] == "monolith"
    assert names.index("crash") < names.index("rollback") < names.index("again")
    assert [name for name in names if name.startswith("reads")] == [
        "reads 1 %",
        "reads 10 %",
        "reads 50 %",
        "reads 100 %",
    ]
    assert len(set(names)) == len(names)


def test_orders_get_a_second_home_once_evidence_is_fresh_and_all_ends_in_the_monolith() -> None:
    names = [act.name for act in ACTS]
    assert names[names.index("again") :] == [
        "again",
        "sync",
        "corruption",
        "second shadow",
        "cut off",
        "two homes",
        "home",
    ]


def test_mix_is_out_of_a_hundred() -> None:
    assert sum(weight for _, weight in MIX) == 100


def test_every_band_has_customers() -> None:
    people = [Person(user_id=number, username=f"c{number}", token="t") for number in range(1, 2001)]
    chosen = choose(people, random.Random(1))
    for low, high, wanted, _ in BANDS:
        assert sum(1 for _, place, _ in chosen if low <= place < high) == wanted


def test_times_by_side() -> None:
    records = [record(seconds=number / 100) for number in range(1, 101)] + [record(side="extracted", seconds=7.0)]
    extracted, legacy = by_side(records)
    assert (extracted.side, extracted.requests, extracted.p50, extracted.p99) == ("extracted", 1, 7.0, 7.0)
    assert (legacy.side, legacy.requests, legacy.p50, legacy.p99) == ("legacy", 100, 0.51, 1.0)
    assert percentile([], 0.5) == 0.0


def test_log_forgets_in_the_long_run() -> None:
    log = Log(records=[record() for _ in range(11)])
    log.forget(20)
    assert len(log) == 11
    log.forget(10)
    assert len(log) == 5


def test_last_line_is_what_scripts_read() -> None:
    line = last_line(requests=2345, failed=0, lost=0, duplicated=0, mismatched=0, mails=900, synced=3500)
    assert line == "demo: requests=2345 failed=0 lost=0 duplicated=0 mismatched=0 mails=900 synced=3500"


def test_failed_check_is_shown_with_what_was_found() -> None:
    text = verdicts([Check(name="fine", problems=()), Check(name="bad", problems=[f"p{n}" for n in range(10)])])
    assert "ok      fine" in text
    assert "FAILED  bad" in text
    assert "p7" in text
    assert "p8" not in text
    assert "and 2 more" in text


class Actor:
    """Somebody who counts, or breaks."""

    weight = 1.0

    def __init__(self, error: Exception | None = None) -> None:
        self.acts = 0
        self.error = error

    def act(self) -> None:
        self.acts += 1
        if self.error is not None:
            raise self.error


def test_traffic_lets_everybody_act_and_ends() -> None:
    actors = [Actor() for _ in range(4)]
    traffic = Traffic(actors=actors, seed=1, threads=2, think_seconds=0.0)
    traffic.start()
    until(lambda: all(actor.acts > 3 for actor in actors), seconds=10, what="everybody acted")
    traffic.stop()


def test_broken_traffic_is_not_silent() -> None:
    traffic = Traffic(actors=[Actor(ValueError("surprise"))], seed=1, threads=1, think_seconds=0.0)
    traffic.start()
    until(lambda: bool(traffic.errors), seconds=10, what="the thread broke")
    with pytest.raises(RuntimeError, match="went silent"):
        traffic.stop()


def test_ownership_changes_hands_on_request_once_both_homes_are_compared() -> None:
    names = [act.name for act in story(cut_over=True, killed=True)]
    assert names[names.index("second shadow") :][:5] == ["second shadow", "cut-over", "come home", "killed", "cut off"]
    assert story(cut_over=False) == tuple(ACTS)
