"""Admin pages of events: to look, and to retry or give up what is parked."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from migrations_plan.sync.events import operate
from migrations_plan.sync.events.errors import EventError
from migrations_plan.sync.events.models import Delivery, HandlerRun, InboxEvent, OutboxEvent


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that programs write and people read."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Events are published by programs."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What happened stays as it happened."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Old events are purged, not deleted."""
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may retry and give up: the permission to change received events."""
        return request.user.has_perm("strangler_events.change_inboxevent")


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    """What was published here."""

    list_display = ("event_id", "type", "version", "key", "sequence", "occurred_at", "unacknowledged")
    list_filter = ("type", "occurred_at")
    search_fields = ("event_id", "key")
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutboxEvent]:
        """Fetch the deliveries of all events shown at once."""
        return super().get_queryset(request).prefetch_related("deliveries")

    @admin.display(description="not acknowledged by")
    def unacknowledged(self, event: OutboxEvent) -> str:
        """Name the consumers that have not said yet that they have it."""
        return ", ".join(delivery.consumer for delivery in event.deliveries.all() if delivery.acked_at is None) or "-"


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Who gets what, and has it."""

    list_display = ("event", "consumer", "attempts", "next_at", "acked_at", "last_error")
    list_filter = ("consumer", ("acked_at", admin.EmptyFieldListFilter))
    list_select_related = ("event",)
    ordering = ("-pk",)


class HandlerRunInline(admin.TabularInline):  # type: ignore[type-arg]
    """What the handlers did about an event."""

    model = HandlerRun
    fields = ("handler", "state", "attempts", "next_at", "done_at", "reason")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Runs come from the inbox."""
        return False


@admin.register(InboxEvent)
class InboxEventAdmin(ReadOnlyAdmin):
    """What arrived here."""

    actions = ("retry", "give_up")
    inlines = (HandlerRunInline,)
    list_display = ("event_id", "type", "key", "sequence", "state", "stuck", "duplicates", "received_at")
    list_filter = ("state", "runs__state", "type", "received_at")
    search_fields = ("event_id", "key")
    ordering = ("-received_at", "-pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboxEvent]:
        """Fetch the runs of all events shown at once."""
        return super().get_queryset(request).prefetch_related("runs")

    @admin.display(description="parked handlers")
    def stuck(self, event: InboxEvent) -> str:
        """Name the handlers that were given up until somebody retries them."""
        return ", ".join(run.handler for run in event.runs.all() if run.state == HandlerRun.State.PARKED) or "-"

    @admin.action(description="Retry what is parked", permissions=("operate",))
    def retry(self, request: HttpRequest, queryset: QuerySet[InboxEvent]) -> None:
        """Let the parked ones among the events have another try."""
        done = operate.retry(list(queryset.values_list("event_id", flat=True)))
        self._log(request, queryset, done, "Retried.")
        messages.success(request, f"{len(done.events)} parked events are tried again.")

    @admin.action(description="Give up what is parked", permissions=("operate",))
    def give_up(self, request: HttpRequest, queryset: QuerySet[InboxEvent]) -> HttpResponse | None:
        """Ask for the reason, then give the parked ones among the events up."""
        ids = list(queryset.values_list("event_id", flat=True))
        why = request.POST.get("why")
        if why is None:
            context = {
                **self.admin_site.each_context(request),
                "title": "Give up parked events",
                "opts": self.opts,
                "events": operate.parked(ids),
                "selected": request.POST.getlist("_selected_action"),
            }
            return TemplateResponse(request, "admin/strangler_events/give_up.html", context)
        try:
            done = operate.discard(ids, why)
        except EventError as error:
            messages.error(request, str(error))
            return None
        self._log(request, queryset, done, f"Given up: {why}")
        messages.success(request, f"{len(done.events)} parked events are given up.")
        return None

    def _log(self, request: HttpRequest, queryset: QuerySet[InboxEvent], done: operate.Done, said: str) -> None:
        touched = queryset.filter(event_id__in=[event.event_id for event in done.events])
        LogEntry.objects.log_actions(request.user.pk, touched, CHANGE, said)  # type: ignore[arg-type]


@admin.register(HandlerRun)
class HandlerRunAdmin(ReadOnlyAdmin):
    """What each handler did about each event."""

    list_display = ("handler", "key", "sequence", "state", "attempts", "next_at", "done_at", "reason")
    list_filter = ("state", "handler")
    search_fields = ("key", "event__event_id")
    ordering = ("-pk",)
