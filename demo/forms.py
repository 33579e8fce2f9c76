"""Fill in HTML forms as a browser does: everything as it stands on the page, but for what the person changes."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


class NoSuchForm(Exception):
    """The page has no form like the one a person would look for."""


@dataclass
class Form:
    """One form of a page, with the values it would send if nobody touched it."""

    action: str = ""
    """Where it is sent to; empty means the page's own address."""
    method: str = "get"
    values: dict[str, str] = field(default_factory=dict)
    """What would be sent, hidden fields included: the page's own business, whatever they are for."""
    options: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """The choices of each select, as (value, text)."""


class FormReader(HTMLParser):
    """Collect the forms of a page, and its links, headings and notices."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        """Each link as (address, text)."""
        self.heading = ""
        """The text of the first h1."""
        self._form = Form()
        self._select = ""
        self._multiple = False
        self._textarea = ""
        self._link = ""
        self._option = ""
        self._text: list[str] = []

    def form(self, path: str, *, method: str = "post") -> Form:
        """Return the form that is sent to ``path``, or else to the page's own address; raise NoSuchForm."""
        for action in (path, ""):
            for form in self.forms:
                if (form.action, form.method) == (action, method):
                    return form
        there = ", ".join(f"{form.method} {form.action or '(here)'}" for form in self.forms)
        raise NoSuchForm(f"No form of the page is sent to {path} by {method}, only these: {there}.")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Read one element."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(action=given.get("action", ""), method=given.get("method", "get").lower())
            self.forms.append(self._form)
        elif tag == "input" and given.get("name"):
            self._input(given)
        elif tag == "select":
            self._select = given.get("name", "")
            self._multiple = "multiple" in given
            self._form.options[self._select] = []
        elif tag == "option" and self._select:
            self._option = given.get("value", "")
            self._text = []
            first = not self._form.options[self._select] and not self._multiple
            if "selected" in given or first:
                self._form.values[self._select] = self._option
        elif tag == "textarea":
            self._textarea = given.get("name", "")
            self._text = []
        elif tag == "a":
            self._link = given.get("href", "")
            self._text = []
        elif tag == "h1":
            self._text = []

    def handle_data(self, data: str) -> None:
        """Collect the text of the element that is open."""
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Finish one element."""
        text = "".join(self._text)
        if tag == "form":
            self._form = Form()  # what stands outside of every form is sent with none
        elif tag == "select":
            self._select = ""
        elif tag == "option" and self._select:
            self._form.options[self._select].append((self._option, text.strip()))
        elif tag == "textarea" and self._textarea:
            self._form.values[self._textarea] = text.removeprefix("\n")
            self._textarea = ""
        elif tag == "a" and self._link:
            self.links.append((self._link, text.strip()))
            self._link = ""
        elif tag == "h1" and not self.heading:
            self.heading = text.strip()

    def _input(self, given: dict[str, str]) -> None:
        kind = given.get("type", "text")
        if kind in {"submit", "button", "file", "image", "reset"}:
            return
        if kind in {"checkbox", "radio"} and "checked" not in given:
            return
        self._form.values[given["name"]] = given.get("value", "on" if kind == "checkbox" else "")


def read_page(html: str) -> FormReader:
    """Return the forms, links and the heading of a page."""
    reader = FormReader()
    reader.feed(html)
    return reader
