"""Compare two pages by their structure: tags, attributes and text; not by how their markup is written."""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import zip_longest
from typing import TypeVar

from router.comparing.rules import Rules
from router.shadow.difference import Difference, Place

VOID = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()  # noqa: SIM905 (one line of words)
)
"""Elements without an end."""
AS_WRITTEN = frozenset({"pre", "textarea", "script", "style"})
"""Elements whose white space means something."""
NAMED = frozenset({"input", "select", "textarea", "button", "meta", "form"})
"""Elements that are told by their name; what is stored of their values depends on it."""
WORD_LISTS = frozenset({"class", "rel"})
"""Attributes that are a set of words."""
MASKED = "(masked)"
MOST_ALIGNED = 200
"""Children that differ and are aligned; of more than these each is compared with the one at its place."""
_SPACE = re.compile(r"\s+")

T = TypeVar("T")


@dataclass(eq=False)
class Node:
    """An element with its children, which are nodes and texts."""

    tag: str
    attributes: dict[str, str]
    children: list["Node | str"] = field(default_factory=list)

    @property
    def signature(self) -> str:
        """Return what an element is recognised by among its siblings."""
        return f"{self.tag}#{self.attributes.get('id', '')}#{self.attributes.get('name', '')}"

    @property
    def label(self) -> str:
        """Return how people are told which of several elements this is, empty if nothing says so."""
        kind = self.attributes.get("type", "")
        name = self.attributes.get("name", "")
        told = [f"type={json.dumps(kind)}"] if kind == "password" else []
        told += [f"name={json.dumps(name[:60])}"] if name else []
        return f"[{' '.join(told)}]" if told and self.tag in NAMED else ""


def compare_pages(legacy: str, extracted: str, rules: Rules) -> Iterator[Difference]:
    """Yield where two pages differ. CSRF tokens and nonces are drawn anew for each answer and are no difference."""
    yield from _children(parse(legacy), parse(extracted), rules, Place())


def parse(text: str) -> Node:
    """Return a page as a tree; markup that is wrong becomes the same wrong tree each time."""
    parser = _Tree()
    parser.feed(text)
    parser.close()
    return parser.root


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node(tag="", attributes={})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag=tag, attributes=_attributes(tag, attrs))
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Node(tag=tag, attributes=_attributes(tag, attrs)))

    def handle_endtag(self, tag: str) -> None:
        for depth in range(len(self._open) - 1, 0, -1):
            if self._open[depth].tag == tag:
                del self._open[depth:]
                return

    def handle_data(self, data: str) -> None:
        if self._open[-1].tag not in AS_WRITTEN:
            data = _SPACE.sub(" ", data).strip()
        if data:
            self._add_text(data)

    def handle_decl(self, decl: str) -> None:
        self._add_text(f"<!{_SPACE.sub(' ', decl).lower()}>")

    def _add_text(self, text: str) -> None:
        children = self._open[-1].children
        if children and isinstance(children[-1], str):
            children[-1] = f"{children[-1]} {text}"
        else:
            children.append(text)


def _attributes(tag: str, attrs: list[tuple[str, str | None]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in attrs:
        found.setdefault(name, "" if value is None else value)
    for name in WORD_LISTS & set(found):
        found[name] = " ".join(sorted(set(found[name].split())))
    if "nonce" in found:
        found["nonce"] = MASKED
    if tag == "input" and found.get("name") == "csrfmiddlewaretoken" and found.get("value"):
        found["value"] = MASKED
    if tag == "meta" and found.get("name", "").lower().replace("_", "-") == "csrf-token" and found.get("content"):
        found["content"] = MASKED
    return found


def _children(legacy: Node, extracted: Node, rules: Rules, at: Place) -> Iterator[Difference]:
    texts = _texts(legacy), _texts(extracted)
    if texts[0] != texts[1]:
        place = at.name("(text)")
        for left, right in _aligned(*texts):
            if left != right and not rules.ignores(place.steps):
                yield from _text(left, right, rules, place)
    elements = _elements(legacy), _elements(extracted)
    for first, second in _aligned(*elements, by=lambda node: node.signature):
        yield from _element(first, second, rules, at, elements[0] if first is not None else elements[1])


def _text(left: str | None, right: str | None, rules: Rules, at: Place) -> Iterator[Difference]:
    if left is None or right is None:
        yield at.differs("extra" if left is None else "missing", left, right)
        return
    normalise = rules.at(at.steps).normalise
    if normalise is None or normalise(left) != normalise(right):
        yield at.differs("value", left, right)


def _element(
    legacy: Node | None, extracted: Node | None, rules: Rules, at: Place, siblings: Sequence[Node]
) -> Iterator[Difference]:
    node = legacy or extracted
    if node is None:
        return
    place = _place(at, node, siblings)
    if rules.ignores(place.steps):
        return
    if legacy is None or extracted is None:
        yield place.differs(*("extra", None, _told(node)) if legacy is None else ("missing", _told(node), None))
        return
    if legacy.tag != extracted.tag:
        yield place.differs("value", _told(legacy), _told(extracted))
        return
    for name in sorted({*legacy.attributes, *extracted.attributes}):
        yield from _attribute(
            legacy.attributes.get(name), extracted.attributes.get(name), rules, place.name(f"@{name}")
        )
    yield from _children(legacy, extracted, rules, place)


def _attribute(left: str | None, right: str | None, rules: Rules, at: Place) -> Iterator[Difference]:
    if left != right and not rules.ignores(at.steps):
        yield from _text(left, right, rules, at)


def _place(at: Place, node: Node, siblings: Sequence[Node]) -> Place:
    alike = [one for one in siblings if one.tag == node.tag]
    nth = next(position for position, one in enumerate(alike) if one is node)
    place = at.name(node.tag)
    return Place(place.steps, f"{place.shown}{node.label or (f'[{nth}]' if nth else '')}")


def _told(node: Node) -> str:
    identity = node.attributes.get("id")
    return f"<{node.tag}{f' id={json.dumps(identity)}' if identity else ''}>"


def _texts(node: Node) -> list[str]:
    return [child for child in node.children if isinstance(child, str)]


def _elements(node: Node) -> list[Node]:
    return [child for child in node.children if isinstance(child, Node)]


def _aligned(
    left: Sequence[T], right: Sequence[T], by: Callable[[T], object] = lambda item: item
) -> Iterator[tuple[T | None, T | None]]:
    """Yield the children that belong together; what only one side has is alone."""
    names = [by(item) for item in left], [by(item) for item in right]
    if names[0] == names[1] or max(len(left), len(right)) > MOST_ALIGNED:
        yield from zip_longest(left, right)
        return
    matcher = difflib.SequenceMatcher(None, *names, autojunk=False)
    for _, low, high, other_low, other_high in matcher.get_opcodes():
        yield from zip_longest(left[low:high], right[other_low:other_high])
