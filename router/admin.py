"""Flags with what they ask for and what they get, and breakers held by hand.

Kill switches are waffle's own switches, in waffle's own admin.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from waffle.admin import FlagAdmin as WaffleFlagAdmin

from router import admin_shadow, admin_traffic
from router.flags import steered_services
from router.limits import CHANNELS, KILL_ALL, limits
from router.models import BreakerOverride, Flag
from router.poller import load
from router.snapshot import Snapshot
from router.steering import people

__all__ = ["BreakerOverrideAdmin", "FlagAdmin", "admin_shadow", "admin_traffic"]

NOT_STEERING = "steers no service"


@admin.register(Flag)
class FlagAdmin(WaffleFlagAdmin):
    """Show what each flag asks for next to what it gets; every change is logged as usual."""

    # waffle fixes the lengths of these by not annotating its own
    list_display = (  # type: ignore[assignment]
        "name",
        "setting",
        "requested_and_effective",
        "why",
        "modified",
    )
    list_filter = ("everyone",)  # type: ignore[assignment]
    ordering = ("name",)
    filter_horizontal = ("groups",)
    readonly_fields = ("requested_and_effective", "why", "created", "modified")
    fieldsets = (
        (
            None,
            {
                "fields": ("name", "everyone", "percent", ("requested_and_effective", "why"), "note"),
                "description": (
                    "A flag named <code>&lt;service&gt;.reads</code>, <code>.writes</code> or <code>.shadow</code> "
                    "steers inside of what the service's plan allows: the smaller of both counts. Without a flag, the "
                    "plan alone counts. Every process follows within two seconds. To stop everything, switch on "
                    f"<code>{KILL_ALL}</code> or <code>&lt;service&gt;.off</code> among waffle's switches."
                ),
            },
        ),
        (
            "Who is in besides the percentage",
            {
                "fields": ("users", "groups", "superusers", "staff", "authenticated"),
                "description": "They, too, are let in only as far as their bucket is inside of what the plan allows.",
            },
        ),
        ("Ordinary flags only", {"fields": ("languages", "created", "modified"), "classes": ("collapse",)}),
    )

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Read the rules once for the whole list."""
        changelist: ChangeList = super().get_changelist_instance(request)
        rules = load()
        for flag in changelist.result_list:
            flag.rules = rules
        return changelist

    @admin.display(description="requested / effective")
    def requested_and_effective(self, flag: Flag) -> str:
        """Say what the flag asks for and what it gets."""
        steered = _steered(flag)
        if steered is None:
            return NOT_STEERING
        service, channel = steered
        found = limits(service, channel, _rules(flag))
        besides = people(found.rule)
        return f"{found.requested} % / {found.effective} %{f' and {besides}' if besides else ''}"

    @admin.display(description="why no more")
    def why(self, flag: Flag) -> str:
        """Say why the flag gets no more."""
        steered = _steered(flag)
        return "" if steered is None else limits(*steered, _rules(flag)).why

    @admin.display(description="setting")
    def setting(self, flag: Flag) -> str:
        """Say what is set: everyone, nobody, or a percentage."""
        if flag.everyone is not None:
            return "on for everyone" if flag.everyone else "off for everyone"
        return "no percentage" if flag.percent is None else f"{flag.percent} %"


def _steered(flag: Flag) -> tuple[str, Any] | None:
    """Return service and channel of a flag that steers."""
    service, _, channel = flag.name.rpartition(".")
    return (service, channel) if service in steered_services() and channel in CHANNELS else None


def _rules(flag: Flag) -> Snapshot:
    known = getattr(flag, "rules", None)
    return known if isinstance(known, Snapshot) else load()


if TYPE_CHECKING:
    _BreakerOverrideAdmin = admin.ModelAdmin[BreakerOverride]
else:
    _BreakerOverrideAdmin = admin.ModelAdmin


@admin.register(BreakerOverride)
class BreakerOverrideAdmin(_BreakerOverrideAdmin):
    """Hold breakers open or closed; to let one decide again, delete its row."""

    list_display = ("service", "store", "state", "note", "modified")
    list_filter = ("service", "state")
    fieldsets = (
        (
            None,
            {
                "fields": ("service", "store", "state", "note"),
                "description": (
                    "Every process follows within two seconds. To keep a whole service in legacy, with no shadow "
                    "traffic either, switch on <code>&lt;service&gt;.off</code> among waffle's switches instead."
                ),
            },
        ),
    )
