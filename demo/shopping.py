"""What customers do in the shop; each checks that it reads back what it was told."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.customers import Client, Reply
from demo.documents import Document, differences, wrong_in_answer

PAGE = 20
GOOD_CARDS = ("tok_visa", "tok_mastercard", "tok_amex")
DECLINED_CARD = "tok_declined"
STREETS = ("Fig Lane", "Banyan Road", "Canopy Street", "Root Avenue", "Trunk Row")
CITIES = ("Springfield", "Riverton", "Lakeside", "Hillview")


@dataclass(frozen=True, kw_only=True)
class Goods:
    """The part of the catalogue that the demo's customers buy from."""

    products: Sequence[Document]

    def pick(self, dice: random.Random, count: int) -> dict[int, int]:
        """Return ``count`` different products with a small quantity of each."""
        chosen = dice.sample(list(self.products), min(count, len(self.products)))
        return {int(product["id"]): dice.choice((1, 1, 1, 2, 3)) for product in chosen}


@dataclass
class Customer:
    """One customer: who it is, and everything the shop has ever acknowledged to it in this run."""

    user_id: int
    username: str
    bucket: int
    client: Client
    dice: random.Random
    goods: Goods
    weight: float = 1.0
    orders: dict[int, Document] = field(default_factory=dict)
    """Acknowledged orders by id, oldest first."""
    asked: list[str] = field(default_factory=list)
    """The reference of each order ever asked for; it travels in the order's note."""
    doubtful: set[int] = field(default_factory=set)
    """Orders with a change that was never answered: what they are now is not known here."""
    unanswered: set[str] = field(default_factory=set)
    """References of orders that were asked for and never answered."""
    served: set[str] = field(default_factory=set)
    """Numbers of the orders that the service placed, as its answers said."""

    def act(self) -> None:
        """Do one thing that a customer does."""
        names, weights = zip(*MIX, strict=True)
        self.dice.choices(names, weights)[0](self)

    # -- reading ---------------------------------------------------------------------------------------------

    def browse(self) -> None:
        """Look at a page of the catalogue and at one product."""
        self.client.get("browse", f"/api/products/?page={self.dice.choice((1, 1, 2))}")
        product = self.dice.choice(list(self.goods.products))
        self.client.get("product", f"/api/products/{product['id']}/")

    def list_orders(self) -> None:
        """Read the newest orders, which have to be the acknowledged ones in their order."""
        reply = self.client.get("list", "/api/orders/")
        if reply.status != 200 or reply.stale or self.unanswered or not self.orders:
            return
        newest = list(self.orders.values())[-PAGE:][::-1]
        shown = reply.data["results"][: len(newest)]
        if [order["id"] for order in shown] != [order["id"] for order in newest]:
            self._differ(f"list shows {[o['id'] for o in shown]}, acknowledged {[o['id'] for o in newest]}")
            return
        for document in shown:
            self._compare(document)

    def show_order(self, order_id: int | None = None) -> None:
        """Read one order back."""
        if order_id is None and self.orders:
            order_id = self.dice.choice(list(self.orders))
        if order_id is None:
            return self.list_orders()
        reply = self.client.get("detail", f"/api/orders/{order_id}/")
        if reply.status == 200 and not reply.stale:
            self._compare(reply.data)
        return None

    # -- writing ---------------------------------------------------------------------------------------------

    def order(self) -> None:
        """Order a few things, to be paid later."""
        self._place({}, self.goods.pick(self.dice, self.dice.choice((1, 1, 2, 3))))

    def order_and_pay(self) -> None:
        """Order a few things and pay at once."""
        card = {"payment": {"card": self.dice.choice(GOOD_CARDS)}}
        self._place(card, self.goods.pick(self.dice, self.dice.choice((1, 2))))

    def order_declined(self) -> None:
        """Order with a card that the provider declines."""
        self._place({"payment": {"card": DECLINED_CARD}}, self.goods.pick(self.dice, 1))

    def order_cart(self) -> None:
        """Fill the cart, order it, and see that it is empty."""
        for product_id, quantity in self.goods.pick(self.dice, 2).items():
            self.client.call("cart", "PUT", f"/api/cart/lines/{product_id}/", body={"quantity": quantity})
        cart = self.client.get("cart", "/api/cart/")
        if cart.status != 200:
            return
        wanted = {int(line["product"]): int(line["quantity"]) for line in cart.data["lines"]}
        if self._place({"cart": True}, wanted) == 201:
            left = self.client.get("cart", "/api/cart/")
            if left.status == 200 and left.data["lines"]:
                self._differ(f"the cart of {self.username} still holds {left.data['lines']} after it was ordered")

    def pay(self) -> None:
        """Pay an order that is waiting for it."""
        document = self._one_of("pending", payments=("none", "failed"))
        if document is None:
            return self.order_and_pay()
        card = DECLINED_CARD if self.dice.random() < 0.15 else self.dice.choice(GOOD_CARDS)
        path = f"/api/orders/{document['id']}/pay/"
        reply = self.client.call("pay", "POST", path, body={"card": card}, expect=(200, 402))
        if reply.status == 402:
            document["payment"] = "failed"
        self._changed(document, reply, done=reply.status in (200, 402))
        return None

    def cancel(self) -> None:
        """Cancel an order that has not been shipped."""
        document = self._one_of("pending", "paid")
        if document is None:
            return self.show_order()
        reply = self.client.call("cancel", "POST", f"/api/orders/{document['id']}/cancel/", body={})
        if reply.status == 200 and reply.data["status"] != "cancelled":
            self._differ(f"order {document['id']} is {reply.data['status']} in the answer to its cancellation")
        self._changed(document, reply, done=reply.status == 200)
        return None

    def move(self) -> None:
        """Have an order sent to another address."""
        document = self._one_of("pending", "paid")
        if document is None:
            return self.show_order()
        address = self._new_address()
        reply = self.client.call("address", "PATCH", f"/api/orders/{document['id']}/address/", body=address)
        if reply.status == 200 and reply.data["ship_to"] != address:
            self._differ(f"order {document['id']} ships to {reply.data['ship_to']} after it was sent to {address}")
        self._changed(document, reply, done=reply.status == 200)
        return None

    # -- helpers ---------------------------------------------------------------------------------------------

    def _place(self, extra: dict[str, Any], wanted: dict[int, int]) -> int:
        """Ask for one order under a reference of our own, check the answer, and read it back."""
        reference = f"demo-{self.user_id}-{len(self.asked) + 1}"
        address = self._new_address()
        body: dict[str, Any] = {"address": address, "note": reference, **extra}
        if "cart" not in extra:
            body["lines"] = [{"product": product, "quantity": quantity} for product, quantity in wanted.items()]
        self.asked.append(reference)
        reply = self.client.call("order", "POST", "/api/orders/", body=body, expect=(201, 409))
        if reply.status == 201:
            if reply.headers.get("X-Strangler-Side") == "extracted":
                self.served.add(str(reply.data["number"]))
            self._take_over(reply.data, wanted=wanted, ship_to=address, reference=reference)
            if self.dice.random() < 0.3:
                self.list_orders()
            else:
                self.show_order(int(reply.data["id"]))
        elif reply.code != "out_of_stock":
            self.unanswered.add(reference)
        return reply.status

    def _take_over(
        self, document: Document, *, wanted: dict[int, int], ship_to: dict[str, str], reference: str
    ) -> None:
        """Remember an order as it was acknowledged, and note what about it is not as ordered."""
        for wrong in wrong_in_answer(document, wanted=wanted, ship_to=ship_to, note=reference):
            self._differ(f"order {document['id']} of {self.username}: {wrong}")
        self.orders[int(document["id"])] = document

    def _one_of(self, *statuses: str, payments: Sequence[str] | None = None) -> Document | None:
        """Choose among the acknowledged orders in one of ``statuses`` and, if given, ``payments``."""
        fitting = [
            document
            for order_id, document in self.orders.items()
            if document["status"] in statuses
            and (payments is None or document["payment"] in payments)
            and order_id not in self.doubtful
        ]
        return self.dice.choice(fitting) if fitting else None

    def _changed(self, before: Document, reply: Reply, *, done: bool) -> None:
        """Take over what was acknowledged about an order, or note that nothing was; then read it back."""
        order_id = int(before["id"])
        if not done:
            self.doubtful.add(order_id)
            return
        if reply.status == 200:
            self.orders[order_id] = reply.data
        self.show_order(order_id)

    def _compare(self, seen: Document) -> None:
        """Note every contradiction between ``seen`` and what was acknowledged; remember the settled state."""
        order_id = int(seen["id"])
        if order_id in self.doubtful or order_id not in self.orders:
            return
        found = differences(self.orders[order_id], seen)
        for difference in found:
            self._differ(f"order {order_id} of {self.username}: {difference}")
        if not found:
            self.orders[order_id] = seen

    def _differ(self, what: str) -> None:
        self.client.log.differ(what)

    def _new_address(self) -> dict[str, str]:
        return {
            "name": self.username,
            "street": f"{self.dice.randint(1, 200)} {self.dice.choice(STREETS)}",
            "city": self.dice.choice(CITIES),
            "postcode": f"{self.dice.randint(10000, 99999)}",
            "country": "US",
        }


