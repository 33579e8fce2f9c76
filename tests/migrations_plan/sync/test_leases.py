"""A lease lets one at a time in, and lets the next one in when its holder is silent for too long."""

import itertools
from datetime import timedelta

import pytest
from django.utils import timezone

from migrations_plan.sync import leases
from migrations_plan.sync.errors import Busy
from migrations_plan.sync.models import Lease

pytestmark = pytest.mark.django_db


def run_out() -> None:
    """Let every lease be over."""
    Lease.objects.update(until=timezone.now() - timedelta(milliseconds=1))


def test_one_at_a_time_and_the_second_is_told_who_is_at_it() -> None:
    with leases.held("default", "work", 10) as first:
        with pytest.raises(Busy, match=f"work is being done by {first.holder} until .* UTC"):
            leases.held("default", "work", 10).__enter__()
        with leases.held("default", "other work", 10):
            assert Lease.objects.count() == 2
    with leases.held("default", "work", 10) as second:
        assert second.holder != first.holder


def test_it_is_given_back_after_an_error_as_well() -> None:
    with pytest.raises(ZeroDivisionError), leases.held("default", "work", 10):
        raise ZeroDivisionError
    assert not Lease.objects.exists()


def test_a_silent_holder_loses_it_and_hears_of_it_when_it_renews() -> None:
    with leases.held("default", "work", 10) as first:
        run_out()
        with leases.held("default", "work", 10) as second:
            first.renewed[:] = [float("-inf")]
            with pytest.raises(Busy, match="taken over by another process"):
                first.renew()
            assert Lease.objects.get().holder == second.holder
            first.give_back()
            assert Lease.objects.get().holder == second.holder


def test_one_that_ran_out_and_nobody_took_goes_on() -> None:
    with leases.held("default", "work", 10) as lease:
        run_out()
        lease.renewed[:] = [float("-inf")]
        lease.renew()
        assert Lease.objects.get().until > timezone.now()


def test_it_is_written_down_again_only_after_a_part_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(leases, "monotonic", lambda: now)
    with leases.held("default", "work", 10) as lease:
        dates = []
        for now in (1.0, 2.9, 3.1, 4.0, 6.2):  # noqa: B007 (read by the clock)
            lease.renew()
            dates.append(Lease.objects.get().until)
    assert [later > earlier for earlier, later in itertools.pairwise(dates)] == [False, True, False, True]
