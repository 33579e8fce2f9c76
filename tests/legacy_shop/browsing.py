"""What a browser does in tests of the pages."""

from html import unescape

from django.test import Client

from legacy_shop.catalog.models import Product


def get(client: Client, path: str, status: int = 200) -> str:
    """Return the text of a page."""
    response = client.get(path)
    assert response.status_code == status, response
    return unescape(response.content.decode())


def post(client: Client, path: str, data: dict[str, object] | None = None, status: int = 200) -> str:
    """Send a form, follow where it leads, and return the text of the page."""
    response = client.post(path, data or {}, follow=True)
    assert response.status_code == status, response
    return unescape(response.content.decode())


def fill(client: Client, product: Product, quantity: int = 1) -> None:
    """Put pieces into the cart."""
    assert "is in your cart" in post(client, f"/cart/add/{product.pk}/", {"quantity": quantity})
