"""Compare two answers by the rules of their route; pure, so that it can be asked about anything."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from router.comparing.rules import NO_RULES, Rules
from router.shadow.difference import Answer, Difference, Place
from router.shadow.html import compare_pages
from router.shadow.values import compare_values, parse

__all__ = ["MAX_DIFFERENCES", "Answer", "Difference", "bounded", "compare", "compare_values", "every_difference"]

MAX_DIFFERENCES = 50
"""More differences than this say nothing new."""
PER_FIELD = 20
"""Places of one field that are told."""
MOST = 20_000
"""Places that are looked at."""
JSON_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json")
HTML_TYPE = re.compile(r"text/html|application/xhtml\+xml")
CHARSET = re.compile(r"charset=\"?([a-z0-9_.:-]+)")
WORD_LISTS = frozenset(
    {"allow", "cache-control", "vary", "access-control-allow-headers", "access-control-allow-methods"}
)
"""Headers that are a set of words, in any order and case."""


def compare(legacy: Answer, extracted: Answer, rules: Rules = NO_RULES) -> tuple[Difference, ...]:
    """Return where the answers differ by the rules, at most ``MAX_DIFFERENCES`` places; nothing if they agree."""
    return bounded(every_difference(legacy, extracted, rules))


def every_difference(legacy: Answer, extracted: Answer, rules: Rules = NO_RULES) -> tuple[Difference, ...]:
    """Return all places in which the answers differ, as many as anybody could make sense of."""
    return tuple(islice(_differences(legacy, extracted, rules), MOST))


def bounded(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    """Return what is worth telling: a few places of each field, so that one that differs everywhere hides no other."""
    told: Counter[str] = Counter()
    found = []
    for difference in differences:
        told[difference.field] += 1
        if told[difference.field] <= PER_FIELD:
            found.append(difference)
    return tuple(found[:MAX_DIFFERENCES])


def _differences(legacy: Answer, extracted: Answer, rules: Rules) -> Iterator[Difference]:
    status, content_type = Place(("(status)",), "(status)"), Place(("(content type)",), "(content type)")
    if legacy.status != extracted.status and not rules.ignores(status.steps):
        yield status.differs("value", legacy.status, extracted.status)
    types = _media_type(legacy.content_type), _media_type(extracted.content_type)
    if types[0] != types[1] and not rules.ignores(content_type.steps):
        yield content_type.differs("value", *types)
    for name in rules.headers:
        yield from _header(name, legacy, extracted)
    if legacy.body != extracted.body:
        yield from _bodies(legacy, extracted, types, rules)


def _header(name: str, legacy: Answer, extracted: Answer) -> Iterator[Difference]:
    left, right = legacy.header(name), extracted.header(name)
    if name in WORD_LISTS:
        left, right = _words(left), _words(right)
    if left != right:
        place = Place((f"(header {name})",), f"(header {name})")
        kind = "value" if left and right else "extra" if right else "missing"
        yield place.differs(kind, ", ".join(left) if left else None, ", ".join(right) if right else None)


def _words(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({word.strip().lower() for value in values for word in value.split(",")}))


def _bodies(legacy: Answer, extracted: Answer, types: tuple[str, str], rules: Rules) -> Iterator[Difference]:
    if all(JSON_TYPE.match(media) for media in types):
        try:
            documents = parse(legacy.body), parse(extracted.body)
        except ValueError:
            yield from _as_bytes(legacy, extracted, rules)
        else:
            yield from compare_values(*documents, rules)
    elif all(HTML_TYPE.match(media) for media in types):
        try:
            pages = [
                answer.body.decode(_charset(media)) for answer, media in zip((legacy, extracted), types, strict=True)
            ]
        except (LookupError, UnicodeDecodeError):
            yield from _as_bytes(legacy, extracted, rules)
        else:
            yield from compare_pages(pages[0], pages[1], rules)
    else:
        yield from _as_bytes(legacy, extracted, rules)


def _as_bytes(legacy: Answer, extracted: Answer, rules: Rules) -> Iterator[Difference]:
    if not rules.ignores(()):
        yield Difference(path="(body)", kind="value", legacy=legacy.body, extracted=extracted.body)


def _charset(media: str) -> str:
    found = CHARSET.search(media)
    return found[1] if found else "utf-8"


def _media_type(content_type: str) -> str:
    return content_type.replace(" ", "").lower()
