"""The routes of the project, found the way admin.py is, and matched on the path of every request."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.urls.resolvers import RoutePattern
from django.utils.module_loading import autodiscover_modules

from router.routes import Route

_PLACEHOLDER = re.compile(r"<(?:[^>:]+:)?[^>]+>")


@dataclass(frozen=True, slots=True)
class Match:
    """A route that a request belongs to, with what the path says."""

    route: Route
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Candidate:
    order: int
    route: Route
    pattern: RoutePattern


_Candidates: TypeAlias = tuple[_Candidate, ...]


@dataclass(frozen=True, slots=True)
class _Index:
    """The routes of one method, by the literal beginning of their pattern."""

    prefixes: Mapping[str, _Candidates]
    lengths: tuple[int, ...]
    """The lengths of all prefixes, so that a path is cut that many times and looked up."""
    exact: dict[str, Match]
    """What the patterns without an argument match: their own text, and nothing else."""

    @classmethod
    def of(cls, candidates: Iterable[_Candidate]) -> "_Index":
        prefixes: dict[str, list[_Candidate]] = defaultdict(list)
        for candidate in candidates:
            prefixes[literal_prefix(candidate.route.pattern)].append(candidate)
        index = cls(
            prefixes={prefix: tuple(found) for prefix, found in prefixes.items()},
            lengths=tuple(sorted({len(prefix) for prefix in prefixes})),
            exact={},
        )
        literal = {path for path, found in prefixes.items() for one in found if one.route.pattern == path}
        index.exact.update((path, match) for path in literal if (match := index.search(path)) is not None)
        return index

    def match(self, path: str) -> Match | None:
        return self.exact.get(path) or self.search(path)

    def search(self, path: str) -> Match | None:
        """Return the first declared candidate that matches."""
        for candidate in self._candidates(path):
            found = candidate.pattern.match(path[1:])
            if found is not None:
                return Match(candidate.route, found[2])
        return None

    def _candidates(self, path: str) -> _Candidates:
        found: _Candidates = ()
        for length in self.lengths:
            more = self.prefixes.get(path[:length])
            if more is not None:
                found = (*found, *more) if found else more
        return found if len(found) < 2 else tuple(sorted(found, key=lambda candidate: candidate.order))


class Registry:
    """A list of routes with an index that is built on first use."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._routes: tuple[Route, ...] = tuple(routes)
        self._index: Mapping[str, _Index] | None = None

    def register(self, *routes: Route) -> None:
        """Keep the routes; what is wrong with one is reported by the system checks, not here."""
        self._routes += routes
        self._index = None

    @property
    def routes(self) -> tuple[Route, ...]:
        return self._routes

    def match(self, method: str, path: str) -> Match | None:
        """Return the first declared route of this method and path, or None."""
        index = self._index if self._index is not None else self._build()
        of_method = index.get(method)
        return None if of_method is None else of_method.match(path)

    def _build(self) -> Mapping[str, _Index]:
        by_method: dict[str, list[_Candidate]] = defaultdict(list)
        for order, route in enumerate(self._routes):
            if not isinstance(pattern := compile_pattern(route.pattern), str):
                for method in route.methods:
                    by_method[method].append(_Candidate(order, route, pattern))
        self._index = {method: _Index.of(candidates) for method, candidates in by_method.items()}
        return self._index


def compile_pattern(pattern: str) -> RoutePattern | str:
    """Return Django's own pattern, or the sentence that says why there is none."""
    if not pattern.startswith("/"):
        return "It has to begin with a slash."
    if set("<>") & set(example(pattern)):
        return "An angle bracket has no partner."
    try:
        compiled = RoutePattern(pattern[1:], is_endpoint=True)
        compiled.match("")  # converters and regular expression are made on first use
    except (ImproperlyConfigured, re.error) as problem:
        return f"Django says: {problem}"
    return compiled


def literal_prefix(pattern: str) -> str:
    """Return what stands before the first placeholder: all paths of the pattern begin with it."""
    found = _PLACEHOLDER.search(pattern)
    return pattern if found is None else pattern[: found.start()]


def normalised(pattern: str) -> str:
    """Return the pattern without the names of its arguments, so that equal patterns are equal text."""
    return _PLACEHOLDER.sub(lambda found: f"<{found[0][1:-1].rpartition(':')[0] or 'str'}>", pattern)


def example(pattern: str) -> str:
    """Return a path like those of the pattern, to compare a mistyped one with."""
    return _PLACEHOLDER.sub("0", pattern)


_active = Registry()


def register(*routes: Route) -> None:
    """Declare routes, from an app's strangler.py."""
    _active.register(*routes)


def autodiscover() -> None:
    """Import the strangler.py of every installed app."""
    autodiscover_modules("strangler")


def routes() -> tuple[Route, ...]:
    """Return all declared routes, in the order of declaration."""
    return _active.routes


def services() -> tuple[str, ...]:
    """Return the names of all services that have routes, sorted."""
    return tuple(sorted({route.service for route in _active.routes}))


def match(method: str, path: str) -> Match | None:
    """Return the route that a request belongs to, or None: then the router leaves it alone."""
    return _active.match(method, path)


@contextmanager
def replaced(*routes: Route) -> Iterator[None]:
    """Use other routes for a while."""
    global _active
    before, _active = _active, Registry(routes)
    try:
        yield
    finally:
        _active = before
