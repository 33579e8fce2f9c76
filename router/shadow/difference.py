"""What one side answered, and one place in which two answers differ."""

import json
import re
from dataclasses import dataclass
from typing import Any

from router.comparing.paths import ANY_POSITION, Steps, is_plain, spelled

INDEX = re.compile(r'\[(?:\d+|[^\]\["]*=(?:"(?:[^"\\]|\\.)*"|[^\]"]*))\]')
MAX_KEY = 60
"""Characters of an element's key that a path shows."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one side answered."""

    status: int
    content_type: str
    body: bytes
    encoding: str = ""
    """How the body is compressed for its way, empty if it is not."""
    headers: tuple[tuple[str, str], ...] = ()
    """Name and value of each response header, as far as they were kept."""

    def header(self, name: str) -> tuple[str, ...]:
        """Return every value of a header."""
        return tuple(value for known, value in self.headers if known.lower() == name)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One place in which two answers differ."""

    path: str
    """``results[0].total``; ``(status)``, ``(content type)`` and ``(body)`` for what is not a JSON field."""
    kind: str
    """``value``, ``type``, ``missing`` (legacy alone has it), ``extra`` (the service alone), ``length``, ``order``."""
    legacy: Any = None
    extracted: Any = None
    field: str = ""
    """The path without positions, as rules write it. Differences are added up under it."""

    def __post_init__(self) -> None:
        if not self.field:
            object.__setattr__(self, "field", INDEX.sub("[]", self.path))


class Place:
    """Where a comparison is in a document: the steps that rules know, and how people are told."""

    __slots__ = ("shown", "steps")

    def __init__(self, steps: Steps = (), shown: str = "") -> None:
        self.steps = steps
        self.shown = shown

    def name(self, name: str) -> "Place":
        """Return the place of a name in an object."""
        if is_plain(name):
            return Place((*self.steps, name), f"{self.shown}.{name}" if self.shown else name)
        return Place((*self.steps, name), f"{self.shown}[{json.dumps(name)}]")

    def position(self, position: int) -> "Place":
        """Return the place of an element of an array."""
        return Place((*self.steps, ANY_POSITION), f"{self.shown}[{position}]")

    def keyed(self, key: str, value: Any) -> "Place":
        """Return the place of an element that has a key of its own."""
        told = json.dumps(value if isinstance(value, bool | int) else str(value))
        told = told if len(told) <= MAX_KEY else f'"{str(value)[:MAX_KEY]}…"'.replace("\\", "")
        return Place((*self.steps, ANY_POSITION), f"{self.shown}[{key}={told}]")

    def differs(self, kind: str, legacy: Any = None, extracted: Any = None) -> Difference:
        """Return a difference at this place."""
        return Difference(
            path=self.shown or "(body)", kind=kind, legacy=legacy, extracted=extracted, field=spelled(self.steps)
        )
