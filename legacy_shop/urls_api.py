"""The JSON API, below /api/."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from legacy_shop.accounts.api import AddressesView, CsrfView, LoginView, LogoutView, TokenView
from legacy_shop.cart.api import CartProductView, CartView
from legacy_shop.catalog.api import ProductsView, ProductView
from legacy_shop.orders.api import AddressView, CancelView, OrdersView, OrderView
from legacy_shop.orders.api_staff import StaffOrdersView, StaffOrderView
from legacy_shop.payments.api import PayView

urlpatterns = [
    path("auth/login/", LoginView.as_view(), name="api-login"),
    path("auth/logout/", LogoutView.as_view(), name="api-logout"),
    path("auth/token/", TokenView.as_view(), name="api-token"),
    path("auth/csrf/", CsrfView.as_view(), name="api-csrf"),
    path("products/", ProductsView.as_view(), name="api-products"),
    path("products/<int:product_id>/", ProductView.as_view(), name="api-product"),
    path("cart/", CartView.as_view(), name="api-cart"),
    path("cart/lines/<int:product_id>/", CartProductView.as_view(), name="api-cart-line"),
    path("addresses/", AddressesView.as_view(), name="api-addresses"),
    path("orders/", OrdersView.as_view(), name="api-orders"),
    path("orders/<int:order_id>/", OrderView.as_view(), name="api-order"),
    path("orders/<int:order_id>/cancel/", CancelView.as_view(), name="api-order-cancel"),
    path("orders/<int:order_id>/address/", AddressView.as_view(), name="api-order-address"),
    path("orders/<int:order_id>/pay/", PayView.as_view(), name="api-order-pay"),
    path("staff/orders/", StaffOrdersView.as_view(), name="api-staff-orders"),
    path("staff/orders/<int:order_id>/", StaffOrderView.as_view(), name="api-staff-order"),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
]
