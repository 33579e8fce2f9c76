"""Wrong plans are found by the system checks, with the line and the way out. The shop's own plan is right."""

from dataclasses import replace

import pytest

from migrations_plan import plan_registry
from migrations_plan.builders import monolith, shared
from migrations_plan.checks import check_plans
from migrations_plan.operations import SetEnvelope
from migrations_plan.plan import Phase, Plan, Step
from router.registry import replaced
from router.routes import Route, Visitor
from tests.migrations_plan.fakes import Journal, OneWay

ROUTE = Route(service="orders", name="list", pattern="/api/orders/", key=Visitor())
SET = (SetEnvelope(),)


class Mute(Journal):
    def describe(self, passage: object) -> str:
        return " "


class MuteOneWay(OneWay):
    def describe(self, passage: object) -> str:
        return ""


def plan(*steps: Step, service: str = "orders") -> Plan:
    return Plan(service=service, phases=(monolith(), Phase(name="go", title="Going", steps=steps)))


def step(name: str, **values: object) -> Step:
    return replace(Step(name=name, title=name, operations=SET), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "code", "says"),
    [
        (plan(step("go"), service="payments"), "E002", "the plan of 'payments' has no route"),
        (Plan(service="orders", phases=()), "E003", "has no step"),
        (Plan(service="orders", phases=(Phase(name="go", title="", steps=(step("go", reads=5),)),)), "E004", "'go'"),
        (Plan(service="orders", phases=(shared(),)), "E004", "begins with 'shared.shadow'"),
        (plan(step("go@1"), step("go@1")), "E005", "2 steps named 'go@1'"),
        (plan(step("gone@1")), "E006", "a step 'gone@1' in the phase 'go'"),
        (plan(step("go@1", reads=101)), "E007", "go@1 has reads 101 %"),
        (plan(step("go@1", writes=-1)), "E007", "go@1 has writes -1 %"),
        (
            plan(step("go@1", reads=50), step("go@2", reads=10)),
            "E008",
            "go@2 diverts 10 % of reads, go@1 before it 50 %",
        ),
        (plan(step("go@1", writes=50), step("go@2")), "E008", "go@2 diverts 0 % of writes"),
        (plan(step("go@1", reads=50, operations=())), "E009", "never puts it in force"),
        (plan(step("go@1", operations=(Mute(name="x", lines=[]), *SET))), "E010", "an operation, Mute,"),
        (plan(step("go@1", operations=(MuteOneWay(name="x", lines=[]), *SET))), "E010", "an irreversible operation"),
    ],
)
def test_a_wrong_plan_is_an_error_that_names_the_line_and_the_way_out(wrong: Plan, code: str, says: str) -> None:
    with plan_registry.replaced(), replaced(ROUTE):
        plan_registry.register(wrong)
        found = {message.id: message for message in check_plans()}
    message = found[f"migrations_plan.{code}"]
    assert says in message.msg
    assert "tests/migrations_plan/test_checks.py:" in message.msg
    assert message.hint


def test_two_plans_for_one_service_name_both_lines() -> None:
    right = Plan(service="orders", phases=(monolith(), shared()))
    with plan_registry.replaced(), replaced(ROUTE):
        plan_registry.register(right)
        plan_registry.register(right)
        (message,) = check_plans()
    assert message.id == "migrations_plan.E001"
    assert message.msg.count("test_checks.py:") == 2


def test_routes_without_a_plan_are_a_warning() -> None:
    with plan_registry.replaced(), replaced(ROUTE):
        (message,) = check_plans()
    assert (message.id, message.is_serious()) == ("migrations_plan.W001", False)
    assert "'orders'" in message.msg
    assert "plan_registry.register" in (message.hint or "")


def test_a_right_plan_and_the_shop_as_it_is_have_nothing_wrong() -> None:
    assert check_plans() == []
    with plan_registry.replaced(Plan(service="orders", phases=(monolith(), shared()))), replaced(ROUTE):
        assert check_plans() == []
