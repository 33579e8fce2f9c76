"""Plans are data: names, targets, the tables of the standard phases."""

import pytest

from migrations_plan import plan_registry
from migrations_plan.builders import SharedGates, monolith, separate, shared
from migrations_plan.errors import UnknownService, UnknownStep
from migrations_plan.gates import ShadowMatchRate, UpstreamErrorRate
from migrations_plan.plan import Plan

PLAN = Plan(service="orders", phases=(monolith(), shared(), separate(aggregate="orders", store="own")))


@pytest.mark.parametrize(
    ("name", "shadow", "reads", "writes"),
    [
        ("monolith", 0, 0, 0),
        ("shared.shadow", 100, 0, 0),
        ("shared.reads@1", 100, 1, 0),
        ("shared.reads@10", 100, 10, 0),
        ("shared.reads@50", 100, 50, 0),
        ("shared.reads@100", 100, 100, 0),
        ("shared.writes@1", 100, 100, 1),
        ("shared.writes@10", 100, 100, 10),
        ("shared.writes@50", 100, 100, 50),
        ("shared.writes@100", 100, 100, 100),
        ("separate.sync", 100, 100, 100),
        ("separate.shadow", 100, 100, 100),
    ],
)
def test_who_may_be_diverted_in_each_step(name: str, shadow: int, reads: int, writes: int) -> None:
    envelope = PLAN.find(name).envelope
    assert (envelope.step, envelope.shadow, envelope.reads, envelope.writes) == (name, shadow, reads, writes)
    assert (envelope.store, envelope.paused) == ("shared", False)
    assert envelope.shadow_store == ("own" if name == "separate.shadow" else "")
    assert PLAN.names.index(name) == PLAN.index(name)


@pytest.mark.parametrize(
    ("target", "step"),
    [
        ("monolith", "monolith"),
        ("shared.shadow", "shared.shadow"),
        ("shared.reads", "shared.reads@100"),
        ("shared.reads@10", "shared.reads@10"),
        ("shared.writes", "shared.writes@100"),
        ("shared", "shared.writes@100"),
        ("separate.sync", "separate.sync"),
        ("separate.cutover", "separate.cutover@100"),
        ("separate", "separate.bake"),
    ],
)
def test_a_target_may_be_a_step_a_group_or_a_phase(target: str, step: str) -> None:
    assert PLAN.find(target).name == step


@pytest.mark.parametrize("target", ["", "reads", "shared.reads@11", "shared.", "shared.reads@", "retired"])
def test_an_unknown_target_is_refused_with_the_valid_ones(target: str) -> None:
    with pytest.raises(UnknownStep, match=r"monolith, shared\.shadow, shared\.reads@1"):
        PLAN.find(target)


@pytest.mark.parametrize(("percent", "wanted"), [(1, 5), (2, 5), (10, 40), (49, 40), (50, 90), (100, 90)])
def test_the_samples_wanted_are_those_of_the_next_lower_percentage(percent: int, wanted: int) -> None:
    gates = SharedGates(read_samples={1: 5, 10: 40, 50: 90})
    (step,) = [step for step in shared(reads=(percent,), writes=(), gates=gates).steps if step.reads]
    (errors,) = [gate for gate in step.gates if isinstance(gate, UpstreamErrorRate)]
    assert (errors.kind, errors.min_samples) == ("read", wanted)


def test_answers_are_compared_as_long_as_legacy_gives_some_and_with_the_second_store() -> None:
    compared = {step.name for step in PLAN.steps if any(isinstance(gate, ShadowMatchRate) for gate in step.gates)}
    assert compared == {
        "shared.shadow",
        "shared.reads@1",
        "shared.reads@10",
        "shared.reads@50",
        "separate.shadow",
        "separate.bake",
    }


def test_the_registry_names_what_it_has() -> None:
    with plan_registry.replaced(PLAN):
        assert plan_registry.plan_of("orders") is PLAN
        with pytest.raises(UnknownService, match="Services with a plan: orders"):
            plan_registry.plan_of("order")
    with plan_registry.replaced(), pytest.raises(UnknownService, match="no app registers a plan"):
        plan_registry.plan_of("orders")
