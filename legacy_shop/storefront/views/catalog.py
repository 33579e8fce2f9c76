"""Look around: the front page, shelves, search, one product."""

from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from legacy_shop.catalog.models import Category, Product
from legacy_shop.storefront.forms import QuantityForm, SearchForm

PAGE_SIZE = 24
FEATURED = 8
RELATED = 4


def home(request: HttpRequest) -> HttpResponse:
    """Show the shelves and a few products that can be had."""
    featured = _on_sale().filter(stock__on_hand__gt=0).order_by("id")[:FEATURED]
    context = {"categories": _shelves(), "products": featured, "search": SearchForm()}
    return render(request, "storefront/home.html", context)


def product_list(request: HttpRequest, slug: str | None = None) -> HttpResponse:
    """List the products of a shelf, or those that match a search, page by page."""
    category = get_object_or_404(Category, slug=slug) if slug else None
    search = SearchForm(request.GET)
    products = search.apply(_on_sale())
    if category:
        products = products.filter(category=category)
    paginator = Paginator(products, PAGE_SIZE)
    page = paginator.get_page(request.GET.get("page"))
    context = {
        "category": category,
        "categories": _shelves(),
        "search": search,
        "query": search.text,
        "page": page,
        "page_numbers": paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1),
    }
    return render(request, "storefront/products.html", context)


def product_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one product, and others of its shelf."""
    product = get_object_or_404(_on_sale(), slug=slug)
    related = _on_sale().filter(category=product.category_id, stock__on_hand__gt=0).exclude(pk=product.pk)[:RELATED]
    context = {"product": product, "related": related, "form": QuantityForm()}
    return render(request, "storefront/product.html", context)


def _on_sale() -> QuerySet[Product]:
    return Product.objects.filter(is_active=True).select_related("category", "stock")


def _shelves() -> QuerySet[Category]:
    on_sale = Count("products", filter=Q(products__is_active=True))
    return Category.objects.annotate(size=on_sale).filter(size__gt=0)
