"""What a project can get wrong around the router: each mistake is named, and each does the harm that the check says."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import CheckMessage
from django.core.checks import Error as CheckError
from django.core.management import call_command
from django.test import Client, override_settings
from django.utils import translation

from router import flags, metrics, project_checks
from router.models import Flag, TrafficCount
from router.project_checks import MIDDLEWARE as ROUTER
from router.routes import Route, Visitor
from router.shadow import pool
from router.testing import override_envelope, override_routes
from tests.core.port import Project
from tests.elsewhere.desk.models import Loan
from tests.elsewhere.readers.models import Person, Robot
from tests.router.upstreams import Recorder

AUTH = "django.contrib.auth.middleware."
GZIP = "django.middleware.gzip.GZipMiddleware"
FRAMES = "django.middleware.clickjacking.XFrameOptionsMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
LOCALE = "django.middleware.locale.LocaleMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"
UPDATE = "django.middleware.cache.UpdateCacheMiddleware"


class OurGZip(project_checks.import_string(GZIP)):  # type: ignore[misc]
    """A subclass, as projects have them."""


def behind(*names: str) -> list[str]:
    """Return the middlewares with these moved behind the router, or put there."""
    kept = [name for name in django_settings.MIDDLEWARE if name not in names]
    kept[kept.index(ROUTER) + 1 : kept.index(ROUTER) + 1] = names
    return kept


def before(*names: str) -> list[str]:
    """Return the middlewares with these put before the router."""
    kept = [name for name in django_settings.MIDDLEWARE if name not in names]
    kept[kept.index(ROUTER) : kept.index(ROUTER)] = names
    return kept


def found(middleware: list[str]) -> list[CheckMessage]:
    with override_settings(MIDDLEWARE=middleware):
        return project_checks.check_project(None)


class TestOrder:
    def test_this_order_is_right(self) -> None:
        assert found(list(django_settings.MIDDLEWARE)) == []
        assert found([UPDATE, *behind(FETCH)]) == []

    @pytest.mark.parametrize(
        "middleware",
        [*map(behind, (GZIP, FRAMES, COMMON, SECURITY)), behind(f"{__name__}.OurGZip")],
        ids=["gzip", "frames", "common", "security", "subclass"],
    )
    def test_what_costs_something(self, middleware: list[str]) -> None:
        (message,) = found(middleware)
        assert (message.id, message.is_serious()) == ("strangler.W003", False)
        assert "Move it before" in (message.hint or "")

    @pytest.mark.parametrize("middleware", [behind(AUTH + "RemoteUserMiddleware"), before(FETCH)])
    def test_what_breaks_something(self, middleware: list[str]) -> None:
        (message,) = found(middleware)
        assert (message.id, isinstance(message, CheckError)) == ("strangler.E017", True)

    def test_the_router_once_and_behind_the_authentication(self) -> None:
        assert [message.id for message in found([*django_settings.MIDDLEWARE, ROUTER])] == ["strangler.E008"]
        assert [message.id for message in found(behind(AUTH + "AuthenticationMiddleware"))] == ["strangler.E008"]

    def test_languages_matter_where_urls_begin_with_one(self) -> None:
        assert found(behind(LOCALE)) == []
        with override_settings(ROOT_URLCONF="tests.elsewhere.prefixed_urls"):
            assert [message.id for message in found(behind(LOCALE))] == ["strangler.W003"]


@pytest.mark.django_db(databases="__all__")
class TestHarm:
    """The same requests in the right order and in the wrong one."""

    @pytest.mark.usefixtures("diverted")
    @pytest.mark.parametrize(("wrong", "header"), [(False, "DENY"), (True, None)])
    def test_headers(self, upstream: Recorder, settings: Any, wrong: bool, header: str | None) -> None:
        settings.MIDDLEWARE = behind(FRAMES) if wrong else before(FRAMES)
        assert Client().get("/mine/").headers.get("X-Frame-Options") == header

    @pytest.mark.usefixtures("diverted")
    @pytest.mark.parametrize(("wrong", "forwarded"), [(False, 0), (True, 1)])
    def test_redirects_to_https(self, upstream: Recorder, settings: Any, wrong: bool, forwarded: int) -> None:
        settings.SECURE_SSL_REDIRECT = True
        settings.MIDDLEWARE = behind(SECURITY) if wrong else before(SECURITY)
        Client().get("/mine/")
        assert len(upstream.received) == forwarded

    @pytest.mark.usefixtures("diverted")
    @pytest.mark.parametrize(("wrong", "forwarded"), [(False, 0), (True, 1)])
    def test_forbidden_programs(self, upstream: Recorder, settings: Any, wrong: bool, forwarded: int) -> None:
        settings.DISALLOWED_USER_AGENTS = [project_checks.re.compile("robot")]
        settings.MIDDLEWARE = behind(COMMON) if wrong else before(COMMON)
        Client(headers={"User-Agent": "robot"}).get("/mine/")
        assert len(upstream.received) == forwarded

    @pytest.mark.django_db(databases="__all__", transaction=True)
    @pytest.mark.parametrize(("wrong", "outcomes"), [(False, 1), (True, 0)])
    def test_comparisons(self, project: Project, upstream: Recorder, settings: Any, wrong: bool, outcomes: int) -> None:
        settings.MIDDLEWARE = behind(GZIP) if wrong else before(GZIP)
        ann = project.person("ann")
        Loan.objects.bulk_create(Loan(card="x", book="Emma") for _ in range(50))  # short answers stay as they are
        with override_envelope("loans", shadow=100):
            project.client_of(ann, headers={"Accept-Encoding": "gzip"}).get("/cards/x/")
            assert pool.current().drain(20)
        metrics.flush()
        assert TrafficCount.objects.filter(side="shadow").count() == outcomes

    @pytest.mark.parametrize(("wrong", "answer"), [(False, b'{"by":"it"}'), (True, b"")])
    def test_cached_pages(self, upstream: Recorder, settings: Any, wrong: bool, answer: bytes) -> None:
        settings.MIDDLEWARE = [UPDATE, *(before(FETCH) if wrong else behind(FETCH))]
        first = Client().get("/cards/x/")
        with override_envelope("loans", reads=100):
            assert Client().get("/cards/x/").content == (answer or first.content)

    @pytest.mark.usefixtures("diverted")
    def test_a_strange_host_is_refused_by_legacy_in_any_order(self, upstream: Recorder, settings: Any) -> None:
        settings.MIDDLEWARE = behind(COMMON)
        assert Client(headers={"Host": "evil.example"}).get("/mine/").status_code in {400, 403}
        assert upstream.received == []

    @pytest.mark.usefixtures("diverted")
    @pytest.mark.parametrize(("wrong", "status"), [(False, 200), (True, 403)])
    def test_prefixed_views(self, upstream: Recorder, settings: Any, wrong: bool, status: int) -> None:
        """A view that is exempt from CSRF is found only in the language of its prefix."""
        translation.activate("en")  # of the request before
        settings.ROOT_URLCONF = "tests.elsewhere.prefixed_urls"
        settings.MIDDLEWARE = behind(LOCALE) if wrong else before(LOCALE)
        lend = Route(service="loans", name="p", methods=("POST",), pattern="/de/exempt/", key=Visitor())
        with override_routes(lend):
            assert Client(enforce_csrf_checks=True).post("/de/exempt/").status_code == status


class TestDatabases:
    def test_flags_and_users_are_together(self) -> None:
        assert project_checks.check_databases(None) == []
        with override_settings(DATABASE_ROUTERS=[f"{__name__}.UsersApart"]):
            labels = [message.msg.split(" and ")[1].split(" ")[0] for message in project_checks.check_databases(None)]
            assert labels == ["people.Person"]

    @pytest.mark.django_db(databases="__all__")
    def test_users_without_groups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A flag that names a group has to be read all the same."""
        flag = Flag.objects.create(name="loans.reads")
        ann = Person.objects.create_user("ann@example.org")
        flag.users.add(ann)
        monkeypatch.setattr(flags, "get_user_model", lambda: Robot)
        assert flags.load("default").flags["loans.reads"].users == {str(ann.pk)}


