"""Forms are sent back as they stand on the page, as a browser would."""

from demo.forms import read_page

PAGE = """
<form><input type="hidden" name="csrfmiddlewaretoken" value="secret">
<input name="name" value="orders.reads"><input type="checkbox" name="staff">
<input type="checkbox" name="superusers" checked>
<select name="everyone"><option value="unknown">Unknown</option><option value="true" selected>Yes</option>
<option value="false">No</option></select>
<select name="first"><option value="a">A</option><option value="b">B</option></select>
<select name="groups" multiple><option value="1">Testers</option></select>
<textarea name="note">
Some &amp; text</textarea><input type="submit" name="_save" value="Save"></form>
<a href="/admin/router/flag/3/change/">orders.<b>reads</b></a>
"""


def test_values_are_those_a_browser_would_send() -> None:
    assert read_page(PAGE).values == {
        "csrfmiddlewaretoken": "secret",
        "name": "orders.reads",
        "superusers": "on",
        "everyone": "true",
        "first": "a",
        "note": "Some & text",
    }


def test_choices_and_links_are_found() -> None:
    page = read_page(PAGE)
    assert page.options["everyone"] == [("unknown", "Unknown"), ("true", "Yes"), ("false", "No")]
    assert page.links == [("/admin/router/flag/3/change/", "orders.reads")]
