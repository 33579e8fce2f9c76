"""What tests of sagas share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from router.sagas import types
from tests.router.sagas.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """Return an empty folder to buy from, whose sagas everybody in this process knows."""
    before = dict(types._declared)
    found = Shelf(tmp_path)
    types.declare(found.place)
    types.declare(found.give_up)
    yield found
    types._declared.clear()
    types._declared.update(before)
