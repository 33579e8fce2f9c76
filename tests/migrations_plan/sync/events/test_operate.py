"""Looking after events: the command and the admin show what is parked and why, retry it, or give it up."""

import json
import uuid
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client

from migrations_plan.sync.events.models import HandlerRun, InboxEvent
from migrations_plan.sync.events.runs import work
from tests.migrations_plan.sync.events.conftest import World, bring, messages, tell

pytestmark = pytest.mark.django_db
LIST = "/admin/strangler_events/inboxevent/"


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("events", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def stuck(world: World, settings: Any) -> uuid.UUID:
    """Park the first of two events with one of its handlers; return its id."""
    settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "MAX_ATTEMPTS": 1}
    world.fail = lambda event: event.handler == "test.database" and event.payload.number == 1
    event_id, _ = tell(1, 2)
    bring(*messages())
    work()
    world.fail = lambda event: False
    return event_id


@pytest.fixture
def unreadable(world: World) -> uuid.UUID:
    """Park an event that nobody can read, with another behind it; return its id."""
    event_id, _ = tell(1, 2)
    first, second = messages()
    bring({**first, "version": 9}, second)
    work()
    return event_id


class TestStatus:
    def test_in_words(self, stuck: uuid.UUID) -> None:
        said = run("status")
        assert "0 events and 1 handler runs" in said
        assert "1 runs pending" in said

    def test_for_machines(self, stuck: uuid.UUID) -> None:
        said = json.loads(run("status", "--json"))
        assert (said["published"], said["received"], said["parked_runs"], said["pending"]) == (2, 2, 1, 1)
        assert said["unacknowledged"] == 2

    def test_of_nothing(self) -> None:
        assert "nothing" in run("status")
        assert run("list").strip() == "No event was received here yet."
        assert run("list", "--parked").strip() == "Nothing is parked."


class TestLists:
    def test_what_is_parked_and_why_and_what_waits(self, stuck: uuid.UUID) -> None:
        said = run("list", "--parked")
        assert f"{stuck}  orders.tested.happened 7#1  [test.database] RuntimeError: not today" in said
        assert "1 more runs wait behind it." in said
        (row,) = json.loads(run("list", "--parked", "--json"))
        assert (row["event_id"], row["handlers"], row["behind"]) == (str(stuck), ["test.database"], 1)

    def test_all(self, stuck: uuid.UUID) -> None:
        assert len(run("list").splitlines()) == 2
        assert {row["id"] for row in json.loads(run("list", "--json"))} >= {str(stuck)}

    def test_one(self, stuck: uuid.UUID) -> None:
        said = run("show", str(stuck))
        assert "test.database: parked, 1 attempts. RuntimeError: not today" in said
        assert "test.outside: done" in said


class TestRetry:
    def test_one(self, world: World, stuck: uuid.UUID) -> None:
        assert "1 events retried" in run("retry", str(stuck))
        work()
        assert world.numbers() == [1, 2]

    def test_all_of_them(self, world: World, stuck: uuid.UUID) -> None:
        run("retry", "--all")
        work()
        assert world.numbers() == [1, 2]

    def test_rehearsed_it_changes_nothing(self, world: World, stuck: uuid.UUID) -> None:
        assert "1 events would be retried" in run("retry", "--all", "--dry-run")
        work()
        assert world.numbers() == []

    def test_what_still_cannot_be_read_stays_parked(self, world: World, unreadable: uuid.UUID) -> None:
        run("retry", str(unreadable))
        work()
        assert (world.numbers(), InboxEvent.objects.get(event_id=unreadable).state) == ([], "parked")

    def test_after_an_upgrade(self, world: World, unreadable: uuid.UUID) -> None:
        InboxEvent.objects.filter(event_id=unreadable).update(version=1)
        run("retry", str(unreadable))
        work()
        assert world.numbers() == world.numbers("test.outside") == [1, 2]

    @pytest.mark.parametrize("arguments", [(), ("--all", str(uuid.UUID(int=1)))])
    def test_of_what(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match="or say --all") as refused:
            run("retry", *arguments)
        assert refused.value.returncode == 2

    def test_of_an_event_that_there_is_not(self) -> None:
        with pytest.raises(CommandError, match="events list") as refused:
            run("retry", str(uuid.UUID(int=1)))
        assert refused.value.returncode == 2


