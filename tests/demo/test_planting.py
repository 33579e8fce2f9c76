"""What is planted is wrong in the way it says, one order each, and no trigger notes it."""

import pytest

from demo import homes
from demo.planting import AT_REST, FAR_ABOVE, plant, resting
from tests.demo.conftest import Pair

EVERY = 10**6


def put_to_rest(pair: Pair) -> None:
    with pair.shop.past_triggers() as connection:
        connection.execute(f"UPDATE orders_order SET status = {AT_REST[0]}")
    with pair.own.past_triggers() as connection:
        connection.execute("UPDATE own_store_order SET state = 'completed'")


def test_each_plant_spoils_an_order_of_its_own(pair: Pair) -> None:
    put_to_rest(pair)
    planted = plant(pair.shop, pair.own, before=EVERY)
    kinds = [one.kind for one in planted]
    assert sorted(kinds) == ["changed", "changed", "changed", "extra", "missing", "version"]
    assert len({one.order_id for one in planted}) == len(planted)
    found = homes.compare(pair.shop, pair.own)
    assert set(found) == {one.order_id for one in planted if one.shows}
    told = {one.what: found.get(one.order_id, "") for one in planted}
    assert told["an order that is gone"] == homes.ONLY_SHOP
    assert told["an order nobody placed"] == homes.ONLY_OWN
    assert "total is" in told["an amount"]
    assert "street is 'Nowhere" in told["a street"]
    assert told["an old version"] == ""


def test_an_invented_order_stays_below_the_range_of_the_service(pair: Pair) -> None:
    put_to_rest(pair)
    (extra,) = (one for one in plant(pair.shop, pair.own, before=EVERY) if one.kind == "extra")
    assert FAR_ABOVE < extra.order_id < 2**40


def test_only_orders_from_before_that_nobody_changes_are_taken(pair: Pair) -> None:
    put_to_rest(pair)
    with pair.shop.reading() as connection:
        assert len(resting(connection, before=EVERY, count=6)) == 6
        with pytest.raises(ValueError, match="Only 2 orders are at rest; 3"):
            resting(connection, before=2, count=3)
    with pair.shop.past_triggers() as connection:
        connection.execute("UPDATE orders_order SET status = 20")
    with pair.shop.reading() as connection, pytest.raises(ValueError, match="Only 0 orders"):
        resting(connection, before=EVERY, count=1)


def test_too_few_orders_are_refused_before_anything_is_spoilt(pair: Pair) -> None:
    with pytest.raises(ValueError, match="are to be corrupted"):
        plant(pair.shop, pair.own, before=3)
    assert homes.compare(pair.shop, pair.own) == {}
