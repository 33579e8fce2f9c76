"""The one route of the site, of which as much is shadowed as the environment says."""

from collections.abc import Mapping

from django.conf import settings

from router.registry import register
from router.routes import Route, Scatter
from router.snapshot import Envelope

register(Route(service="orders", name="list", methods=("GET",), pattern="/api/orders/", key=Scatter()))


class Source:
    """A source of envelopes that diverts nothing."""

    def envelopes(self) -> Mapping[str, Envelope]:
        """Return the one envelope."""
        return {"orders": Envelope(step="benchmark", shadow=settings.SHADOW_PERCENT)}
