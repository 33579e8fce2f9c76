"""The router ahead of Django: public reads go to their service without a single middleware being run.

In the project's wsgi.py, take the application from the router instead of from Django::

    from router.wsgi import get_wsgi_application

    application = get_wsgi_application()

It takes what needs neither session nor user: reads of routes that are declared ``public``, once envelope and flag treat
everybody alike. Everything else goes on to Django, where ``StranglerMiddleware`` decides; so does a read that the
service failed to answer, with a note that keeps the middleware from asking it again.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import get_path_info
from django.http.request import split_domain_port, validate_host

from router import metrics, registry, snapshot
from router.conf import conf
from router.decide import Decision, Facts, decide, needs_identity, samples_requests
from router.diversion import FAILED_AHEAD, NO_ANSWER, call
from router.forward import OutboundRequest, UpstreamResponse, fields_of, outbound_headers, raw_target
from router.forwarding.messages import BodyIterator
from router.identity import ANONYMOUS, HEADER
from router.identity.tokens import issue
from router.metrics import Outcome
from router.registry import Match
from router.routes import Kind
from router.shadow import guard, sampling
from router.shadow.monolith import ask_application
from router.shadowing import compare_answer
from router.upstreams import upstream_for

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class StranglerApplication:
    """Answer public reads by their service, and let Django have everything else."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        match = registry.match(environ["REQUEST_METHOD"], get_path_info(environ))
        decision = None if match is None else _decision(match, environ)
        if decision is None or not _host_is_ours(environ):
            return self.application(environ, start_response)
        started = time.monotonic()
        try:
            response = _ask(environ, decision)
        except NO_ANSWER as why:
            environ[FAILED_AHEAD] = why
            return self.application(environ, start_response)
        if decision.shadow:
            again = partial(ask_application, self.application, dict(environ))
            compare_answer(decision, environ, environ["REQUEST_METHOD"], ANONYMOUS, response, ask_legacy=again)
        elapsed = time.monotonic() - started
        if decision.shadow:
            guard.observe(decision.service, decision.route, decision.store, elapsed)
        outcome = Outcome.OK if response.status < 400 else Outcome.CLIENT_ERROR
        metrics.record(
            service=decision.service,
            route=decision.route,
            kind=Kind.READ,
            side="extracted",
            outcome=outcome,
            seconds=elapsed,
        )
        start_response(f"{response.status} {response.reason}", _headers(response, decision))
        return [response.body] if isinstance(response.body, bytes) else Body(response.body)


class Body:
    """An answer that is still arriving; the server closes it, whatever becomes of its client."""

    def __init__(self, parts: BodyIterator) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        """Let go of the connection to the service."""
        self._parts.close()


def _decision(match: Match, environ: Environ) -> Decision | None:
    """Return the decision if the service is to answer, and nothing about the client could change that."""
    route = match.route
    if not route.public or route.kind is not Kind.READ:
        return None
    rules = snapshot.current()
    if needs_identity(route, rules):
        return None
    method: str = environ["REQUEST_METHOD"]
    sample = None
    if samples_requests(route, rules):
        sample = sampling.of_request(method, raw_target(environ), int(time.time()))
    decision = decide(Facts(method=method, route=route, sample=sample), rules)
    return decision if decision.side == "extracted" else None


def _host_is_ours(environ: Mapping[str, Any]) -> bool:
    """Whether Django would accept the host, for which the service builds its links; it refuses the others itself."""
    forwarded = environ.get("HTTP_X_FORWARDED_HOST") if settings.USE_X_FORWARDED_HOST else None
    host = forwarded or environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
    return _is_allowed(host, tuple(settings.ALLOWED_HOSTS))


@lru_cache(maxsize=256)
def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    return validate_host(split_domain_port(host)[0], allowed)


def _ask(environ: Mapping[str, Any], decision: Decision) -> UpstreamResponse:
    service = conf().service(decision.service)
    headers = outbound_headers(environ)
    headers.append((HEADER, issue(ANONYMOUS, audience=service.name, secret=service.secret)))
    outbound = OutboundRequest(method=environ["REQUEST_METHOD"], raw_path_qs=raw_target(environ), headers=headers)
    return call(upstream_for(decision.service, decision.store), outbound)


def _headers(response: UpstreamResponse, decision: Decision) -> list[tuple[str, str]]:
    headers = fields_of(response)
    if conf().debug_headers:
        headers += [("X-Strangler-Side", "extracted"), ("X-Strangler-Reason", decision.reason)]
    return headers
