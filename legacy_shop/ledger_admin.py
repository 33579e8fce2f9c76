"""What admin pages of append-only tables have in common."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class ReadOnlyMixin:
    """Show rows and let nobody add, change or delete them."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows come from the shop's own work only."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What happened stays as it happened."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What happened stays."""
        return False


class LedgerAdmin(ReadOnlyMixin, admin.ModelAdmin):
    """A ledger: to look at, to search, and to leave alone."""

    list_per_page = 50


class ReadOnlyInline(ReadOnlyMixin, admin.TabularInline):
    """Rows that belong to another row, to look at."""

    extra = 0
    can_delete = False
    show_change_link = False
