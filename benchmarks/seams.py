"""What a seam adds to a call that stays in legacy, next to two libraries that switch functions too."""

import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import django

ROUNDS = 60
CALLS = 300
PARTIAL = 10
"""Percent of the buckets diverted in the second set; the owner of these calls is not among them."""

Call = Callable[[], object]


def main() -> None:
    """Print microseconds per call as JSON: plain, switched, and the difference."""
    with tempfile.TemporaryDirectory(prefix="strangler-bench-") as folder:
        os.environ.update({"SHOP_VAR": folder, "DJANGO_SETTINGS_MODULE": "legacy_shop.settings"})
        os.environ.pop("SHOP_DATABASE_URL", None)
        django.setup()
        logging.disable(logging.CRITICAL)
        print(json.dumps(_rows()))


def _rows() -> list[dict[str, Any]]:
    from django.conf import settings
    from django.core.management import call_command
    from django.test import override_settings

    from router import metrics
    from router.testing import override_envelope

    settings.DATABASES["default"]["CONN_MAX_AGE"] = None
    call_command("migrate", verbosity=0, skip_checks=True)
    owner = _owner_who_stays()
    calls = _calls(owner)
    rows = []
    with override_settings(STRANGLER={**settings.STRANGLER, "POLLER": False}):
        for state, percent in (("nothing diverted", 0), (f"{PARTIAL} % diverted, not these", PARTIAL)):
            with override_envelope("orders", reads=percent, writes=percent):
                rows += [_row(f"seam, {kind}, {state}", *calls[kind]) for kind in ("read", "write")]
    rows += [_row(name, *calls[name]) for name in calls if name not in {"read", "write"}]
    metrics.reset()
    return rows


def _owner_who_stays() -> int:
    from router.buckets import bucket

    return next(number for number in range(1000) if bucket("orders", number) >= PARTIAL)


def _calls(owner: int) -> dict[str, tuple[Call, Call]]:
    """Return, by name, the plain call and the one through the switch."""
    from django.db import transaction

    from router import seam

    def plain(customer: int) -> dict[str, int]:
        return {"customer": customer}

    reading = seam.read("orders.benchmark-read", key=lambda customer: customer)(plain)
    writing = seam.write("orders.benchmark-write", key=lambda customer: customer)(plain)
    for operation in (reading, writing):
        operation.remote(lambda service, customer: {})
    return {
        "read": (lambda: plain(owner), lambda: reading(owner)),
        "write": (lambda: transaction.atomic()(plain)(owner), lambda: writing(owner)),
        "laboratory, candidate switched off": (lambda: plain(owner), _laboratory(plain, owner)),
        "LaunchDarkly Migrator, stage off": (lambda: plain(owner), _launchdarkly(plain, owner)),
    }


def _laboratory(plain: Callable[[int], Any], owner: int) -> Call:
    import laboratory

    class Off(laboratory.Experiment):
        """An experiment whose candidate is not run."""

        def enabled(self) -> bool:
            return False

    switched = Off.decorator(plain)(plain)
    return lambda: switched(owner)


def _launchdarkly(plain: Callable[[int], Any], owner: int) -> Call:
    from ldclient import Config, Context, LDClient, Result, Stage
    from ldclient.integrations.test_data import TestData
    from ldclient.migrations import MigratorBuilder

    data = TestData.data_source()
    data.update(data.flag("orders").variations("off", "live").fallthrough_variation(0))
    client = LDClient(Config("benchmark", update_processor_class=data, send_events=False))
    builder = MigratorBuilder(client)

    def both(customer: int) -> Result:
        return Result.success(plain(customer))

    migrator = builder.read(both, both).write(both, both).build()
    if isinstance(migrator, str):
        raise RuntimeError(f"LaunchDarkly's Migrator cannot be built: {migrator}")
    context = Context.create(str(owner))
    if not migrator.read("orders", context, Stage.LIVE, owner).is_success():
        raise RuntimeError("LaunchDarkly's Migrator does not answer.")
    return lambda: migrator.read("orders", context, Stage.LIVE, owner)


def _row(name: str, plain: Call, switched: Call) -> dict[str, Any]:
    times: dict[str, list[float]] = {"plain": [], "switched": []}
    for number in range(ROUNDS + 5):
        for kind, call in (("plain", plain), ("switched", switched))[:: 1 if number % 2 else -1]:
            seconds = _several(call)
            if number >= 5:
                times[kind].append(seconds)
    medians = {kind: statistics.median(values) * 1e6 for kind, values in times.items()}
    pairs = zip(times["switched"], times["plain"], strict=True)
    return {"name": name, **medians, "added": statistics.median(more - less for more, less in pairs) * 1e6}


def _several(call: Call) -> float:
    """Return the seconds of processor time that one call takes in a row of them."""
    started = time.thread_time()
    for _ in range(CALLS):
        call()
    return (time.thread_time() - started) / CALLS


if __name__ == "__main__":
    sys.exit(main())
