"""The router inside the monolith: each request of a route is decided, and answered by the side that is due."""

from django.http import HttpRequest, HttpResponseBase

from router import metrics, registry, snapshot
from router.conf import conf
from router.csrf import refusal
from router.diversion import Answered, divert
from router.exchange import Exchange, GetResponse
from router.metrics import Outcome
from router.shadowing import shadow

SIDE_HEADER = "X-Strangler-Side"
REASON_HEADER = "X-Strangler-Reason"
FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
"""Content types in whose fields a CSRF token may stand."""


class StranglerMiddleware:
    """Divert what the plan and the flags divert; leave everything else exactly as it was.

    Stands behind the authentication middleware, whose user it shares with the view. A path that belongs to no route
    costs one look-up in a dictionary.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer by the side that is due."""
        match = registry.match(request.method or "", request.path_info)
        if match is None:
            return self.get_response(request)
        exchange = Exchange(request=request, match=match, snapshot=snapshot.current())
        answered = self._answer(exchange)
        metrics.record(
            service=exchange.route.service,
            route=exchange.route.name,
            kind=exchange.route.kind,
            side=answered.side,
            outcome=answered.outcome,
            seconds=exchange.elapsed,
        )
        _explain(exchange, answered)
        return answered.response

    def _answer(self, exchange: Exchange) -> Answered:
        decision = exchange.decision
        if decision.side == "legacy":
            return self._shadowed(exchange) if decision.shadow else self._by_legacy(exchange)
        identity = exchange.identity
        if exchange.credentials_rejected:
            exchange.note = "credentials-rejected"
            return self._by_legacy(exchange)
        forbidden = refusal(exchange.request, identity, keep_body=exchange.body_is_kept)
        if forbidden is not None:
            if not exchange.body_is_kept and exchange.request.content_type in FORMS:
                exchange.note = "csrf-token-unread"  # legacy reads the form, and looks for the token there
                return self._by_legacy(exchange)
            exchange.note = "csrf-failed"
            return Answered(response=forbidden, side="legacy", outcome=Outcome.CLIENT_ERROR)
        return divert(exchange, self.get_response)

    def _by_legacy(self, exchange: Exchange) -> Answered:
        response = self.get_response(exchange.request)
        return Answered(response=response, side="legacy", outcome=_outcome(response))

    def _shadowed(self, exchange: Exchange) -> Answered:
        _ = exchange.identity  # first, so that the view takes over what was looked up
        answered = self._by_legacy(exchange)
        shadow(exchange, answered.response, self.get_response)
        return answered


def _outcome(response: HttpResponseBase) -> Outcome:
    if response.status_code >= 500:
        return Outcome.SERVER_ERROR
    return Outcome.CLIENT_ERROR if response.status_code >= 400 else Outcome.OK


def _explain(exchange: Exchange, answered: Answered) -> None:
    """Tell staff, and everybody while debugging, who answered and why. Never makes the router ask who the client is."""
    if not (exchange.known_as_staff or conf().debug_headers):
        return
    answered.response.headers[SIDE_HEADER] = answered.side
    reason = exchange.decision.reason
    answered.response.headers[REASON_HEADER] = f"{reason}; {exchange.note}" if exchange.note else reason
