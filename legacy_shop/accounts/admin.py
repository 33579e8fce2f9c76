"""Customers in the back office."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User

from legacy_shop.accounts.models import Address, LoyaltyBooking, Profile
from legacy_shop.ledger_admin import LedgerAdmin

admin.site.unregister(User)


class ProfileInline(admin.StackedInline):
    """Phone and points, beside the login."""

    model = Profile
    can_delete = False
    readonly_fields = ("loyalty_points",)  # the bookings say how many there are


class AddressInline(admin.TabularInline):
    """The customer's address book."""

    model = Address
    extra = 0


@admin.register(User)
class CustomerAdmin(UserAdmin):
    """Users, with what the shop keeps about them."""

    inlines = (ProfileInline, AddressInline)
    list_display = ("username", "email", "first_name", "last_name", "points", "is_staff", "date_joined")
    list_select_related = ("profile",)
    date_hierarchy = "date_joined"
    show_full_result_count = False

    @admin.display(ordering="profile__loyalty_points")
    def points(self, user: User) -> int | None:
        """Return the customer's loyalty points."""
        profile = getattr(user, "profile", None)
        return profile.loyalty_points if profile else None


@admin.register(Address)
class AddressAdmin(admin.ModelAdmin):
    """All address books in one list."""

    list_display = ("name", "street", "postcode", "city", "country", "user", "is_default")
    list_filter = ("country", "is_default")
    list_select_related = ("user",)
    search_fields = ("name", "street", "city", "postcode", "user__username")
    raw_id_fields = ("user",)
    show_full_result_count = False


@admin.register(LoyaltyBooking)
class LoyaltyBookingAdmin(LedgerAdmin):
    """Points given and taken back."""

    list_display = ("booked_at", "user", "order", "points")
    list_select_related = ("user", "order")
    search_fields = ("user__username", "order__number")
    date_hierarchy = "booked_at"
