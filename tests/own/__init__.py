"""A second side in the tests' own process: the orders service's own store, in a database of its own, beside the shop.

The database's alias is ``own`` (``tests.own.ALIAS``). It holds the tables of ``own_store``, of sync, of idempotency and
of events, as the service's database does. A test that touches it says so::

    pytestmark = pytest.mark.django_db(databases=["default", "own"])              # rolled back after each test
    pytestmark = pytest.mark.django_db(databases=["default", "own"], transaction=True)   # emptied after each test

``tests.own.rows`` has ``LEGACY`` and ``OWN``, the two sides' aggregates, both named ``orders``: ``LEGACY.alias`` is
``default`` and ``OWN.alias`` is ``own``. Sync's rows of a side are reached by ``.using(aggregate.alias)``. The registry
holds one aggregate of a name, the shop's; ``with aggregates.replaced(OWN):`` it holds the service's. It also makes
orders at the shop (``make_orders``) and carries documents to the other side by hand (``dump``, ``put``, ``carry``).
"""

ALIAS = "own"
