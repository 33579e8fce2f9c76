"""Paths of fields: how rules name places in an answer, and how a place in an answer is called."""

import functools
import json
import re
from dataclasses import dataclass

from router.comparing.errors import RuleMistake

Steps = tuple[str, ...]
"""The names on the way to a place; ``[]`` stands for any position of an array."""

ANY_POSITION = "[]"
ANY_NAME = "*"
ANY_WAY = "**"
BODY = ("(body)",)
"""The body as a whole: what a rule calls it, and where it differs as a whole."""
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TOKEN = re.compile(
    r"""(?P<position>\[\])
    | \[(?P<quoted>"(?:[^"\\]|\\.)*")\]
    | (?P<way>\*\*) | (?P<any>\*)
    | (?P<special>\([a-z][a-zA-Z0-9 _-]*\))
    | (?P<name>@?[A-Za-z_][A-Za-z0-9_:-]*)""",
    re.VERBOSE,
)
EXAMPLES = 'results[].total, *.etag, **.request_id, ["a name with dots.or spaces"], (header etag), html.body.p.(text)'


@dataclass(frozen=True)
class FieldPath:
    """A rule's path: ``results[].total`` with ``[]`` for any position, ``*`` for any name, ``**`` for any way."""

    text: str
    steps: Steps

    @classmethod
    def parse(cls, text: object) -> "FieldPath":
        """Read a path; raise RuleMistake for one that names no place."""
        if not isinstance(text, str) or not text:
            raise RuleMistake(f"{text!r} is no path of a field. Write it like one of these: {EXAMPLES}.")
        steps: list[str] = []
        at = 0
        while at < len(text):
            if text[at] == "." and steps and at + 1 < len(text):
                at += 1
                if text[at] == "[":
                    raise _mistake(text, at)
            elif steps and text[at] != "[":
                raise _mistake(text, at)
            found = _TOKEN.match(text, at)
            if found is None:
                raise _mistake(text, at)
            steps.append(json.loads(found["quoted"]) if found["quoted"] else found[0])
            at = found.end()
        return cls(text=text, steps=tuple(steps))

    def covers(self, place: Steps) -> bool:
        """Return whether a place is this field, or lies below it."""
        if self.steps == BODY:
            return not place or not place[0].startswith("(") or place == BODY
        return _covers(self.steps, place, whole=False)

    def names(self, place: Steps) -> bool:
        """Return whether a place is this field itself."""
        return _covers(self.steps, place, whole=True)


def _mistake(text: str, at: int) -> RuleMistake:
    hint = ""
    if re.match(r"\[\d+\]", text[at:]):
        hint = " One position cannot be named; [] stands for all of them."
    return RuleMistake(
        f"{text!r} is no path of a field: {text[at:]!r} cannot be read.{hint} Write it like one of these: {EXAMPLES}."
    )


def _covers(pattern: Steps, place: Steps, *, whole: bool) -> bool:
    if not pattern:
        return not whole or not place
    first, rest = pattern[0], pattern[1:]
    if first == ANY_WAY:
        return any(_covers(rest, place[skipped:], whole=whole) for skipped in range(len(place) + 1))
    if not place:
        return False
    if first == place[0] or (first == ANY_NAME and place[0] != ANY_POSITION):
        return _covers(rest, place[1:], whole=whole)
    return False


@functools.lru_cache(maxsize=4096)
def spelled(steps: Steps) -> str:
    """Return a place as text, the way rules name it: ``results[].total``; the answer's root is ``(body)``."""
    text = ""
    for step in steps:
        if step == ANY_POSITION:
            text += step
        elif is_plain(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text or "(body)"


def is_plain(step: str) -> bool:
    """Return whether a name needs no quotes."""
    found = _TOKEN.fullmatch(step)
    return found is not None and found.lastgroup in {"name", "special"}