MIX: Sequence[tuple[Callable[[Customer], None], int]] = (
    (Customer.browse, 13),
    (Customer.list_orders, 22),
    (Customer.show_order, 24),
    (Customer.order, 9),
    (Customer.order_and_pay, 9),
    (Customer.order_declined, 2),
    (Customer.order_cart, 3),
    (Customer.pay, 6),
    (Customer.cancel, 5),
    (Customer.move, 7),
)
"""How often customers do what, out of a hundred."""


class Visitor:
    """Somebody without an account who looks at the shop's pages."""

    def __init__(self, client: Client, dice: random.Random, pages: Sequence[str]) -> None:
        self.client = client
        self.dice = dice
        self.pages = pages
        self.weight = 1.0

    def act(self) -> None:
        """Open one page."""
        self.client.get("visit", self.dice.choice(list(self.pages)))


class Clerk:
    """A member of staff who looks at everybody's orders, in the JSON of the back office and in the admin."""

    def __init__(self, client: Client, dice: random.Random) -> None:
        self.client = client
        self.dice = dice
        self.weight = 1.0

    def act(self) -> None:
        """Look at one list of orders, and at one order of it."""
        if self.dice.random() < 0.3:
            self.client.get("admin", self.dice.choice(("/admin/", "/admin/orders/order/")))
            return
        reply = self.client.get("staff list", f"/api/staff/orders/?page={self.dice.choice((1, 1, 2))}")
        if reply.status == 200 and reply.data["results"]:
            order = self.dice.choice(reply.data["results"])
            self.client.get("staff detail", f"/api/staff/orders/{order['id']}/")
