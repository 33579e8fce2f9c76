from django.apps import AppConfig


class BackofficeConfig(AppConfig):
    name = "legacy_shop.backoffice"
    label = "backoffice"
