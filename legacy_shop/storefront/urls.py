"""The pages of the shop."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from legacy_shop.storefront.views import account, cart, catalog, checkout, orders

app_name = "storefront"

urlpatterns = [
    path("", catalog.home, name="home"),
    path("products/", catalog.product_list, name="products"),
    path("products/<slug:slug>/", catalog.product_detail, name="product"),
    path("category/<slug:slug>/", catalog.product_list, name="category"),
    path("cart/", cart.cart_detail, name="cart"),
    path("cart/add/<int:product_id>/", cart.add_line, name="cart-add"),
    path("cart/lines/<int:product_id>/", cart.change_line, name="cart-line"),
    path("checkout/", checkout.checkout, name="checkout"),
    path("orders/", orders.order_list, name="orders"),
    path("orders/<int:order_id>/", orders.order_detail_page, name="order"),
    path("orders/<int:order_id>/cancel/", orders.cancel, name="order-cancel"),
    path("orders/<int:order_id>/address/", orders.address, name="order-address"),
    path("orders/<int:order_id>/pay/", orders.pay, name="order-pay"),
    path("account/", account.account, name="account"),
    path("login/", account.LogIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="storefront:home"), name="logout"),
    path("register/", account.register, name="register"),
]
