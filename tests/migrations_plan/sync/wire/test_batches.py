"""Batches: neighbours of a bounded size."""

from hypothesis import given
from hypothesis import strategies as st

from migrations_plan.sync.wire.batches import cut


@given(sizes=st.lists(st.integers(1, 20)), most=st.integers(1, 30))
def test_batches_are_as_large_as_allowed_and_hold_everything_in_order(sizes: list[int], most: int) -> None:
    found = list(cut(sizes, most))
    assert [place for batch in found for place in batch] == list(range(len(sizes)))
    for batch in found:
        total = sum(sizes[place] for place in batch)
        assert total <= most or len(batch) == 1
        following = sizes[batch.stop : batch.stop + 1]
        assert not following or total + following[0] > most
