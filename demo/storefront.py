"""Customers who use the shop's pages: they put things into the cart, fill in forms, and press the buttons.

The pages call the orders service from inside the monolith, through seams, and no header says which side answered. What
these customers have ordered they read back in JSON, so that their orders are held to the same checks as all others.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.customers import PATIENCE, Client, Reply
from demo.documents import FIXED, Document
from demo.forms import Form, FormReader, NoSuchForm, read_page
from demo.records import now
from demo.shopping import DECLINED_CARD, GOOD_CARDS, Customer

ORDER_PAGE = re.compile(r"^/orders/([0-9]+)/$")
PAGE_CARDS = GOOD_CARDS[:2]
"""The good cards among those that the pages offer."""
PAY_LATER = ""
PRESS_AGAIN_SECONDS = 0.5
"""Seconds after which somebody whom the page asked to press again does so."""
PAYMENTS = {False: ("open", "paid"), True: ("open", "failed")}
"""What the payment of an order may be after a good card, and after one that is declined."""


def log_in(client: Client, username: str, password: str) -> None:
    """Begin a session by the form of the log-in page."""
    page = read_page(client.get("login page", "/login/").text)
    form = {**page.form("/login/").values, "username": username, "password": password}
    client.call("login", "POST", "/login/", form=form, expect=(302,))


@dataclass
class PageCustomer(Customer):
    """A customer with a browser, who knows nothing but pages, links and forms."""

    # -- reading ---------------------------------------------------------------------------------------------

    def list_orders(self) -> None:
        """Look at the page of orders, which has to name the newest ones in their order."""
        page = self._page("orders page", "/orders/")
        if page is None or self.unanswered or not self.orders:
            return
        newest = [document["number"] for document in self.orders.values()][-20:][::-1]
        numbers = set(newest)
        shown = list(dict.fromkeys(text for _, text in page.links if text in numbers))
        if shown != newest:
            self._differ(f"the page of orders shows {shown} of {self.username}, acknowledged {newest}")

    def show_order(self, order_id: int | None = None) -> None:
        """Look at the page of an order, and read the order back."""
        if order_id is None and self.orders:
            order_id = self.dice.choice(list(self.orders))
        if order_id is None:
            return self.list_orders()
        page = self._page("order page", f"/orders/{order_id}/")
        known = self.orders.get(order_id)
        if page is not None and known is not None and known["number"] not in page.heading:
            self._differ(f"the page of order {known['number']} of {self.username} is headed {page.heading!r}")
        return super().show_order(order_id)

    # -- writing ---------------------------------------------------------------------------------------------

    def order_cart(self) -> None:
        """Order and pay: every order of the pages is made from the cart."""
        self.order_and_pay()

    def pay(self) -> None:
        """Pay an order that is waiting for it."""
        document = self._one_of("pending", payments=("none", "failed"))
        if document is None:
            return self.order_and_pay()
        card = DECLINED_CARD if self.dice.random() < 0.15 else self.dice.choice(PAGE_CARDS)
        return self._press("pay", document, f"/orders/{document['id']}/pay/", {"card": card})

    def cancel(self) -> None:
        """Cancel an order that has not been shipped."""
        document = self._one_of("pending", "paid")
        if document is None:
            return self.show_order()
        return self._press("cancel", document, f"/orders/{document['id']}/cancel/", {})

    def move(self) -> None:
        """Have an order sent to another address."""
        document = self._one_of("pending", "paid")
        if document is None:
            return self.show_order()
        return self._press("address", document, f"/orders/{document['id']}/address/", self._new_address())

    # -- helpers ---------------------------------------------------------------------------------------------

    def _place(self, extra: dict[str, Any], wanted: dict[int, int]) -> int:
        """Fill the cart, check out under a reference of our own, and read the order back."""
        if not self._fill_cart(wanted):
            return 0
        page = self._page("check-out page", "/checkout/")
        if page is None:
            return 0
        card = extra.get("payment", {}).get("card", PAY_LATER)
        card = card if card in (*PAGE_CARDS, DECLINED_CARD, PAY_LATER) else PAGE_CARDS[0]
        address = self._new_address()
        reference = f"demo-{self.user_id}-{len(self.asked) + 1}"
        changes = {**address, "address": "new", "card": card, "note": reference}
        self.asked.append(reference)
        reply = self._check_out(page, changes)
        order_id = _order_of(reply)
        if order_id is None:
            self.unanswered.add(reference)
            if not self.client.log.owner_is_dead:  # the pieces are reserved, and nobody knows yet what becomes of it
                self._differ(f"check-out of {reference}: {reply.status}, leads to {reply.headers.get('Location')!r}")
            return reply.status
        self._read_new(order_id, wanted=wanted, ship_to=address, reference=reference)
        return reply.status

    def _check_out(self, page: FormReader, changes: Mapping[str, str]) -> Reply:
        """Press the button; where the page comes back and asks for it, again, with the form as it came back."""
        begun = now()
        while True:
            form = {**page.form("/checkout/").values, **changes}
            form.pop("save_address", None)
            reply = self.client.call("checkout", "POST", "/checkout/", form=form, expect=(302, 422))
            if reply.status != 422 or now() - begun > PATIENCE:
                return reply
            time.sleep(PRESS_AGAIN_SECONDS)
            page = read_page(reply.text)

    def _fill_cart(self, wanted: Mapping[int, int]) -> bool:
        """Take out of the cart what is not wanted, put in what is, and tell whether all of that was answered."""
        cart = self.client.get("cart", "/api/cart/")
        if cart.status != 200:
            return False
        there = {int(line["product"]): int(line["quantity"]) for line in cart.data["lines"]}
        steps = [(f"/cart/lines/{product}/", 0) for product in there if product not in wanted]
        for product, quantity in wanted.items():
            path = f"/cart/lines/{product}/" if product in there else f"/cart/add/{product}/"
            steps.append((path, quantity))
        page = self._page("cart page", "/cart/")
        if page is None:
            return False
        token = page.form("/logout/").values  # of each form of every page: against forged requests
        replies = [
            self.client.call("cart", "POST", path, form={**token, "quantity": str(quantity)}, expect=(302,))
            for path, quantity in steps
        ]
        return all(reply.status == 302 for reply in replies)

    def _read_new(self, order_id: int, *, wanted: dict[int, int], ship_to: dict[str, str], reference: str) -> None:
        """Take over an order that was just placed, as its customer reads it."""
        reply = self.client.get("detail", f"/api/orders/{order_id}/")
        if reply.status != 200:
            self.unanswered.add(reference)
            return
        self._take_over(reply.data, wanted=wanted, ship_to=ship_to, reference=reference)
        cart = self.client.get("cart", "/api/cart/")
        if cart.status == 200 and cart.data["lines"]:
            self._differ(f"the cart of {self.username} still holds {cart.data['lines']} after it was ordered")
        self.show_order(order_id)

    def _press(self, action: str, document: Document, path: str, changes: Mapping[str, str]) -> None:
        """Send a form of an order's page; read back what became of the order, and press again if nothing did."""
        order_id, begun = int(document["id"]), now()
        while True:
            wrong = self._press_once(action, document, path, changes)
            if not wrong:
                return
            if now() - begun > PATIENCE:
                self.doubtful.add(order_id)
                self._differ(f"order {order_id} of {self.username}, {action} was pressed: {'; '.join(wrong)}")
                return
            time.sleep(PRESS_AGAIN_SECONDS)

    def _press_once(self, action: str, document: Document, path: str, changes: Mapping[str, str]) -> list[str]:
        """Fill in a form, send it, and return what is not as it should be then."""
        order_id = int(document["id"])
        page = self._page("order page", f"/orders/{order_id}/")
        try:
            form = page.form(path) if page is not None else Form()
        except NoSuchForm as error:
            return [str(error)]
        filled = {name: changes.get(name.rpartition("-")[2], value) for name, value in form.values.items()}
        self.client.call(f"{action} form", "POST", path, form=filled, expect=(302,))
        reply = self.client.get("detail", f"/api/orders/{order_id}/")
        if reply.status != 200:
            return [f"it cannot be read, {reply.status}"]
        wrong = _not_as_due(action, document, changes, reply.data)
        if not wrong:
            self.orders[order_id] = reply.data
        return wrong

    def _page(self, action: str, path: str) -> FormReader | None:
        """Return the page at ``path``; None if there was none, which counts as failed."""
        reply = self.client.get(action, path)
        return read_page(reply.text) if reply.status == 200 else None


def _order_of(reply: Reply) -> int | None:
    """Return the order that the shop leads to after it was placed."""
    found = ORDER_PAGE.match(reply.headers.get("Location", "")) if reply.status == 302 else None
    return int(found[1]) if found else None


def _not_as_due(action: str, before: Document, changes: Mapping[str, str], after: Document) -> list[str]:
    """Return what about an order is not as it should be after a button was pressed."""
    due: Document = {name: before[name] for name in FIXED}
    if action == "cancel":
        due["status"] = "cancelled"
    elif action == "address":
        due["ship_to"] = dict(changes)
    wrong = [f"{name} is {after[name]!r} instead of {value!r}" for name, value in due.items() if after[name] != value]
    if action == "pay" and after["payment"] not in PAYMENTS[changes["card"] == DECLINED_CARD]:
        wrong.append(f"payment is {after['payment']} with {changes['card']}")
    return wrong
