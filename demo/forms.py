"""Fill in HTML forms as a browser does: everything as it stands on the page, but for what the person changes."""

from html.parser import HTMLParser


class FormReader(HTMLParser):
    """Collect the values that the forms of a page would send if nobody touched them."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.options: dict[str, list[tuple[str, str]]] = {}
        """The choices of each select, as (value, text)."""
        self.links: list[tuple[str, str]] = []
        """Each link as (address, text)."""
        self._select = ""
        self._multiple = False
        self._textarea = ""
        self._link = ""
        self._option = ""
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Read one element."""
        given = {name: value or "" for name, value in attrs}
        if tag == "input" and given.get("name"):
            self._input(given)
        elif tag == "select":
            self._select = given.get("name", "")
            self._multiple = "multiple" in given
            self.options[self._select] = []
        elif tag == "option" and self._select:
            self._option = given.get("value", "")
            self._text = []
            first = not self.options[self._select] and not self._multiple
            if "selected" in given or first:
                self.values[self._select] = self._option
        elif tag == "textarea":
            self._textarea = given.get("name", "")
            self._text = []
        elif tag == "a":
            self._link = given.get("href", "")
            self._text = []

    def handle_data(self, data: str) -> None:
        """Collect the text of the element that is open."""
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Finish one element."""
        text = "".join(self._text)
        if tag == "select":
            self._select = ""
        elif tag == "option" and self._select:
            self.options[self._select].append((self._option, text.strip()))
        elif tag == "textarea" and self._textarea:
            self.values[self._textarea] = text.removeprefix("\n")
            self._textarea = ""
        elif tag == "a" and self._link:
            self.links.append((self._link, text.strip()))
            self._link = ""

    def _input(self, given: dict[str, str]) -> None:
        kind = given.get("type", "text")
        if kind in {"submit", "button", "file", "image", "reset"}:
            return
        if kind in {"checkbox", "radio"} and "checked" not in given:
            return
        self.values[given["name"]] = given.get("value", "on" if kind == "checkbox" else "")


def read_page(html: str) -> FormReader:
    """Return the form values, choices and links of a page."""
    reader = FormReader()
    reader.feed(html)
    return reader
