"""The shop's settings with sagas, for processes that are killed in the middle of one."""

from legacy_shop.settings import *  # noqa: F403
from legacy_shop.settings import INSTALLED_APPS

INSTALLED_APPS += ["router.sagas"]
