"""The comparison rules of a route, declared beside it and checked as they are declared."""

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from router.comparing.errors import RuleMistake
from router.comparing.normalisers import Normaliser
from router.comparing.paths import ANY_POSITION, BODY, FieldPath, Steps
from router.comparing.tolerances import Tolerance

UNCOMPARABLE = {
    "authorization": "it is a secret",
    "cookie": "it is a secret",
    "set-cookie": "each answer sets secrets of its own",
    "date": "it is the time of the answer",
    "content-length": "the body itself is compared",
    "content-type": "it is always compared",
    "content-encoding": "bodies are compared as they are before that",
}


class At(NamedTuple):
    """What holds at one place of an answer."""

    ignored: bool
    key: str | None
    """The field by which the elements of this array are paired."""
    unordered: bool
    tolerance: Tolerance | None
    normalise: Normaliser | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """What of two answers may differ, by path; without any, every difference counts.

    A mistake raises ``RuleMistake`` where the rules are declared.
    """

    ignore: Collection[str] = ()
    """Fields that may differ, with everything below them: ``**.request_id``."""
    keyed: Mapping[str, str] = field(default_factory=dict)
    """Arrays whose elements are paired by a field: ``{"results": "id"}``. Their order still counts."""
    unordered: Collection[str] = ()
    """Arrays whose order does not count."""
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    """How far values may lie apart: ``{"results[].total": within("0.01"), "at": within_seconds(2)}``."""
    normalise: Mapping[str, Normaliser] = field(default_factory=dict)
    """What stands for a value while it is compared: ``{"token": TOKENS}``, or a function of your own."""
    headers: Collection[str] = ()
    """Response headers that are compared as well: ``("Cache-Control", "Vary")``."""

    def __post_init__(self) -> None:
        for name in ("ignore", "unordered", "headers"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        for name, wanted in (("keyed", str), ("tolerances", Tolerance), ("normalise", Callable)):
            object.__setattr__(self, name, MappingProxyType(_mapping(name, getattr(self, name), wanted)))
        object.__setattr__(self, "headers", tuple(_header(name) for name in self.headers))
        self._check_paths()
        self._check_contradictions()

    def also_ignoring(self, paths: Iterable[str]) -> "Rules":
        """Return these rules and some ignores besides, which win over what is declared at or below their paths."""
        more = tuple(dict.fromkeys(path for path in paths if path not in self.ignore))
        if not more:
            return self
        found = [_path("ignore", text) for text in more]
        left = {
            name: {path.text for path in self._paths[name] if not any(one.covers(path.steps) for one in found)}
            for name in ("keyed", "unordered", "tolerances", "normalise")
        }
        return replace(
            self,
            ignore=(*self.ignore, *more),
            keyed={path: key for path, key in self.keyed.items() if path in left["keyed"]},
            unordered=[path for path in self.unordered if path in left["unordered"]],
            tolerances={path: one for path, one in self.tolerances.items() if path in left["tolerances"]},
            normalise={path: one for path, one in self.normalise.items() if path in left["normalise"]},
        )

    def at(self, place: Steps) -> At:
        """Return what holds at a place."""
        known = self._known
        place = place or BODY
        found = known.get(place)
        if found is None:
            if len(known) > MAX_KNOWN:
                known.clear()
            found = known[place] = self._find(place)
        return found

    def ignores(self, place: Steps) -> bool:
        """Return whether a place, or one above it, may differ."""
        return self.at(place).ignored

    def describe(self) -> tuple[str, ...]:
        """Return each rule in a few words."""
        return (
            *(f"{path} is ignored" for path in self.ignore),
            *(f"elements of {path} are paired by {key}" for path, key in self.keyed.items()),
            *(f"the order of {path} does not count" for path in self.unordered),
            *(f"{path} may differ {found.describe()}" for path, found in self.tolerances.items()),
            *(f"{path} is normalised by {_named(found)}" for path, found in self.normalise.items()),
            *(f"the header {name} is compared" for name in self.headers),
        )

    def _find(self, place: Steps) -> At:
        return At(
            ignored=any(path.covers(place) for path in self._paths["ignore"]),
            key=next((self.keyed[path.text] for path in self._paths["keyed"] if path.names(place)), None),
            unordered=any(path.names(place) for path in self._paths["unordered"]),
            tolerance=next(
                (self.tolerances[path.text] for path in self._paths["tolerances"] if path.names(place)), None
            ),
            normalise=next((self.normalise[path.text] for path in self._paths["normalise"] if path.names(place)), None),
        )

    @functools.cached_property
    def _known(self) -> dict[Steps, At]:
        return {}

    @functools.cached_property
    def _paths(self) -> Mapping[str, tuple[FieldPath, ...]]:
        return {
            name: tuple(_path(name, text) for text in getattr(self, name))
            for name in ("ignore", "keyed", "unordered", "tolerances", "normalise")
        }

    def _check_paths(self) -> None:
        for name, paths in self._paths.items():
            for path in paths:
                if name in {"keyed", "unordered"} and path.text.endswith(ANY_POSITION):
                    raise RuleMistake(
                        f"{name} names {path.text!r}, the elements of the array. Name the array: "
                        f"{path.text.removesuffix(ANY_POSITION) or '(body)'!r}."
                    )

    def _check_contradictions(self) -> None:
        """Refuse rules of which one takes the other's effect."""
        for name in ("keyed", "unordered", "tolerances", "normalise"):
            for path in self._paths[name]:
                above = next((one for one in self._paths["ignore"] if one.covers(path.steps)), None)
                if above is not None:
                    raise RuleMistake(
                        f"{path.text!r} has a rule in {name}, and {above.text!r} in ignore leaves it out. Take one out."
                    )
        both = sorted(set(self.tolerances) & set(self.normalise))
        if both:
            raise RuleMistake(
                f"{both[0]!r} has a tolerance and a normaliser. Keep the tolerance, or let the normaliser round."
            )


MAX_KNOWN = 4_096
"""Places that rules remember; a document whose names are data has more of them than are worth keeping."""


def _path(name: str, text: str) -> FieldPath:
    try:
        return FieldPath.parse("(body)") if text == "" else FieldPath.parse(text)
    except RuleMistake as mistake:
        raise RuleMistake(f"{name}: {mistake}") from None


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Collection) or isinstance(value, Mapping):
        raise RuleMistake(f"{name} is {value!r}. Use a list of texts.")
    found = tuple(value)
    for item in found:
        if not isinstance(item, str):
            raise RuleMistake(f"{name} holds {item!r}, which is not text.")
        if found.count(item) > 1:
            raise RuleMistake(f"{name} holds {item!r} twice. Keep one.")
    return found


def _mapping(name: str, value: object, wanted: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise RuleMistake(f"{name} is {value!r}. Use a dictionary with paths as its keys.")
    for path, item in value.items():
        if not (callable(item) if wanted is Callable else isinstance(item, wanted)) or item == "":
            kind = {str: "the name of a field", Tolerance: "within(), within_share() or within_seconds()"}
            raise RuleMistake(f"{name}[{path!r}] is {item!r}. Use {kind.get(wanted, 'a function of the value')}.")
    return dict(value)


def _header(name: str) -> str:
    lowered = name.strip().lower()
    if not lowered or set(lowered) & set(' :,"\t\r\n()'):
        raise RuleMistake(f"headers holds {name!r}, which is no name of a header.")
    if lowered in UNCOMPARABLE:
        raise RuleMistake(f"headers holds {name!r}, which is not compared: {UNCOMPARABLE[lowered]}. Take it out.")
    return lowered


def _named(function: Normaliser) -> str:
    return getattr(function, "__qualname__", repr(function))


NO_RULES = Rules()
