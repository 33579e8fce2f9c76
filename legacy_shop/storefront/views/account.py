"""Come in, sign up, and see what the shop knows about you."""

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme

from legacy_shop.accounts.models import Address, Profile
from legacy_shop.storefront.forms import AddressForm, RegistrationForm
from legacy_shop.storefront.visitors import customer_of


class LogIn(LoginView):
    """Let a customer in, and straight through if already in."""

    template_name = "storefront/login.html"
    redirect_authenticated_user = True


def register(request: HttpRequest) -> HttpResponse:
    """Make a customer of a visitor, and log them in."""
    onward = request.POST.get("next") or request.GET.get("next") or ""
    form = RegistrationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = form.save()
        login(request, user)
        messages.success(request, f"Welcome, {user.get_username()}!")
        safe = url_has_allowed_host_and_scheme(onward, allowed_hosts={request.get_host()}, require_https=False)
        return redirect(onward if safe else "storefront:home")
    status = 422 if form.errors else 200
    return render(request, "storefront/register.html", {"form": form, "next": onward}, status=status)


@login_required
def account(request: HttpRequest) -> HttpResponse:
    """Show points and address book, and add to the book."""
    customer = customer_of(request)
    form = AddressForm(request.POST or None, initial={"name": customer.get_full_name()})
    if request.method == "POST" and form.is_valid():
        first = not customer.addresses.exists()
        Address.objects.create(user=customer, is_default=first, **form.place)
        messages.success(request, "The address is in your book.")
        return redirect("storefront:account")
    profile = Profile.objects.filter(user=customer).first()
    context = {"profile": profile, "addresses": customer.addresses.order_by("-is_default", "id"), "form": form}
    return render(request, "storefront/account.html", context, status=422 if form.errors else 200)
