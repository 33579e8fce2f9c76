"""Who answers: by bucket, for the same people each time, as flags and plan say."""

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connections
from django.test import Client

from migrations_plan import api, plan_registry
from migrations_plan.builders import monolith, shared
from migrations_plan.models import HistoryEntry
from migrations_plan.plan import Plan
from router import poller
from router.buckets import bucket, bucket_sql
from router.models import Flag
from router.testing import forget_snapshot, override_envelope, override_snapshot
from tests.core.port import Project
from tests.migrations_plan.fakes import plenty
from tests.router.upstreams import Recorder

pytestmark = pytest.mark.django_db(databases="__all__")


def side(client: Client, project: Project) -> str:
    return str(client.get(project.path)["X-Strangler-Side"])


def test_a_percentage_lets_in_the_same_people_each_time_and_a_larger_one_more(
    project: Project, upstream: Recorder
) -> None:
    people = [project.person(f"reader-{number}") for number in range(20)]
    clients = [(bucket(project.service, str(person.pk)), project.client_of(person)) for person in people]
    for percent in (1, 30, 60, 100):
        with override_envelope(project.service, reads=percent):
            for _ in range(2):
                found = {number for number, client in clients if side(client, project) == "extracted"}
                assert found == {number for number, _ in clients if number < percent}


def test_sql_counts_the_same_buckets(project: Project) -> None:
    people = [project.person(f"reader-{number}") for number in range(20)]
    table, column, kind = project.key_column
    connection = connections["default"]
    expression = bucket_sql(connection.vendor, project.service, f'"{column}"', kind)
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT {expression} FROM "{table}"')
        assert sorted(row[0] for row in cursor.fetchall()) == sorted(
            bucket(project.service, str(person.pk)) for person in people
        )


@pytest.mark.parametrize("named", ["users", "groups", "percent", "staff"])
def test_a_flag_set_in_the_admin_steers(project: Project, upstream: Recorder, ann: Any, named: str) -> None:
    admin = project.client_of(project.person("root", staff=True, superuser=True))
    bob = project.person("bob", staff=True)
    group = Group.objects.create(name="testers")
    group.user_set.add(ann)
    values = {
        "users": {"users": str(ann.pk)},
        "groups": {"groups": [str(group.pk)]},
        "percent": {"percent": "100"},
        "staff": {"staff": "on"},
    }[named]
    url = "/admin/router/flag/add/"
    assert admin.get(url).status_code == 200
    sent = admin.post(url, {"name": f"{project.service}.reads", "everyone": "unknown", "note": "", **values})
    assert sent.status_code == 302, sent.content.decode()[:3000]
    flag = Flag.objects.get()
    for page in ("/admin/router/flag/", f"/admin/router/flag/{flag.pk}/change/", f"{url[:-4]}{flag.pk}/history/"):
        assert admin.get(page).status_code == 200
    rules = poller.load()
    with override_envelope(project.service, reads=100) as envelope, forget_snapshot():
        sides = {}
        for name, person in (("ann", ann), ("bob", bob)):
            with override_snapshot(replace(rules, envelopes=envelope.envelopes)):
                sides[name] = side(project.client_of(person), project)
    assert (
        sides
        == {
            "users": {"ann": "extracted", "bob": "legacy"},
            "groups": {"ann": "extracted", "bob": "legacy"},
            "percent": {"ann": "extracted", "bob": "extracted"},
            "staff": {"ann": "legacy", "bob": "extracted"},
        }[named]
    )


@pytest.mark.django_db(databases="__all__", transaction=True)  # the last of its requests are compared
def test_a_plan_goes_forwards_and_back(
    project: Project, upstream: Recorder, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "RouterMeasurements", plenty)
    plan = Plan(service=project.service, phases=(monolith(), shared()))
    seen = []
    with plan_registry.replaced(plan), forget_snapshot():
        for command, target in (("advance", "shared.reads@100"), ("advance", "shared.writes@100")):
            call_command("phase", command, project.service, "--to", target)
            poller.refresh()
            seen.append((side(client, project), project.write(client)["X-Strangler-Side"]))
        call_command("phase", "rollback", project.service, "--to", "monolith")
        poller.refresh()
        seen.append((side(client, project), project.write(client)["X-Strangler-Side"]))
    assert seen == [("extracted", "legacy"), ("extracted", "extracted"), ("legacy", "legacy")]
    assert HistoryEntry.objects.filter(service=project.service).count() > 5


def test_explain_knows_the_projects_people(project: Project, ann: Any, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("route", "explain", "GET", project.path, "--user", str(ann.pk))
    assert str(bucket(project.service, str(ann.pk))) in capsys.readouterr().out


@pytest.mark.parametrize("page", ["", "plan/", "servicestate/", "historyentry/"])
def test_the_pages_of_the_plan_open(project: Project, page: str) -> None:
    admin = project.client_of(project.person("root", staff=True, superuser=True))
    assert admin.get(f"/admin/migrations_plan/{page}", follow=True).status_code in {200, 404}
