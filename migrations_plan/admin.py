"""The control page of each service: the same as the commands, with confirmation, permissions and audit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from migrations_plan import api, pages
from migrations_plan.errors import PlanError, UnknownService
from migrations_plan.forms import MoveForm
from migrations_plan.models import Evidence, HistoryEntry, ServiceState
from migrations_plan.moves import Move
from migrations_plan.runs import Orders, Ran
from migrations_plan.state import Direction, State

if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
else:
    AnyAdmin = admin.ModelAdmin

TEMPLATES = "admin/migrations_plan"


@dataclass(frozen=True, kw_only=True)
class Action:
    """A button: what it is called, what it would do, and how it is done."""

    name: str
    title: str
    run: Callable[[str, str | None, Orders], Ran | State]
    direction: Direction | None = None

    def moves(self, service: str, to: str | None) -> tuple[Move, ...]:
        """Return what would be done; pausing moves nothing."""
        return api.plan_moves(service, to, self.direction) if self.direction else ()


def _advance(service: str, to: str | None, orders: Orders) -> Ran:
    return api.advance(service, to, orders, watch_holder=False)


def _rollback(service: str, to: str | None, orders: Orders) -> Ran:
    return api.rollback(service, to, orders, watch_holder=False)


ACTIONS = {
    action.name: action
    for action in (
        Action(name="advance", title="Advance", run=_advance, direction=Direction.FORWARDS),
        Action(name="rollback", title="Roll back", run=_rollback, direction=Direction.BACKWARDS),
        Action(name="pause", title="Pause", run=lambda service, to, orders: api.pause(service, orders)),
        Action(name="resume", title="Resume", run=lambda service, to, orders: api.resume(service, orders)),
    )
}


class ReadOnlyAdmin(AnyAdmin):
    """Show rows that only the recorder writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


@admin.register(HistoryEntry)
class HistoryEntryAdmin(ReadOnlyAdmin):
    """Who did what, when, why."""

    list_display = ("at", "service", "kind", "way", "actor", "detail", "reason")
    list_filter = ("service", "kind", "actor")
    search_fields = ("actor", "reason", "detail")
    date_hierarchy = "at"

    @admin.display(description="step")
    def way(self, entry: HistoryEntry) -> str:
        """Show from where to where."""
        return entry.from_step if entry.from_step == entry.to_step else f"{entry.from_step} -> {entry.to_step}"


@admin.register(Evidence)
class EvidenceAdmin(ReadOnlyAdmin):
    """What gates measured."""

    list_display = (
        "measured_at",
        "service",
        "step",
        "gate",
        "outcome",
        "samples",
        "minimum",
        "overridden",
        "expires_at",
    )
    list_filter = ("service", "gate", "outcome", "overridden")


