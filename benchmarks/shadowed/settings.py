"""The benchmark's site, whose own view answers, with the router among Django's middleware."""

import os

from benchmarks import site_settings
from benchmarks.site_settings import *  # noqa: F403

INSTALLED_APPS = [app for app in site_settings.INSTALLED_APPS if app not in {"benchmarks", "revproxy"}]
INSTALLED_APPS.append("benchmarks.shadowed")
ROOT_URLCONF = "benchmarks.shadowed.urls"
STRANGLER = {
    **site_settings.STRANGLER,
    "SNAPSHOT_SOURCE": "benchmarks.shadowed.strangler.Source",
}
SHADOW_PERCENT = int(os.environ.get("BENCH_SHADOW", "0"))
