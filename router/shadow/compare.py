"""Compare two answers field by field; pure, so that it can be asked about anything."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

MAX_DIFFERENCES = 50
"""More differences than this say nothing new."""
INDEX = re.compile(r"\[\d+\]")
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
CSRF_FIELD = re.compile(rb"""(name=["']csrfmiddlewaretoken["']\s+value=["'])[A-Za-z0-9]+""")
"""Django masks the token anew each time it is drawn, so that no two renderings of a form are alike."""
JSON_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one side answered."""

    status: int
    content_type: str
    body: bytes
    encoding: str = ""
    """How the body is compressed for its way, empty if it is not."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One place in which two answers differ."""

    path: str
    """``results[0].total``; ``(status)``, ``(content type)`` and ``(body)`` for what is not a JSON field."""
    kind: str
    """``value``, ``type``, ``missing`` (legacy alone has it), ``extra`` (the service alone has it), ``length``."""
    legacy: Any = None
    extracted: Any = None

    @property
    def field(self) -> str:
        """Return the path without positions, under which differences are added up."""
        return INDEX.sub("[]", self.path)


def compare(legacy: Answer, extracted: Answer, ignore: Sequence[str] = ()) -> tuple[Difference, ...]:
    """Return where the answers differ, at most ``MAX_DIFFERENCES`` places; nothing if they say the same.

    ``ignore`` names fields by path, with ``[]`` for any position and ``*`` for any name: ``results[].placed_at``,
    ``*.etag``. Everything below an ignored field is ignored as well.
    """
    ignored = [_pattern(text) for text in ignore]
    found = (
        difference
        for difference in _differences(legacy, extracted)
        if not any(pattern.match(difference.field) for pattern in ignored)
    )
    return tuple(islice(found, MAX_DIFFERENCES))


def _differences(legacy: Answer, extracted: Answer) -> Iterator[Difference]:
    if legacy.status != extracted.status:
        yield Difference(path="(status)", kind="value", legacy=legacy.status, extracted=extracted.status)
    types = _media_type(legacy.content_type), _media_type(extracted.content_type)
    if types[0] != types[1]:
        yield Difference(path="(content type)", kind="value", legacy=types[0], extracted=types[1])
    if legacy.body == extracted.body:
        return
    if all(JSON_TYPE.match(media) for media in types):
        try:
            documents = _parse(legacy.body), _parse(extracted.body)
        except ValueError:
            yield _bodies(legacy.body, extracted.body)
        else:
            yield from compare_values(*documents)
    elif _unmasked(legacy) != _unmasked(extracted):
        yield _bodies(legacy.body, extracted.body)


def compare_values(legacy: Any, extracted: Any, path: str = "") -> Iterator[Difference]:
    """Yield where two JSON values differ; ``1``, ``true``, ``"1"`` and ``1.0`` are four different things."""
    if type(legacy) is not type(extracted):
        yield Difference(path=path or "(body)", kind="type", legacy=legacy, extracted=extracted)
    elif isinstance(legacy, dict):
        yield from _compare_objects(legacy, extracted, path)
    elif isinstance(legacy, list):
        for position, (left, right) in enumerate(zip(legacy, extracted, strict=False)):
            yield from compare_values(left, right, f"{path}[{position}]")
        if len(legacy) != len(extracted):
            yield Difference(path=path or "(body)", kind="length", legacy=len(legacy), extracted=len(extracted))
    elif legacy != extracted:
        yield Difference(path=path or "(body)", kind="value", legacy=legacy, extracted=extracted)


def _compare_objects(legacy: dict[str, Any], extracted: dict[str, Any], path: str) -> Iterator[Difference]:
    for name, value in legacy.items():
        place = _join(path, name)
        if name in extracted:
            yield from compare_values(value, extracted[name], place)
        else:
            yield Difference(path=place, kind="missing", legacy=value)
    for name, value in extracted.items():
        if name not in legacy:
            yield Difference(path=_join(path, name), kind="extra", extracted=value)


def _join(path: str, name: str) -> str:
    if PLAIN_NAME.fullmatch(name) is None:
        return f"{path}[{json.dumps(name)}]"
    return f"{path}.{name}" if path else name


def _parse(body: bytes) -> Any:
    return json.loads(body, parse_float=Decimal)


def _unmasked(answer: Answer) -> bytes:
    """Return the body without the CSRF tokens of its forms, if it is HTML."""
    return CSRF_FIELD.sub(rb"\1", answer.body) if answer.content_type.startswith("text/html") else answer.body


def _bodies(legacy: bytes, extracted: bytes) -> Difference:
    return Difference(path="(body)", kind="value", legacy=legacy, extracted=extracted)


def _media_type(content_type: str) -> str:
    return content_type.replace(" ", "").lower()


def _pattern(text: str) -> re.Pattern[str]:
    spelled = re.escape(text).replace(r"\*", r"[^.\[\]]+")
    return re.compile(rf"{spelled}(?=$|[.\[])")
