"""Steer from tests: context managers, which are decorators as well.

Overrides add up. What the database says does not count while one is in force.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from router import registry, snapshot
from router.holders import Ownership
from router.limits import CHANNELS, flag_name
from router.routes import Route
from router.snapshot import Envelope, FlagRule, Snapshot


@contextmanager
def override_snapshot(replacement: Snapshot) -> Iterator[Snapshot]:
    """Let this process decide by another snapshot; the database is not asked."""
    with snapshot.overridden(replacement) as active:
        yield active


@contextmanager
def override_envelope(
    service: str,
    *,
    reads: int = 0,
    writes: int = 0,
    shadow: int = 0,
    store: str = "shared",
    shadow_store: str = "",
    step: str = "test",
) -> Iterator[Snapshot]:
    """Let one service have this envelope, on top of the other overrides in force."""
    envelope = Envelope(step=step, reads=reads, writes=writes, shadow=shadow, store=store, shadow_store=shadow_store)
    base = _base()
    with override_snapshot(replace(base, envelopes={**base.envelopes, service: envelope})) as active:
        yield active


@contextmanager
def override_ownership(
    service: str, *, extracted: Iterable[int] = (), changing: Iterable[int] = (), announced: Iterable[int] = ()
) -> Iterator[Snapshot]:
    """Let the service own these buckets, and nobody those, on top of the other overrides in force; legacy the rest.

    Those that are ``announced`` are about to change hands, whoever owns them.
    """
    ownership = Ownership(extracted=frozenset(extracted), changing=frozenset(changing), announced=frozenset(announced))
    base = _base()
    with override_snapshot(replace(base, ownership={**base.ownership, service: ownership})) as active:
        yield active


@contextmanager
def override_flag(
    name: str,
    *,
    everyone: bool | None = None,
    percent: int | None = None,
    users: frozenset[str] | set[str] | tuple[str, ...] = (),
    superusers: bool = False,
    staff: bool = False,
    authenticated: bool = False,
) -> Iterator[Snapshot]:
    """Let one flag be set so, on top of the other overrides in force."""
    service, _, channel = name.rpartition(".")
    if channel not in CHANNELS:
        expected = ", ".join(flag_name(service or "orders", known) for known in CHANNELS)
        raise ValueError(f"{name!r} steers nothing. A flag is named like {expected}.")
    rule = FlagRule(
        name=name,
        everyone=everyone,
        percent=percent,
        users=frozenset(map(str, users)),
        superusers=superusers,
        staff=staff,
        authenticated=authenticated,
    )
    base = _base()
    with override_snapshot(replace(base, flags={**base.flags, name: rule})) as active:
        yield active


@contextmanager
def override_killed(*switches: str) -> Iterator[Snapshot]:
    """Let kill switches be on, on top of the other overrides in force."""
    base = _base()
    with override_snapshot(replace(base, killed=base.killed | frozenset(switches))) as active:
        yield active


@contextmanager
def override_routes(*routes: Route) -> Iterator[None]:
    """Let other routes be declared than those of the project."""
    with registry.replaced(*routes):
        yield


@contextmanager
def forget_snapshot() -> Iterator[None]:
    """Let this process have read nothing yet; what a test reads with ``poller.refresh()`` is gone afterwards."""
    with snapshot.forgotten():
        yield


def _base() -> Snapshot:
    """Return the overrides in force, and nothing else: no test depends on what another one has read."""
    return snapshot.innermost_override() or Snapshot()
