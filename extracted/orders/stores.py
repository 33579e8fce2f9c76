"""Find the store that the deployment's environment put into INSTALLED_APPS."""

from functools import cache
from typing import cast

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from extracted.orders.domain.store import OrderStore


class StoreConfig(AppConfig):
    """A Django app that keeps orders; exactly one of them is installed."""

    store_class: str
    """Dotted path of the ``OrderStore`` it brings."""


@cache
def order_store() -> OrderStore:
    """Return the installed store."""
    configs = [config for config in apps.get_app_configs() if isinstance(config, StoreConfig)]
    if len(configs) != 1:
        names = ", ".join(config.name for config in configs) or "none"
        raise ImproperlyConfigured(
            f"INSTALLED_APPS holds {len(configs)} order stores ({names}). Install exactly one, the one of ORDERS_STORE."
        )
    return cast(OrderStore, import_string(configs[0].store_class)())
