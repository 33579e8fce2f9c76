"""Product reviews leave oscar: reading them, writing one, voting."""

from migrations_plan import plan_registry
from migrations_plan.builders import SharedGates, monolith, shared
from migrations_plan.gates import ShadowMatchRate
from migrations_plan.plan import Plan
from migrations_plan.receivers import ReceiversHandled
from router.registry import register
from router.routes import Route, Visitor

PRODUCT = "/catalogue/<slug:product_slug>_<int:product_pk>/reviews/"

register(
    Route(service="reviews", name="list", pattern=PRODUCT, key=Visitor()),
    Route(service="reviews", name="detail", pattern=f"{PRODUCT}<int:pk>/", key=Visitor()),
    Route(service="reviews", name="form", pattern=f"{PRODUCT}add/", key=Visitor(), shadow=False),
    Route(service="reviews", name="add", methods=("POST",), pattern=f"{PRODUCT}add/", key=Visitor()),
    Route(service="reviews", name="vote", methods=("POST",), pattern=f"{PRODUCT}<int:pk>/vote/", key=Visitor()),
)

plan_registry.register(
    Plan(
        service="reviews",
        phases=(
            monolith(),
            shared(
                reads=(50, 100),
                writes=(50, 100),
                gates=SharedGates(
                    shadow=ShadowMatchRate(min_samples=20, min_rate=0.85),
                    drift=ShadowMatchRate(min_samples=5, min_rate=0.5),
                    read_samples={50: 3, 100: 5},
                    write_samples={50: 1, 100: 3},
                ),
                receivers=ReceiversHandled(
                    models=("reviews.ProductReview", "reviews.Vote"),
                    signals=("oscar.apps.catalogue.reviews.signals.review_added",),
                    handled={
                        "haystack.signals.BaseSignalProcessor.handle_save": "the search index holds products alone",
                        "haystack.signals.BaseSignalProcessor.handle_delete": "the search index holds products alone",
                    },
                ),
            ),
        ),
    )
)
