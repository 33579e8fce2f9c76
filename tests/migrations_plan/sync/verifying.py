"""Compare both sides at once, and mend what differs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User

from migrations_plan.sync import verify
from migrations_plan.sync.buckets import bucket
from migrations_plan.sync.messages import Digest, Side
from migrations_plan.sync.models import Finding, Verification
from migrations_plan.sync.relay import relay
from migrations_plan.sync.sides import Direction
from tests.migrations_plan.sync.houses import (
    LEGACY,
    customer,
)


def no_wait(seconds: float) -> None:
    """Ask again at once."""


def verified(way: Direction, wait: Callable[[float], None] = no_wait) -> Verification:
    """Compare everything, from the beginning."""
    return verify.run(LEGACY, way.source, way.target, anew=True, wait=wait)


def found(verification: Verification) -> dict[str, str]:
    return dict(Finding.objects.filter(verification=verification).values_list("key", "kind"))


def mend(way: Direction, verification: Verification) -> int:
    """Repair, and let the relay work in both directions."""
    done = verify.repair(LEGACY, list(verify.unrepaired(verification)), way.source, way.target)
    relay(LEGACY, way)
    relay(LEGACY, Direction(source=way.target, target=way.source))
    return done


def clean(verification: Verification) -> bool:
    return verify.progress_of(verification).clean


def customers_of_three_buckets() -> list[User]:
    by_bucket: dict[int, User] = {}
    while len(by_bucket) < 3:
        made = customer()
        by_bucket.setdefault(bucket("orders", made.pk), made)
    return list(by_bucket.values())


@dataclass
class Interrupted:
    """A side, after whose answer in detail something happens, once."""

    side: Side
    then: list[Callable[[], None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.side.name

    def digest(self, *arguments: Any, **named: Any) -> Digest:
        answer = self.side.digest(*arguments, **named)
        if named["detail"] and self.then:
            self.then.pop()()
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.side, name)
