"""What a customer fills in."""

from typing import Any, cast

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from legacy_shop.accounts.models import Address
from legacy_shop.cart.services import HIGHEST_QUANTITY
from legacy_shop.catalog.models import Product

NEW_ADDRESS = "new"
PAY_LATER = ""
CARDS = (
    ("tok_visa", "Visa test card, ending 4242: is accepted"),
    ("tok_mastercard", "Mastercard test card, ending 4444: is accepted"),
    ("tok_declined", "Test card that the bank declines"),
)
COUNTRIES = (
    ("AT", "Austria"), ("AU", "Australia"), ("BE", "Belgium"), ("BR", "Brazil"), ("CA", "Canada"),
    ("CH", "Switzerland"), ("CZ", "Czechia"), ("DE", "Germany"), ("DK", "Denmark"), ("ES", "Spain"), ("FI", "Finland"),
    ("FR", "France"), ("GB", "United Kingdom"), ("IE", "Ireland"), ("IN", "India"), ("IT", "Italy"), ("JP", "Japan"),
    ("MX", "Mexico"), ("NL", "Netherlands"), ("NO", "Norway"), ("NZ", "New Zealand"), ("PL", "Poland"),
    ("PT", "Portugal"), ("SE", "Sweden"), ("US", "United States"),
)  # fmt: skip
SORTS = {
    "name": ("Name", ("name", "id")),
    "cheap": ("Price, low first", ("price", "id")),
    "dear": ("Price, high first", ("-price", "id")),
    "new": ("Newest", ("-created_at", "-id")),
}
ADDRESS_FIELDS = ("name", "street", "city", "postcode", "country")


def _choice(form: forms.Form, name: str) -> forms.ChoiceField:
    """Return a field of a form, known to be a choice."""
    return cast(forms.ChoiceField, form.fields[name])


class SearchForm(forms.Form):
    """Words to look for, and an order to show the finds in."""

    q = forms.CharField(required=False, max_length=100, label="Search")
    sort = forms.ChoiceField(required=False, choices=[(key, label) for key, (label, _) in SORTS.items()])

    @property
    def text(self) -> str:
        """Return the words searched for."""
        return self.cleaned_data.get("q", "") if self.is_valid() else ""

    def apply(self, products: QuerySet[Product]) -> QuerySet[Product]:
        """Narrow and order the products; what makes no sense is left aside."""
        self.is_valid()
        for word in self.cleaned_data.get("q", "").split():
            products = products.filter(
                Q(name__icontains=word) | Q(sku__iexact=word) | Q(category__name__icontains=word)
            )
        _, ordering = SORTS[self.cleaned_data.get("sort") or "name"]
        return products.order_by(*ordering)


class QuantityForm(forms.Form):
    """How many to put into the cart."""

    quantity = forms.IntegerField(min_value=1, max_value=HIGHEST_QUANTITY, initial=1)


class CartLineForm(forms.Form):
    """How many to have in the cart."""

    quantity = forms.IntegerField(min_value=0, max_value=HIGHEST_QUANTITY)


class AddressForm(forms.Form):
    """A place to deliver to."""

    name = forms.CharField(max_length=120, label="Full name", widget=forms.TextInput({"autocomplete": "name"}))
    street = forms.CharField(
        max_length=200, label="Street and number", widget=forms.TextInput({"autocomplete": "street-address"})
    )
    city = forms.CharField(max_length=100, widget=forms.TextInput({"autocomplete": "address-level2"}))
    postcode = forms.CharField(max_length=20, widget=forms.TextInput({"autocomplete": "postal-code"}))
    country = forms.ChoiceField(choices=COUNTRIES, initial="US", widget=forms.Select({"autocomplete": "country"}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer the country the address is in now, even if the shop has stopped delivering there."""
        super().__init__(*args, **kwargs)
        current = self.initial.get("country")
        if current and current not in dict(COUNTRIES):
            _choice(self, "country").choices = [(current, current), *COUNTRIES]

    @property
    def place(self) -> dict[str, str]:
        """Return the address alone, without what a subclass asks beside it."""
        return {name: self.cleaned_data[name] for name in ADDRESS_FIELDS}


class CardForm(forms.Form):
    """Which card to charge."""

    card = forms.ChoiceField(choices=CARDS, initial=CARDS[0][0], widget=forms.RadioSelect, label="Card")


class CheckoutForm(AddressForm):
    """Where to, how to pay, and what the customer saw the total to be."""

    use_required_attribute = False  # the fields of a new address may be folded away, and browsers would insist on them

    address = forms.ChoiceField(widget=forms.RadioSelect, label="Deliver to")
    save_address = forms.BooleanField(required=False, initial=True, label="Keep this address in my address book")
    note = forms.CharField(
        required=False,
        max_length=500,
        label="Note to the shop",
        widget=forms.Textarea({"rows": 2}),
        help_text="Optional.",
    )
    card = forms.ChoiceField(
        required=False,
        choices=[*CARDS, (PAY_LATER, "Pay later: we keep the order until you do, or until it expires")],
        initial=CARDS[0][0],
        widget=forms.RadioSelect,
        label="Payment",
    )
    seen_total = forms.DecimalField(max_digits=12, decimal_places=2)

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        """Offer the customer's address book, the default first, and a new address last."""
        super().__init__(*args, **kwargs)
        self.book = {str(entry.pk): entry for entry in Address.objects.filter(user=user).order_by("-is_default", "id")}
        choices = [*((key, str(entry)) for key, entry in self.book.items()), (NEW_ADDRESS, "Another address")]
        _choice(self, "address").choices = choices
        self.fields["address"].initial = choices[0][0]
        if not self.book:
            self.fields["address"].required = False
        if not self.is_bound or self.data.get("address") in self.book:
            for name in ADDRESS_FIELDS:
                self.fields[name].required = False

    @property
    def entry(self) -> Address | None:
        """Return the address book entry chosen, if one was."""
        return self.book.get(self.cleaned_data.get("address", ""))

    @property
    def place(self) -> dict[str, str]:
        """Return the address chosen or written."""
        if self.entry:
            return {name: getattr(self.entry, name) for name in ADDRESS_FIELDS}
        return super().place


class RegistrationForm(BaseUserCreationForm):
    """A new customer."""

    email = forms.EmailField(label="E-mail", widget=forms.EmailInput({"autocomplete": "email"}))

    class Meta(BaseUserCreationForm.Meta):
        model = User
        fields = ("username", "email")
