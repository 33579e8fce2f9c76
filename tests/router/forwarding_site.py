"""A small Django site that forwards everything, to be run by a real gunicorn."""

import os

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for this test",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
    STRANGLER={},
)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponseBase  # noqa: E402
from django.urls import re_path  # noqa: E402

from router.forward import OutboundRequest, Upstream, outbound_headers, raw_target, send, streamed_body, to_django  # noqa: E402

UPSTREAM = Upstream(service="orders", store="shared", base_url=os.environ["FORWARD_TO"])


def forward(request: HttpRequest) -> HttpResponseBase:
    """Hand the request on; read a cookie and set one, as middleware of a monolith does."""
    body, length = streamed_body(request)
    outbound = OutboundRequest(
        method=request.method or "GET",
        raw_path_qs=raw_target(request),
        headers=outbound_headers(request),
        body=body,
        content_length=length,
    )
    response = to_django(send(UPSTREAM, outbound))
    if request.META.get("HTTP_X_WANTS_SESSION"):
        request.session["seen"] = 1
        response.set_cookie("monolith", "own")
    return response


urlpatterns = [re_path("", forward)]
application = get_wsgi_application()
