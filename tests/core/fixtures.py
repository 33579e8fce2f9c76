"""The same promises on every project: the shop, and one that is unlike it in everything the toolkit may not assume."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils.module_loading import import_string

from router import breaker, metrics
from router.shadow import pool
from router.testing import override_envelope
from tests.core.port import Project
from tests.processes import free_port
from tests.router.upstreams import Recorder, recording_upstream

SECRET = "c" * 40

PointTo = Callable[..., None]


@pytest.fixture
def project() -> Project:
    """Return the project that the settings name."""
    made: Project = import_string(django_settings.CORE_PROJECT)()
    return made


@pytest.fixture(autouse=True)
def well() -> Iterator[None]:
    """Begin and end with closed breakers, and with nothing counted or compared."""
    for forget in (breaker.reset, pool.reset, metrics.reset):
        forget()
    yield
    for forget in (breaker.reset, pool.reset, metrics.reset):
        forget()


@pytest.fixture
def point_to(project: Project, settings: Any) -> PointTo:
    """Let the service be somewhere else."""

    def point(url: str, **more: Any) -> None:
        strangler = copy.deepcopy(settings.STRANGLER)
        strangler["SERVICES"][project.service] |= {"UPSTREAMS": {"shared": url}, "SECRET": SECRET}
        settings.STRANGLER = {**strangler, "DEBUG_HEADERS": True, **more}

    return point


@pytest.fixture
def upstream(point_to: PointTo) -> Iterator[Recorder]:
    """Run something in the service's place that remembers what it receives."""
    with recording_upstream() as recorder:
        point_to(recorder.url)
        yield recorder


@pytest.fixture
def down(point_to: PointTo) -> None:
    """Let the service be away."""
    point_to(f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def diverted(project: Project) -> Iterator[None]:
    """Divert everything."""
    with override_envelope(project.service, reads=100, writes=100, step="all"):
        yield


@pytest.fixture
def ann(project: Project) -> Any:
    return project.person("ann")


@pytest.fixture
def client(project: Project, ann: Any) -> Client:
    """Return Ann's browser, with everything there that a write needs."""
    project.prepare()
    return project.client_of(ann)
