"""Operations do what they say, twice as well as once, and undo no work of a person."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from waffle import get_waffle_flag_model

from migrations_plan.errors import NotReady
from migrations_plan.gates import HealthReport
from migrations_plan.operations import NOTE, CheckUpstream, Context, EnsureFlags, SetEnvelope
from router.api import Envelope, effective
from tests.migrations_plan.fakes import FakeMeasurements

BEFORE, AFTER = Envelope(step="a"), Envelope(step="b", reads=10, shadow=100)
CONTEXT = Context(service="orders", before=BEFORE, after=AFTER, measurements=FakeMeasurements())
NAMES = ["orders.reads", "orders.shadow", "orders.writes"]


def flags() -> list[str]:
    return list(get_waffle_flag_model().objects.order_by("name").values_list("name", flat=True))


@pytest.mark.django_db
def test_flags_are_made_once_and_let_everybody_in() -> None:
    EnsureFlags().forwards(CONTEXT)
    EnsureFlags().forwards(CONTEXT)
    assert flags() == NAMES
    for flag in get_waffle_flag_model().objects.all():
        assert (flag.percent, flag.everyone, flag.superusers, flag.note) == (100, None, False, NOTE)
    assert {found.requested for found in effective("orders").values()} == {100}


@pytest.mark.django_db
def test_a_flag_that_exists_is_left_as_it_is() -> None:
    get_waffle_flag_model().objects.create(name="orders.reads", percent=5, note="mine")
    EnsureFlags().forwards(CONTEXT)
    flag = get_waffle_flag_model().objects.get(name="orders.reads")
    assert (flag.percent, flag.note) == (5, "mine")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "touch",
    [
        lambda flag: setattr(flag, "percent", 50),
        lambda flag: setattr(flag, "everyone", False),
        lambda flag: setattr(flag, "staff", True),
        lambda flag: setattr(flag, "note", "careful"),
        lambda flag: flag.groups.add(Group.objects.create(name="testers")),
    ],
)
def test_undoing_deletes_only_flags_that_nobody_changed(touch: Callable[[Any], None]) -> None:
    EnsureFlags().forwards(CONTEXT)
    flag = get_waffle_flag_model().objects.get(name="orders.writes")
    touch(flag)
    flag.save()
    EnsureFlags().backwards(CONTEXT)
    EnsureFlags().backwards(CONTEXT)
    assert flags() == ["orders.writes"]


def test_asking_an_upstream_changes_nothing_and_says_the_way_out() -> None:
    CheckUpstream().forwards(CONTEXT)
    down = Context(
        service="orders",
        before=BEFORE,
        after=AFTER,
        measurements=FakeMeasurements(ready=HealthReport(ok=False, detail="connection refused.")),
    )
    with pytest.raises(NotReady, match=r"STRANGLER\['SERVICES'\]\['orders'\]\['UPSTREAMS'\]"):
        CheckUpstream().forwards(down)
    CheckUpstream().backwards(down)


def test_the_envelope_is_what_the_step_says_there_and_back() -> None:
    operation = SetEnvelope()
    assert operation.forwards(CONTEXT) == AFTER
    assert operation.backwards(CONTEXT) == BEFORE
    assert operation.describe(CONTEXT) == "allow shadow 0 % -> 100 %, reads 0 % -> 10 %"
    assert operation.describe_undo(CONTEXT) == "allow shadow 100 % -> 0 %, reads 10 % -> 0 %"
