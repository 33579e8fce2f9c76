"""The document of what a write has written, for comparison with what another side would have."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from migrations_plan.sync.aggregates import Aggregate
from migrations_plan.sync.documents import canonical, form_of
from migrations_plan.sync.errors import Unloadable


def written(aggregate: Aggregate, key: str = "id") -> Callable[[Mapping[str, Any]], Any]:
    """Return what makes of a write's answer the canonical document of the aggregate that it names in the field ``key``.

    It is read from the rows as they are, in the caller's transaction; None where the answer names none that exists. The
    aggregate need not be registered, nor sync be installed.
    """

    def document(answer: Mapping[str, Any]) -> Any:
        form = form_of(aggregate)
        try:
            value = form.key_value(str(answer[key]))
        except (KeyError, Unloadable):
            return None
        data = form.read([value]).get(value)
        return None if data is None else json.loads(canonical(data))

    return document
