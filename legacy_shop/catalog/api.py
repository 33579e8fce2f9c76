"""Look at what is sold."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from legacy_shop.api_schema import PAGE, DetailSerializer, page_of
from legacy_shop.api_support import ShopAPIView, page_document
from legacy_shop.catalog.models import Product


class ProductSerializer(serializers.Serializer):
    """A product as the API shows it."""

    id = serializers.IntegerField()
    sku = serializers.CharField()
    name = serializers.CharField()
    price = serializers.DecimalField(max_digits=10, decimal_places=2)
    category = serializers.SlugField()
    available = serializers.IntegerField()


def products_on_sale() -> QuerySet[Product]:
    """Return what can be bought, with shelf and stock."""
    return Product.objects.filter(is_active=True).select_related("category", "stock")


def product_document(product: Product) -> dict[str, Any]:
    """Return a product as the API shows it."""
    return {
        "id": product.pk,
        "sku": product.sku,
        "name": product.name,
        "price": f"{product.price:.2f}",
        "category": product.category.slug,
        "available": product.stock.on_hand if hasattr(product, "stock") else 0,
    }


class ProductsView(ShopAPIView):
    """The catalogue, for everybody."""

    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="products_list",
        parameters=[PAGE, OpenApiParameter("category", str, description="The slug of a category.")],
        responses={200: page_of("ProductPage", ProductSerializer), 404: DetailSerializer},
    )
    def get(self, request: Request) -> Response:
        """List a page of products, by name."""
        products = products_on_sale()
        category = request.query_params.get("category")
        if category:
            products = products.filter(category__slug=category)
        return Response(page_document(request, products, product_document))


class ProductView(ShopAPIView):
    """One product, for everybody."""

    permission_classes = (AllowAny,)

    @extend_schema(responses={200: ProductSerializer, 404: DetailSerializer})
    def get(self, request: Request, product_id: int) -> Response:
        """Show a product."""
        product = products_on_sale().filter(pk=product_id).first()
        if product is None:
            raise NotFound("No Product matches the given query.")
        return Response(product_document(product))
