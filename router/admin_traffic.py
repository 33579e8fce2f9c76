"""What the router recorded, to be looked at in the admin and changed by nobody."""

from django.contrib import admin
from django.http import HttpRequest

from router.models.traffic import BreakerEvent, TrafficCount


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Show rows without letting anybody add, change or delete them."""

    date_hierarchy = "at"
    ordering = ("-at", "-pk")
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: rows are recorded, not entered."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object | None = None) -> bool:
        """Refuse: what was recorded stays as it is."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object | None = None) -> bool:
        """Refuse: ``strangler_purge`` removes what is old."""
        return False


@admin.register(TrafficCount)
class TrafficCountAdmin(ReadOnlyAdmin):
    """Counts per process and flush."""

    list_display = ("at", "service", "route", "kind", "side", "store", "outcome", "cause", "count", "process")
    list_filter = ("service", "kind", "side", "store", "outcome")


@admin.register(BreakerEvent)
class BreakerEventAdmin(ReadOnlyAdmin):
    """Breakers that moved."""

    list_display = ("at", "upstream", "previous", "state", "reason", "process")
    list_filter = ("service", "state")
