"""Where the five verbs stand, below the address under which this is included."""

from collections.abc import Callable
from typing import Any

from django.db import connections, transaction
from django.urls import path

from migrations_plan.sync.wire.views import serve


def _in_its_own_transactions(view: Callable[..., Any]) -> Callable[..., Any]:
    """Exempt a view from ATOMIC_REQUESTS: it answers for what is committed, and reads snapshots of its own."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


urlpatterns = [path("<str:aggregate>/<str:verb>", _in_its_own_transactions(serve), name="strangler-sync")]
