"""What is wrong with the settings and declarations of events, found at start-up."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from migrations_plan.sync.events.conf import SETTING, EventSettings, conf
from migrations_plan.sync.events.handlers import handlers
from migrations_plan.sync.events.topology import matches, queue_name
from migrations_plan.sync.events.types import missing_upcasters

HINT = "docs/events.md lists every key and its type."


def register_all(tasks: ModuleType) -> None:
    """Register the checks, once the tasks are declared."""
    del tasks
    register(check_settings)
    register(check_declarations)


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report settings that cannot be meant."""
    try:
        settings = conf()
    except ImproperlyConfigured as problem:
        return [Error(str(problem), hint=HINT, id="strangler_events.E001")]
    found: list[CheckMessage] = []
    if settings.consumer and settings.consumers and settings.consumer not in settings.consumers:
        found.append(
            Error(
                f"{SETTING}['CONSUMER'] is {settings.consumer!r}, which {SETTING}['CONSUMERS'] does not have.",
                hint=f"Known consumers: {', '.join(sorted(settings.consumers))}.",
                id="strangler_events.E002",
            )
        )
    if handlers() and not settings.consumer:
        names = ", ".join(handler.name for handler in handlers())
        found.append(
            Error(
                f"This program declares handlers of events ({names}) and serves no inbox.",
                hint=f"Name one in {SETTING}['CONSUMER'].",
                id="strangler_events.E003",
            )
        )
    found += _unreached(settings)
    if settings.consumer and not _reads_its_queue(settings):
        found.append(
            Error(
                f"No Celery worker of this program reads the queue {queue_name(settings.consumer)}.",
                hint="Add migrations_plan.sync.events.topology.event_queues(...) to CELERY_TASK_QUEUES.",
                id="strangler_events.E004",
            )
        )
    if _unconfirmed():
        found.append(
            Warning(
                "The broker is RabbitMQ and does not confirm what it was sent: what it loses is sent again only after "
                f"{settings.resend_seconds:g} seconds.",
                hint='Set CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}.',
                id="strangler_events.W001",
            )
        )
    return found


def check_declarations(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report old versions that nobody can read."""
    return [
        Error(
            f"{declared.name} is declared in version {declared.version}, and nothing turns version {version} into "
            f"version {version + 1}.",
            hint=f"Declare a function with @upcasts({declared.name!r}, from_version={version}).",
            id="strangler_events.E005",
        )
        for declared, version in missing_upcasters()
    ]


def _unreached(settings: EventSettings) -> list[CheckMessage]:
    """Report handlers whose events are not sent to this program, or not all of their aggregate, which keeps order."""
    topics = settings.consumers.get(settings.consumer, ())
    return [
        Error(
            f"The handler {handler.name} waits for {wanted}, which {settings.consumer} does not get.",
            hint=f"Add {wanted.rpartition('.')[0]}.# to {SETTING}['CONSUMERS'][{settings.consumer!r}].",
            id="strangler_events.E006",
        )
        for handler in handlers()
        for wanted in handler.types
        if topics and not any(matches(topic, wanted) for topic in topics)
    ]


def _reads_its_queue(settings: EventSettings) -> bool:
    queues = getattr(django_settings, "CELERY_TASK_QUEUES", None)
    if queues is None:  # configured elsewhere than in Django's settings: nothing to look at
        return True
    return any(getattr(queue, "name", queue) == queue_name(settings.consumer) for queue in queues)


def _unconfirmed() -> bool:
    url = str(getattr(django_settings, "CELERY_BROKER_URL", ""))
    options = getattr(django_settings, "CELERY_BROKER_TRANSPORT_OPTIONS", {})
    return url.startswith(("amqp:", "amqps:", "pyamqp:")) and not options.get("confirm_publish")