class TestDiscard:
    def test_what_waited_goes_on_and_the_reason_is_kept(self, world: World, stuck: uuid.UUID) -> None:
        assert "1 events given up" in run("discard", str(stuck), "--why", "sold to another shop")
        work()
        assert world.numbers() == [2]
        assert HandlerRun.objects.get(state="discarded").reason == "sold to another shop"

    def test_an_unreadable_one(self, world: World, unreadable: uuid.UUID) -> None:
        run("discard", str(unreadable), "--why", "nonsense")
        work()
        assert world.numbers() == world.numbers("test.outside") == [2]
        assert InboxEvent.objects.get(event_id=unreadable).reason == "Given up: nonsense"
        assert run("list", "--parked").strip() == "Nothing is parked."

    def test_rehearsed(self, world: World, stuck: uuid.UUID) -> None:
        run("discard", str(stuck), "--why", "x", "--dry-run")
        assert HandlerRun.objects.filter(state="parked").count() == 1

    def test_without_a_reason(self, stuck: uuid.UUID) -> None:
        with pytest.raises(CommandError, match="Say why"):
            run("discard", str(stuck), "--why", " ")


def test_passes_by_hand(world: World, settings: Any) -> None:
    settings.STRANGLER_EVENTS = {**settings.STRANGLER_EVENTS, "CELERY_APP": ""}
    assert run("work", "--once").strip() == "0 handlers ran, 0 failed"
    assert run("purge").startswith("forgot 0 received and 0 published events older than 7 days")
    with pytest.raises(CommandError, match="negative"):
        run("purge", "--days", "-1")


class TestAdmin:
    def act(self, client: Client, action: str, event_id: uuid.UUID, **more: str) -> str:
        pk = InboxEvent.objects.get(event_id=event_id).pk
        sent = {"action": action, "_selected_action": [pk], **more}
        return client.post(LIST, sent, follow=True).content.decode()

    def test_pages_load(self, admin_client: Client, stuck: uuid.UUID) -> None:
        for page in ("inboxevent", "outboxevent", "delivery", "handlerrun"):
            assert admin_client.get(f"/admin/strangler_events/{page}/").status_code == 200
        event = InboxEvent.objects.get(event_id=stuck)
        assert "RuntimeError: not today" in admin_client.get(f"{LIST}{event.pk}/change/").content.decode()

    def test_nothing_is_added_or_deleted(self, admin_client: Client, stuck: uuid.UUID) -> None:
        event = InboxEvent.objects.get(event_id=stuck)
        assert admin_client.get(f"{LIST}add/").status_code == 403
        assert admin_client.post(f"{LIST}{event.pk}/delete/", {"post": "yes"}).status_code == 403

    def test_retry(self, world: World, admin_client: Client, stuck: uuid.UUID) -> None:
        assert "1 parked events are tried again" in self.act(admin_client, "retry", stuck)
        work()
        assert world.numbers() == [1, 2]
        assert LogEntry.objects.get().change_message == "Retried."

    def test_giving_up_asks_for_the_reason(self, world: World, admin_client: Client, stuck: uuid.UUID) -> None:
        asked = self.act(admin_client, "give_up", stuck)
        assert "Why?" in asked
        assert "1 more runs wait behind it" in asked
        work()
        assert world.numbers() == []
        assert "1 parked events are given up" in self.act(admin_client, "give_up", stuck, why="a duplicate by hand")
        work()
        assert world.numbers() == [2]
        assert LogEntry.objects.get().change_message == "Given up: a duplicate by hand"

    def test_looking_is_not_operating(self, world: World, stuck: uuid.UUID) -> None:
        clerk = User.objects.create_user("clerk", is_staff=True)
        clerk.user_permissions.add(Permission.objects.get(codename="view_inboxevent"))
        client = Client()
        client.force_login(clerk)
        assert "Retry what is parked" not in client.get(LIST).content.decode()
        self.act(client, "retry", stuck)
        work()
        assert world.numbers() == []
