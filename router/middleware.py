"""The router inside the monolith: each request of a route is decided, and answered by the side that is due."""

import asyncio
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from router import metrics, registry, snapshot
from router.conf import conf
from router.diversion import WATCHED, Answered, answer_by_legacy
from router.exchange import Exchange
from router.fences import NotOwner
from router.handover.own_writes import Carried, carrying, caught_up, remember
from router.handover.requests import let_in, looked_for_owner, written
from router.holders import LEGACY
from router.limits import limits
from router.metrics import FALLBACKS
from router.shadow import guard
from router.shadow.monolith import FOR_LEGACY, Monolith
from router.shadow.rehearsing import Write
from router.shadow.yielding import Answering
from router.shadowing import Shadow
from router.steps import GetResponse, Steps, carry_out, carry_out_on_loop, in_database, to_the_end

SIDE_HEADER = "X-Strangler-Side"
REASON_HEADER = "X-Strangler-Reason"
STALE_HEADER = "X-Strangler-Stale"
"""``1`` on what legacy answers about data that has left it: its copy follows the owner's a moment later."""


class StranglerMiddleware:
    """Divert what the plan and the flags divert; leave everything else exactly as it was.

    Stands behind the authentication middleware, whose user it shares with the view. A path that belongs to no route
    costs little more than a look-up in a dictionary, and on an event loop no change of threads.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        self._on_loop = iscoroutinefunction(get_response)
        # Compared off the request path, on threads.
        self._once_more: GetResponse = async_to_sync(get_response) if self._on_loop else get_response
        if self._on_loop:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Answer by the side that is due, and tell the client of what was written on the way."""
        if FOR_LEGACY in request.META:
            return self.get_response(request)
        if self._on_loop:
            return self._carried_on_loop(request)
        with Answering() as answering, carrying(request) as own:
            return answering.until_sent(_told(own, self._answered(request)))

    async def _carried_on_loop(self, request: HttpRequest) -> HttpResponseBase:
        with Answering() as answering, carrying(request) as own:
            return answering.until_sent(_told(own, await self._answered_on_loop(request)))

    def _answered(self, request: HttpRequest) -> HttpResponseBase:
        match = registry.match(request.method or "", request.path_info)
        if match is None:
            return self.get_response(request)  # type: ignore[no-any-return]
        exchange = Exchange(request=request, match=match, snapshot=snapshot.current())
        if not exchange.asks_nobody:
            exchange.look_up()
        return _finished(exchange, carry_out(self._steps(exchange), self.get_response))

    async def _answered_on_loop(self, request: HttpRequest) -> HttpResponseBase:
        match = registry.match(request.method or "", request.path_info)
        if match is None:
            return await self.get_response(request)  # type: ignore[no-any-return]
        if not snapshot.at_hand():
            await asyncio.to_thread(snapshot.current)
        exchange = Exchange(request=request, match=match, snapshot=snapshot.current())
        if not exchange.asks_nobody:
            await carry_out_on_loop(in_database(exchange.look_up), self.get_response)
        way = carry_out_on_loop(self._steps(exchange), self.get_response)
        if exchange.decision.side != "legacy" or exchange.is_changing_hands:
            way = to_the_end(way, lambda answered: answered.response.close())
        return _finished(exchange, await way)

    def _written(self, exchange: Exchange) -> Steps[Answered]:
        if not exchange.decision.shadow:
            return (yield from written(exchange))
        write = Write(exchange)
        answered = yield from written(exchange)
        write.compare(answered)
        return answered

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Answer a write that a fence refused, for the time being: the router knows of it, and who is asked next."""
        if isinstance(exception, NotOwner) and getattr(request, WATCHED, False):
            return HttpResponse(status=503, headers={"Retry-After": "1"})
        return None

    def _steps(self, exchange: Exchange) -> Steps[Answered]:
        if exchange.is_write:
            return (yield from self._written(exchange))
        yield from looked_for_owner(exchange)
        if exchange.decision.side == "legacy" and exchange.decision.has_left:
            yield from caught_up(exchange)
        if not exchange.decision.shadow:
            return (yield from answer_by_legacy(exchange) if exchange.decision.side == "legacy" else let_in(exchange))
        monolith = Monolith(exchange.request, self._once_more)
        if exchange.decision.side == "extracted":
            exchange.ask_legacy = monolith.ask
            return (yield from let_in(exchange))
        shadow = Shadow(exchange, monolith)
        answered = yield from answer_by_legacy(exchange)
        shadow.compare(answered.response)
        return answered


def _observe(exchange: Exchange, answered: Answered) -> None:
    """Tell the guard of the shadow how long the side took, where anything of the service is compared."""
    service, route = exchange.route.service, exchange.route
    if route.shadow and limits(service, "shadow", exchange.snapshot).settled is not False:
        side = LEGACY if answered.side == "legacy" else exchange.decision.store
        guard.observe(service, route.name, side, exchange.elapsed)


def _told(own: Carried, response: HttpResponseBase) -> HttpResponseBase:
    """Name to the client what it has written, and mark what may be old."""
    remember(own, response)
    if own.stale:
        response.headers[STALE_HEADER] = "1"
    return response


def _finished(exchange: Exchange, answered: Answered) -> HttpResponseBase:
    """Count the answer, and tell staff, and everybody while debugging, who gave it and why.

    Never makes the router ask who the client is.
    """
    metrics.record(
        service=exchange.route.service,
        route=exchange.route.name,
        kind=exchange.route.kind,
        side=answered.side,
        outcome=answered.outcome,
        seconds=exchange.elapsed,
    )
    if not exchange.is_write and answered.outcome not in FALLBACKS:
        _observe(exchange, answered)
    if answered.side == "legacy" and exchange.decision.has_left and not exchange.is_write:
        answered.response.headers[STALE_HEADER] = "1"
    if exchange.known_as_staff or conf().debug_headers:
        answered.response.headers[SIDE_HEADER] = answered.side
        reason = exchange.decision.reason
        answered.response.headers[REASON_HEADER] = f"{reason}; {exchange.note}" if exchange.note else reason
    return answered.response