class UsersApart:
    """Keep the users where the flags are not."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """Return where a model's rows are."""
        return "library" if model is Person else "default"


class TestAtomicWrites:
    def test_views_that_claim_keys_are_out_of_it(self) -> None:
        assert project_checks.check_atomic_writes(None) == []

    @pytest.fixture
    def unguarded(self) -> Iterator[Route]:
        route = Route(service="loans", name="u", methods=("POST",), pattern="/unguarded/", key=Visitor())
        with override_routes(route):
            yield route

    def test_one_that_does_not_is_named(self, unguarded: Route) -> None:
        (message,) = project_checks.check_atomic_writes(None)
        assert message.id == "strangler.W002"
        assert "tests.elsewhere.desk.views.unguarded" in message.msg
        assert unguarded.origin in message.msg

    def test_without_atomic_requests_nothing_is_said(self, unguarded: Route, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(project_checks.connections.settings["library"], "ATOMIC_REQUESTS", False)
        assert project_checks.check_atomic_writes(None) == []

    def test_reads_and_paths_of_nobody_are_let_be(self) -> None:
        read = Route(service="loans", name="r", pattern="/unguarded/", key=Visitor())
        lost = Route(service="loans", name="l", methods=("POST",), pattern="/nowhere/<int:a>/", key=Visitor())
        with override_routes(read, lost):
            assert project_checks.check_atomic_writes(None) == []


def test_the_whole_project_passes() -> None:
    call_command("check", fail_level="WARNING")
