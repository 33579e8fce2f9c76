"""When a side counts as slow, and when it is well again; the clock is the test's."""

import pytest

from router.shadow.pace import ENOUGH, LONGEST_SECONDS, Pace


class Side:
    """A side that answers on a clock of its own."""

    def __init__(self, factor: float = 1.5, window: float = 5.0) -> None:
        self.now = 1_000.0
        self.pace = Pace(factor=factor, window=window, clock=lambda: self.now)
        self.switches: list[tuple[float, bool]] = []

    def answers(self, seconds: float, *, times: int, each: float = 0.05, route: str = "list") -> "Side":
        """Answer so many times, at this distance."""
        for _ in range(times):
            self.now += each
            if self.pace.observe(route, seconds):
                self.switches.append((self.now, self.pace.slow))
        return self


def test_steady_answers_are_never_slow() -> None:
    side = Side().answers(0.01, times=5_000)
    assert side.switches == []
    assert side.pace.ratio == pytest.approx(1.0)


def test_a_side_that_slows_down_is_slow_and_well_again_only_half_way_back() -> None:
    side = Side().answers(0.01, times=200).answers(0.02, times=60)
    assert side.pace.slow
    side.answers(0.0149, times=100)
    assert side.pace.slow, "above half-way: it would be switched off again at once"
    side.answers(0.01, times=200)
    assert [slow for _, slow in side.switches] == [True, False]


def test_it_is_noticed_within_the_window() -> None:
    side = Side().answers(0.01, times=200)
    before = side.now
    side.answers(0.05, times=200)
    assert side.switches[0][0] - before <= side.pace.window


def test_it_stays_off_for_the_window_at_least() -> None:
    side = Side().answers(0.01, times=200).answers(0.1, times=30)
    off = side.switches[0][0]
    side.answers(0.01, times=1_000)
    assert side.switches[1][0] - off >= side.pace.window


def test_one_terrible_answer_proves_nothing() -> None:
    side = Side().answers(0.01, times=200).answers(60.0, times=1).answers(0.01, times=200)
    assert side.switches == []


def test_a_few_answers_prove_nothing() -> None:
    side = Side().answers(0.01, times=200)
    side.now += 60
    assert side.answers(1.0, times=ENOUGH - 1).switches == []


def test_another_mix_of_routes_is_no_slowdown() -> None:
    side = Side()
    for _ in range(10):
        side.answers(0.002, times=20, route="detail").answers(0.2, times=5, route="report")
    side.answers(0.2, times=300, route="report")
    assert side.switches == []


def test_differences_below_a_millisecond_are_noise() -> None:
    assert Side().answers(0.0002, times=200).answers(0.0009, times=500).switches == []


def test_what_stays_slow_without_shadowing_is_the_new_usual_in_a_minute() -> None:
    side = Side().answers(0.01, times=200)
    before = side.now
    side.answers(0.03, times=2_000)
    assert [slow for _, slow in side.switches] == [True, False]
    assert side.pace.window < side.switches[1][0] - before < 60


def test_without_traffic_it_is_not_held_off_for_ever() -> None:
    side = Side().answers(0.01, times=200).answers(0.1, times=100)
    assert side.pace.slow
    side.now += 60
    assert not side.answers(0.1, times=1).pace.slow


def test_again_and_again_it_stays_off_for_longer_up_to_a_limit() -> None:
    side = Side().answers(0.01, times=200)
    while side.now < 4_000:
        side.answers(0.01 if side.pace.slow else 0.1, times=1)
    moments = [at for at, _ in side.switches]
    lengths = [on - off for off, on in zip(moments[::2], moments[1::2], strict=False)]
    assert lengths[1] > 1.8 * lengths[0]
    assert max(lengths) <= LONGEST_SECONDS * 1.1
