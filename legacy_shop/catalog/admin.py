"""Products and stock in the back office."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, F, QuerySet
from django.http import HttpRequest

from legacy_shop.catalog.models import Category, Product, Stock
from legacy_shop.ledger_admin import ReadOnlyInline

FEW = 10


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    """The shelves."""

    list_display = ("name", "slug", "products_on_it")
    prepopulated_fields = {"slug": ("name",)}  # noqa: RUF012
    search_fields = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Category]:
        """Count the products in the same query."""
        return super().get_queryset(request).annotate(size=Count("products"))

    @admin.display(description="products", ordering="size")
    def products_on_it(self, category: Any) -> int:
        """Return how many products stand on the shelf."""
        return category.size


class StockInline(ReadOnlyInline):
    """What is on hand; it changes on the stock page, where sales in between are not overwritten."""

    model = Stock
    show_change_link = True


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """What is sold."""

    list_display = ("name", "sku", "category", "price", "on_hand", "is_active")
    list_filter = ("is_active", "category")
    list_select_related = ("category", "stock")
    search_fields = ("name", "sku")
    prepopulated_fields = {"slug": ("name",)}  # noqa: RUF012
    inlines = (StockInline,)

    @admin.display(description="on hand", ordering="stock__on_hand")
    def on_hand(self, product: Product) -> int | None:
        """Return the pieces on hand."""
        stock = getattr(product, "stock", None)
        return stock.on_hand if stock else None

    def save_model(self, request: HttpRequest, obj: Product, form: Any, change: bool) -> None:
        """Give a new product its stock row, empty."""
        super().save_model(request, obj, form, change)
        Stock.objects.get_or_create(product=obj)


class StockForm(forms.ModelForm):
    """A delivery or a loss: pieces more or fewer, never a new absolute figure, which would undo sales meanwhile."""

    adjust_by = forms.IntegerField(
        min_value=-1_000_000, max_value=1_000_000, help_text="Pieces that came in, or with a minus those that are gone."
    )

    class Meta:
        model = Stock
        fields = ()

    def clean_adjust_by(self) -> int:
        """Refuse to take away more than there is."""
        pieces: int = self.cleaned_data["adjust_by"]
        if self.instance.on_hand + pieces < 0:
            raise forms.ValidationError(f"Only {self.instance.on_hand} pieces are on hand.")
        return pieces


class AvailabilityFilter(admin.SimpleListFilter):
    """What has to be ordered again."""

    title = "availability"
    parameter_name = "left"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the two lists that matter."""
        return [("none", "sold out"), ("few", f"fewer than {FEW}")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Stock]) -> QuerySet[Stock]:
        """Narrow the list."""
        match self.value():
            case "none":
                return queryset.filter(on_hand=0)
            case "few":
                return queryset.filter(on_hand__gt=0, on_hand__lt=FEW)
            case _:
                return queryset


@admin.register(Stock)
class StockAdmin(admin.ModelAdmin):
    """How much is on hand, and deliveries."""

    form = StockForm
    fields = ("product", "on_hand", "adjust_by")
    readonly_fields = ("product", "on_hand")
    list_display = ("product", "sku", "on_hand")
    list_select_related = ("product",)
    list_filter = (AvailabilityFilter, "product__category")
    search_fields = ("product__name", "product__sku")
    ordering = ("on_hand",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Stock rows come with their product."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Stock rows go with their product."""
        return False

    @admin.display(ordering="product__sku")
    def sku(self, stock: Stock) -> str:
        """Return the article number."""
        return stock.product.sku

    def save_model(self, request: HttpRequest, obj: Stock, form: Any, change: bool) -> None:
        """Add to what is there now, in the database, unless that would make it negative."""
        pieces = form.cleaned_data["adjust_by"]
        enough = Stock.objects.filter(pk=obj.pk, on_hand__gte=-pieces)
        if not enough.update(on_hand=F("on_hand") + pieces):
            messages.error(request, f"Nothing was changed: meanwhile fewer than {-pieces} pieces are on hand.")
        obj.refresh_from_db()

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> str:
        """Record the figure, not only that the form was sent."""
        return f"Asked to adjust by {form.cleaned_data['adjust_by']:+d}."
