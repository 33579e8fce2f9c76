"""A view that asks the database and answers; the same inside of an experiment of laboratory; and how the process is."""

import os
import threading

import requests
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from laboratory import Experiment

from benchmarks.upstream import BODY
from router import metrics
from router.models import TrafficCount
from router.shadow import pool

QUERIES = int(os.environ.get("BENCH_QUERIES", "30"))
TIMEOUT = 2.0  # seconds, the router's own for a shadow request


def orders(request: HttpRequest) -> HttpResponse:
    """Answer as a shop's view does: after some queries."""
    for number in range(QUERIES):
        User.objects.filter(pk=number).first()
    return HttpResponse(BODY, content_type="application/json")


def in_laboratory(request: HttpRequest) -> HttpResponse:
    """Answer the same, and let laboratory compare it with what the service says."""

    def service() -> bytes:
        return requests.get(request.GET["service"], timeout=TIMEOUT).content

    experiment = Experiment()
    experiment.control(lambda: orders(request).content)
    experiment.candidate(service)
    return HttpResponse(experiment.conduct(), content_type="application/json")


def state(request: HttpRequest) -> HttpResponse:
    """Tell memory, threads, and what became of the comparisons."""
    metrics.flush()
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    came: dict[str, int] = {}
    for row in TrafficCount.objects.filter(side="shadow"):
        what = row.cause if row.outcome == "dropped" else row.outcome
        came[what] = came.get(what, 0) + row.count
    return JsonResponse(
        {
            "rss": pages * os.sysconf("SC_PAGE_SIZE"),
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "came": came,
            "held": pool.current().budget.held,
        }
    )


urlpatterns = [path("api/orders/", orders), path("laboratory/", in_laboratory), path("state/", state)]
