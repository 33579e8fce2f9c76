"""Percentiles are read from a histogram, within the width of a bin."""

import random
from datetime import timedelta

import pytest
from django.utils import timezone

from migrations_plan.sync import lag
from migrations_plan.sync.models import Lag

pytestmark = pytest.mark.django_db

WIDTH = 2 ** (1 / lag.BINS_PER_DOUBLING)
"""The upper edge of a bin, as a multiple of its lower one."""
WAY = ("default", "orders", "legacy->extracted")


def found() -> lag.Percentiles:
    return lag.percentiles(*WAY, timezone.now() - timedelta(minutes=5))


@pytest.mark.parametrize("count", [1, 2, 99, 100, 1000])
@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_within_the_width_of_a_bin_and_never_too_low(count: int, spread: float) -> None:
    dice = random.Random(count)
    seconds = sorted(0.05 * 2 ** dice.gauss(0, spread) + 0.0005 for _ in range(count))
    lag.record(*WAY, seconds)
    measured = found()
    assert measured.samples == count
    for share, value in ((0.5, measured.p50), (0.99, measured.p99)):
        exact = next(one for place, one in enumerate(seconds, 1) if place >= share * count)
        assert value is not None
        assert exact <= value <= exact * WIDTH * 1.000001


def test_what_is_recorded_adds_up() -> None:
    for seconds in ([0.1, 0.1], [0.1, 5.0]):
        lag.record(*WAY, seconds)
    assert sorted(Lag.objects.values_list("count", flat=True)) == [1, 3]
    assert found().samples == 4


def test_no_samples_is_no_lag_of_zero() -> None:
    lag.record("default", "orders", "extracted->legacy", [1.0])
    lag.record("default", "users", "legacy->extracted", [1.0])
    assert found() == lag.Percentiles(samples=0, p50=None, p99=None)


def test_a_clock_that_is_behind_counts_as_no_lag() -> None:
    lag.record(*WAY, [-3.0, 0.0])
    assert found().p99 == pytest.approx(0.0005, rel=0.06)


def test_only_what_arrived_since() -> None:
    lag.record(*WAY, [9.0])
    Lag.objects.update(minute=timezone.now() - timedelta(minutes=7))
    lag.record(*WAY, [0.1])
    measured = found()
    assert (measured.samples, measured.p99) == (1, pytest.approx(0.1, rel=0.06))


def test_old_ones_are_forgotten() -> None:
    lag.record(*WAY, [9.0])
    Lag.objects.update(minute=timezone.now() - lag.KEEP - timedelta(minutes=1))
    lag.record(*WAY, [0.1])
    assert lag.purge("default") == 1
    assert Lag.objects.count() == 1


def test_lags_are_written_down_together_and_the_last_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(lag, "monotonic", lambda: now)
    with lag.recording(*WAY) as recorder:
        recorder.add([0.1])
        assert found().samples == 0
        now = 1.0
        recorder.add([0.2])
        assert found().samples == 2
        recorder.add([0.3])
        assert found().samples == 2
    assert found().samples == 3


def test_lags_are_written_down_however_a_relay_ends() -> None:
    def fail() -> None:
        with lag.recording(*WAY) as recorder:
            recorder.add([0.1])
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert found().samples == 1
