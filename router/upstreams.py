"""The running instances of the services, as the settings name them."""

from django.core.signals import setting_changed

from router.conf import SETTING, conf
from router.exceptions import ConfigurationError
from router.forward import Timeouts, Upstream

_known: dict[tuple[str, str], Upstream] = {}


def upstream_for(service: str, store: str) -> Upstream:
    """Return the upstream of a service for one of its stores; raise if the settings name none."""
    found = _known.get((service, store))
    if found is None:
        found = _known[service, store] = _read(service, store)
    return found


def _read(service: str, store: str) -> Upstream:
    settings = conf().service(service)
    base_url = settings.upstreams.get(store)
    if not base_url:
        raise ConfigurationError(
            f"{SETTING}['SERVICES'][{service!r}]['UPSTREAMS'] names no upstream for the store {store!r}. "
            f'Add one, for example {{"{store}": "http://127.0.0.1:8101"}}.'
        )
    limits = settings.timeouts
    return Upstream(
        service=service,
        store=store,
        base_url=base_url,
        timeouts=Timeouts(connect=limits.connect, first_byte=limits.first_byte, total=limits.total),
    )


def _forget(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        _known.clear()


setting_changed.connect(_forget, dispatch_uid="router.upstreams")
