"""The routes of the benchmark's site, diverted as a whole: one for known clients, one for anybody."""

from collections.abc import Mapping

from router.registry import register
from router.routes import Route, Scatter, Visitor
from router.snapshot import Envelope

register(
    Route(service="orders", name="list", methods=("GET",), pattern="/api/orders/", key=Visitor(), shadow=False),
    Route(service="orders", name="public", methods=("GET",), pattern="/api/public/", key=Scatter(), public=True),
)


class Everything:
    """A source of envelopes that lets all reads be diverted."""

    def envelopes(self) -> Mapping[str, Envelope]:
        """Return the one envelope."""
        return {"orders": Envelope(step="benchmark", reads=100)}
