from django.apps import AppConfig


class StorefrontConfig(AppConfig):
    name = "legacy_shop.storefront"
    label = "storefront"
