"""Where the benchmark's site answers by itself, and where django-revproxy forwards."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from revproxy.views import ProxyView

from benchmarks.upstream import BODY


def itself(request: HttpRequest) -> HttpResponse:
    """Answer without asking anybody: what Django alone costs."""
    return HttpResponse(BODY, content_type="application/json")


urlpatterns = [
    path("itself/", itself),
    re_path(r"^revproxy/(?P<path>.*)$", ProxyView.as_view(upstream=settings.UPSTREAM)),
]
