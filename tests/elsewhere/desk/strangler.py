"""Which requests belong to the loans service, and the way it is to go."""

from migrations_plan import plan_registry
from migrations_plan.builders import monolith, shared
from migrations_plan.plan import Plan
from router.registry import register
from router.routes import FromPath, Route, Visitor

register(
    Route(service="loans", name="mine", methods=("GET",), pattern="/mine/", key=Visitor()),
    Route(service="loans", name="lend", methods=("POST",), pattern="/mine/", key=Visitor()),
    Route(service="loans", name="later", methods=("GET",), pattern="/later/", key=Visitor()),
    Route(service="loans", name="of-card", methods=("GET",), pattern="/cards/<slug:card>/", key=FromPath("card")),
    Route(service="loans", name="lend-card", methods=("POST",), pattern="/cards/<slug:card>/", key=FromPath("card")),
)
plan_registry.register(Plan(service="loans", phases=(monolith(), shared())))
