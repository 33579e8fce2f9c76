"""Wrong plans are found by the system checks, with the line and the way out. The shop's own plan is right."""

from dataclasses import replace

import pytest

from migrations_plan import pages, plan_registry, syncing
from migrations_plan.builders import monolith, separate, shared
from migrations_plan.checks import check_plans
from migrations_plan.operations import CheckUpstream, SetEnvelope
from migrations_plan.plan import Phase, Plan, Step
from migrations_plan.sync_gates import CaptureIntact
from migrations_plan.sync_operations import MoveBuckets
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


def _cutover(*percentages: int) -> Plan:
    return Plan(service="orders", phases=(monolith(), separate(aggregate="orders", cutover=percentages)))


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
        (
            plan(step("go@1", shadow=5, shadow_store="own", operations=())),
            "E009",
            "go@1 allows something else than monolith",
        ),
        (plan(step("go@1", reads=5, store="moon")), "E011", "names in go@1 the store 'moon', which has no upstream"),
        (plan(step("go@1", reads=5, shadow_store="moon")), "E011", "names in go@1 the store 'moon'"),
        (plan(step("go@1", operations=(CheckUpstream(store="moon"), *SET))), "E011", "names in go@1 the store 'moon'"),
        (
            Plan(service="orders", phases=(monolith(), separate(aggregate="orders", store="moon"))),
            "E011",
            "names in separate.sync the store 'moon'",
        ),
        (
            Plan(service="orders", phases=(monolith(), separate(aggregate="oders"))),
            "E012",
            "names in separate.sync the aggregate 'oders', which nobody declares",
        ),
        (_cutover(50, 10, 100), "E014", "brings 50, 10, 100 % of 'orders' to the service"),
        (_cutover(10, 10, 100), "E014", "brings 10, 10, 100 % of 'orders'"),
        (_cutover(0, 100), "E014", "brings 0, 100 % of 'orders'"),
        (_cutover(10, 50), "E014", "brings 10, 50 % of 'orders'"),
        (
            plan(step("go@1", operations=(MoveBuckets(aggregate="orders", percent=100, before=5), *SET))),
            "E014",
            "brings 100 % of 'orders' to the service, and home from others: 5 %",
        ),
        (plan(step("go@1", operations=(MoveBuckets(aggregate="oders", percent=100), *SET))), "E012", "'oders'"),
        (
            Plan(service="things", phases=(monolith(), separate(aggregate="orders"))),
            "E015",
            "moves 'orders', the owners of whose buckets are kept under 'orders'; the router looks under 'things'",
        ),
        (plan(step("go@1", gates=(CaptureIntact(aggregate="oders"),))), "E012", "names in go@1 the aggregate 'oders'"),
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


def test_a_store_and_an_aggregate_that_there_are_are_named_with_the_mistake() -> None:
    wrong = Plan(service="orders", phases=(monolith(), separate(aggregate="oders", store="moon")))
    with plan_registry.replaced(wrong), replaced(ROUTE):
        hints = {message.id: message.hint or "" for message in check_plans()}
    assert "['UPSTREAMS']['moon']" in hints["migrations_plan.E011"]
    assert "own, shared" in hints["migrations_plan.E011"]
    assert "one of: orders" in hints["migrations_plan.E012"]


def test_what_syncs_needs_the_app_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "installed", lambda: False)
    with plan_registry.replaced(), replaced(ROUTE):
        plan_registry.register(Plan(service="orders", phases=(monolith(), separate(aggregate="orders"))))
        (message,) = check_plans()
    assert (message.id, message.hint) == (
        "migrations_plan.E013",
        "Add 'migrations_plan.sync' to INSTALLED_APPS and migrate.",
    )
    with plan_registry.replaced(Plan(service="orders", phases=(monolith(), shared()))), replaced(ROUTE):
        assert check_plans() == []


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
    standard = Plan(service="orders", phases=(monolith(), shared(), separate(aggregate="orders")))
    with plan_registry.replaced(standard), replaced(ROUTE):
        assert check_plans() == []


def test_rows_that_are_their_own_partition_key_change_hands_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "whole", lambda aggregate: True)
    with plan_registry.replaced(_cutover(50, 100)), replaced(ROUTE):
        assert [message.id for message in check_plans()] == ["migrations_plan.E016"]
    with plan_registry.replaced(_cutover(100)), replaced(ROUTE):
        assert check_plans() == []


def test_a_point_of_no_return_is_named() -> None:
    assert _cutover(100).point_of_no_return is None
    assert pages.point_of_no_return(_cutover(100)) == "Every step of this plan can be undone."
    gone = plan(step("go@1"), step("go@2", operations=(OneWay(name="drop", lines=[]), *SET)))
    assert gone.point_of_no_return is gone.steps[2]
    assert pages.point_of_no_return(gone).startswith("The point of no return is go@2: ")
