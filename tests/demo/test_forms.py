"""Forms are sent back as they stand on the page, as a browser would."""

import pytest

from demo.forms import NoSuchForm, read_page

PAGE = """
<form action="/products/"><input type="search" name="q" value=""></form>
<form method="post" action="/logout/"><input type="hidden" name="csrfmiddlewaretoken" value="other"></form>
<h1>Change <em>flag</em></h1>
<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="secret">
<input type="hidden" name="whatever-the-page-wants-back" value="7f3a">
<input name="name" value="orders.reads"><input type="checkbox" name="staff">
<input type="checkbox" name="superusers" checked>
<input type="radio" name="card" value="visa"><input type="radio" name="card" value="amex" checked>
<select name="everyone"><option value="unknown">Unknown</option><option value="true" selected>Yes</option>
<option value="false">No</option></select>
<select name="first"><option value="a">A</option><option value="b">B</option></select>
<select name="groups" multiple><option value="1">Testers</option></select>
<textarea name="note">
Some &amp; text</textarea><input type="submit" name="_save" value="Save"></form>
<form method="post" action="/orders/7/cancel/"><input type="hidden" name="token" value="of the cancellation"></form>
<form method="post" action="/orders/7/pay/"><input type="hidden" name="token" value="of the payment"></form>
<input name="outside" value="of every form">
<a href="/admin/router/flag/3/change/">orders.<b>reads</b></a>
"""


def test_values_are_those_a_browser_would_send() -> None:
    assert read_page(PAGE).form("/admin/router/flag/3/change/").values == {
        "csrfmiddlewaretoken": "secret",
        "whatever-the-page-wants-back": "7f3a",
        "name": "orders.reads",
        "superusers": "on",
        "card": "amex",
        "everyone": "true",
        "first": "a",
        "note": "Some & text",
    }


@pytest.mark.parametrize(
    ("path", "token"), [("/orders/7/cancel/", "of the cancellation"), ("/orders/7/pay/", "of the payment")]
)
def test_each_form_keeps_its_hidden_fields_to_itself(path: str, token: str) -> None:
    assert read_page(PAGE).form(path).values == {"token": token}


def test_form_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(
        NoSuchForm, match=r"sent to /orders/8/cancel/ by get, only these: get /products/, post /logout/"
    ):
        read_page(PAGE).form("/orders/8/cancel/", method="get")


def test_choices_links_and_heading_are_found() -> None:
    page = read_page(PAGE)
    assert page.form("").options["everyone"] == [("unknown", "Unknown"), ("true", "Yes"), ("false", "No")]
    assert page.links == [("/admin/router/flag/3/change/", "orders.reads")]
    assert page.heading == "Change flag"
