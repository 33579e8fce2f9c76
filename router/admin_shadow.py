"""Pages about comparisons: what differs by route and field, examples side by side, and what is left out by whom."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from router.admin_traffic import ReadOnlyAdmin
from router.conf import conf
from router.models.shadow import ShadowRule
from router.models.traffic import ShadowMismatch
from router.shadow import exclusions
from router.shadow.exclusions import Refused
from router.shadow.findings import verdicts
from router.shadow.sidebyside import SideBySide, side_by_side

SEE_EXAMPLES = "router.see_shadow_examples"
IGNORE = "router.add_shadowrule"
REMOVE = "router.change_shadowrule"
HOURS = 24.0
SHOWN_EXAMPLES = 10
TEMPLATES = "admin/router/shadow"


@admin.register(ShadowMismatch)
class ShadowMismatchAdmin(ReadOnlyAdmin):
    """Answers that differed, one by one; and what they come to, by route and field."""

    list_display = ("at", "service", "answered_by", "store", "route", "method", "path", "outcome", "cause", "fields")
    list_filter = ("service", "store", "outcome", "route")
    change_list_template = f"{TEMPLATES}/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        """Put the pages about fields before those about rows."""
        view, prefix = self.admin_site.admin_view, "router_shadow"
        return [
            path("findings/", view(self.findings_view), name=f"{prefix}_findings"),
            path("examples/", view(self.examples_view), name=f"{prefix}_examples"),
            path("ignore/", view(self.ignore_view), name=f"{prefix}_ignore"),
            *super().get_urls(),
        ]

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show values of a stored example to those who may see them."""
        hidden = ("subject", "size")
        return hidden if request.user.has_perm(SEE_EXAMPLES) else (*hidden, "differences")

    def findings_view(self, request: HttpRequest) -> HttpResponse:
        """Show what is said of each route and field, with proposals that nobody has applied."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        hours = _hours(request)
        since = datetime.now(UTC) - timedelta(hours=hours)
        found = [(name, verdicts(name, since)) for name in sorted(conf().services)]
        context = {
            "services": found,
            "hours": hours,
            "may_see": request.user.has_perm(SEE_EXAMPLES),
            "may_ignore": request.user.has_perm(IGNORE),
        }
        return self._page(request, "findings", "Comparisons by route and field", context)

    def examples_view(self, request: HttpRequest) -> HttpResponse:
        """Show stored examples of one field side by side."""
        if not (self.has_view_permission(request) and request.user.has_perm(SEE_EXAMPLES)):
            raise PermissionDenied
        service, route, field = _asked(request, "service", "route", "field")
        rows = ShadowMismatch.objects.filter(service=service, route=route).order_by("-at", "-pk")
        wanted = [row for row in rows.iterator() if _has(row, field)][:SHOWN_EXAMPLES]
        examples: list[SideBySide] = [side_by_side(row, field) for row in wanted]
        context = {"service": service, "route": route, "field": field, "examples": examples}
        return self._page(request, "examples", f"{service}.{route}: {field}", context)

    def ignore_view(self, request: HttpRequest) -> HttpResponse:
        """Show what leaving a field out would do; do it when that is confirmed with a reason."""
        if not request.user.has_perm(IGNORE):
            raise PermissionDenied
        service, route, field = _asked(request, "service", "route", "field")
        problem = ""
        if request.method == "POST":
            reason = request.POST.get("reason", "")
            try:
                rule = exclusions.ignore(service, field, route=route, reason=reason, by=request.user.get_username())
            except Refused as refusal:
                problem = str(refusal)
            else:
                self.log_addition(request, rule, f"{rule}: {reason}")
                messages.success(request, f"{field} is left out of comparisons from now on, in every process.")
                return HttpResponseRedirect(reverse("admin:router_shadow_findings"))
        since = datetime.now(UTC) - timedelta(hours=HOURS)
        found = [
            (one, verdict.counts)
            for verdict in verdicts(service, since, route=route)
            for one in verdict.fields
            if one.counts.field == field
        ]
        context = {"service": service, "route": route, "field": field, "problem": problem, "found": found}
        return self._page(request, "ignore", f"Leave {field} out of comparisons?", context)

    def _page(self, request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> HttpResponse:
        shown = {**self.admin_site.each_context(request), "title": title, "opts": self.opts, **context}
        return TemplateResponse(request, f"{TEMPLATES}/{name}.html", shown)


@admin.register(ShadowRule)
class ShadowRuleAdmin(ReadOnlyAdmin):
    """The fields that people have had left out, in force and removed."""

    list_display = ("service", "route", "path", "reason", "made_by", "made_at", "removed_by", "removed_at")
    list_filter = ("service", ("removed_at", admin.EmptyFieldListFilter))
    date_hierarchy = "made_at"
    ordering = ("-made_at", "-pk")
    actions = ("compare_again",)
    change_list_template = f"{TEMPLATES}/change_list.html"

    def get_actions(self, request: HttpRequest) -> Any:
        """Offer to compare a field again to those who may."""
        return super().get_actions(request) if request.user.has_perm(REMOVE) else {}

    @admin.action(description="Compare these fields again")
    def compare_again(self, request: HttpRequest, rules: Any) -> HttpResponse | None:
        """Ask whether the rules are to be removed; remove them when that is confirmed."""
        if not request.user.has_perm(REMOVE):
            raise PermissionDenied
        in_force = list(rules.filter(removed_at=None))
        if not in_force:
            messages.info(request, "None of these rules is in force.")
            return None
        if request.POST.get("confirmed"):
            for rule in in_force:
                removed = exclusions.remove(rule.pk, by=request.user.get_username())
                self.log_change(request, removed, f"Removed: {removed}")
            told = "1 field is" if len(in_force) == 1 else f"{len(in_force)} fields are"
            messages.success(request, f"{told} compared again.")
            return None
        context = {**self.admin_site.each_context(request), "opts": self.opts, "rules": in_force}
        context["title"] = "Compare these fields again?"
        return TemplateResponse(request, f"{TEMPLATES}/remove.html", context)


def _asked(request: HttpRequest, *names: str) -> tuple[str, ...]:
    found = tuple(request.GET.get(name, "") for name in names)
    if not found[0] or found[0] not in conf().services:
        raise Http404(f"There is no service {found[0]!r}.")
    return found


def _hours(request: HttpRequest) -> float:
    try:
        return min(max(float(request.GET.get("hours", HOURS)), 0.1), 24.0 * 366)
    except ValueError:
        return HOURS


def _has(row: ShadowMismatch, field: str) -> bool:
    return field in row.fields or field == f"(error {row.cause})"