@admin.register(ServiceState)
class ServiceStateAdmin(AnyAdmin):
    """One page per service with a plan, whether it has a row or not."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: services come from plans."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ServiceState | None = None) -> bool:
        """Refuse: a service's state is never forgotten."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Replace the change pages by the control page and its actions."""
        view, prefix = self.admin_site.admin_view, "migrations_plan_servicestate"
        # Each recorded operation has to be durable at once, ATOMIC_REQUESTS or not.
        act = transaction.non_atomic_requests(view(self.action_view))
        return [
            path("", view(self.changelist_view), name=f"{prefix}_changelist"),
            path("<slug:service>/", view(self.control_view), name=f"{prefix}_control"),
            path("<slug:service>/change/", view(self.control_view), name=f"{prefix}_change"),
            path("<slug:service>/history/", view(self.service_history_view), name=f"{prefix}_history"),
            path("<slug:service>/<slug:action>/", act, name=f"{prefix}_action"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """List every service with a plan."""
        self._require_view(request)
        found = map(api.status, api.services())
        statuses = [
            (status, pages.shadow(status), pages.owned_by_service(status), pages.missing(status)) for status in found
        ]
        return self._page(request, "services.html", title="Services and their phases", statuses=statuses)

    def control_view(self, request: HttpRequest, service: str) -> HttpResponse:
        """Show where a service stands, and what can be done."""
        self._require_view(request)
        status = self._status(service)
        return self._page(
            request,
            "control.html",
            title=service,
            status=status,
            rungs=_rungs(status),
            since=pages.since(status),
            missing=pages.missing(status),
            way_back=pages.point_of_no_return(status.plan),
            homecomings=api.way_home(status),
            evidence=[(item, pages.ago(item.result.measured_at, status.now)) for item in status.evidence],
            history=api.history(service, 8),
            may_move=self.has_change_permission(request),
            **_buttons(status),
        )

    def action_view(self, request: HttpRequest, service: str, action: str) -> HttpResponse:
        """Show what an action would do and ask for a reason; do it when that was confirmed."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        if action not in ACTIONS:
            raise Http404(f"There is no action {action!r}. Actions: {', '.join(ACTIONS)}.")
        status = self._status(service)
        chosen = ACTIONS[action]
        data = request.POST if request.method == "POST" else request.GET
        to = data.get("to") or None
        try:
            moves = chosen.moves(service, to)
        except PlanError as problem:
            return self._back(request, service, str(problem), messages.ERROR)
        form = MoveForm(request.POST if request.method == "POST" else None, moves=moves)
        if request.method == "POST" and form.is_valid():
            return self._do(request, service, chosen, to, form)
        title = f"{chosen.title}: {service}"
        return self._page(
            request,
            "confirm.html",
            title=title,
            action=chosen,
            status=status,
            moves=moves,
            homecomings=api.homecomings(service, moves),
            way_back=pages.point_of_no_return(status.plan),
            to=to or "",
            form=form,
        )

    def service_history_view(self, request: HttpRequest, service: str) -> HttpResponse:
        """Lead to the history of one service."""
        self._require_view(request)
        self._status(service)
        return HttpResponseRedirect(f"{reverse('admin:migrations_plan_historyentry_changelist')}?service={service}")

    def _do(self, request: HttpRequest, service: str, action: Action, to: str | None, form: MoveForm) -> HttpResponse:
        orders = Orders(
            actor=request.user.get_username(),
            reason=form.cleaned_data["reason"],
            overrides=frozenset(form.cleaned_data["overrides"]),
        )
        try:
            result = action.run(service, to, orders)
        except PlanError as problem:
            self._log(request, service, action, f"refused: {problem}")
            return self._back(request, service, str(problem), messages.ERROR)
        if isinstance(result, Ran) and result.stop is not None:
            told = pages.stopped_line(service, result.stop)
            done = f"{pages.ran(result)}. " if result.steps else ""
            self._log(request, service, action, f"{done}{told}")
            return self._back(request, service, f"{done}{told}", messages.WARNING)
        told = pages.ran(result) if isinstance(result, Ran) else f"{action.title}: done at {result.step}"
        self._log(request, service, action, f"{told} ({orders.reason})" if orders.reason else told)
        return self._back(request, service, told, messages.SUCCESS)

    def _log(self, request: HttpRequest, service: str, action: Action, text: str) -> None:
        row = ServiceState.objects.filter(service=service).first()
        LogEntry.objects.create(
            user_id=str(request.user.pk),
            content_type=ContentType.objects.get_for_model(ServiceState),
            object_id=service,
            object_repr=str(row) if row else service,
            action_flag=CHANGE,
            change_message=f"{action.title}: {text}",
        )

    def _back(self, request: HttpRequest, service: str, text: str, level: int) -> HttpResponse:
        self.message_user(request, text, level)
        return HttpResponseRedirect(reverse("admin:migrations_plan_servicestate_control", args=(service,)))

    def _status(self, service: str) -> api.ServiceStatus:
        try:
            return api.status(service)
        except UnknownService as error:
            raise Http404(str(error)) from error

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(self, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"{TEMPLATES}/{template}", context)


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A step on the control page's ladder."""

    name: str
    title: str
    place: str
    """past, here, moving or ahead"""
    reads: int
    writes: int
    shadow: int
    shadow_store: str


def _rungs(status: api.ServiceStatus) -> list[Rung]:
    names = status.plan.names
    here = names.index(status.state.step) if status.state.step in names else -1
    places = {True: "past", False: "ahead"}
    return [
        Rung(
            name=step.name,
            title=step.title,
            place="here"
            if number == here
            else "moving"
            if step.name == status.state.moving_to
            else places[number < here],
            reads=step.reads,
            writes=step.writes,
            shadow=step.shadow,
            shadow_store=step.shadow_store,
        )
        for number, step in enumerate(status.plan.steps)
    ]


def _buttons(status: api.ServiceStatus) -> dict[str, Any]:
    """Return which buttons the state allows, and the targets of those that have some."""
    if status.step is None:
        return {"ahead": [], "behind": [], "can_advance": False, "can_roll_back": False}
    here = status.plan.index(status.step.name)
    moving, paused = status.state.moving, status.state.paused
    ahead, behind = status.plan.names[here + 1 :], status.plan.names[:here][::-1]
    return {
        "ahead": ahead,
        "behind": behind,
        "can_advance": bool(ahead or moving) and not paused,
        "can_roll_back": bool(behind or moving),
    }
