"""Who owns the data of a service, bucket by bucket, as the router knows it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

BUCKETS = 100
LEGACY = "legacy"
"""The monolith, where it stands beside the stores of a service: it answers a request, or a copy of one."""

Holder: TypeAlias = Literal["legacy", "extracted", "none"]
"""Who may write a bucket; ``none`` while it is changing hands."""


@dataclass(frozen=True)
class Ownership:
    """The buckets that legacy does not own. What is not mentioned is legacy's."""

    extracted: frozenset[int] = frozenset()
    """Owned by the service."""
    changing: frozenset[int] = frozenset()
    """Owned by nobody for a moment."""
    announced: frozenset[int] = frozenset()
    """About to change hands: whoever reads there asks the database who owns the bucket, since a poll is too seldom."""

    @classmethod
    def of(cls, holders: Mapping[int, Holder], announced: Iterable[int] = ()) -> "Ownership":
        """Return the ownership that these buckets make up."""
        return cls(
            announced=frozenset(announced),
            extracted=frozenset(bucket for bucket, holder in holders.items() if holder == "extracted"),
            changing=frozenset(bucket for bucket, holder in holders.items() if holder == "none"),
        )

    def holder(self, bucket: int) -> Holder:
        """Return who owns a bucket."""
        if bucket in self.extracted:
            return "extracted"
        return "none" if bucket in self.changing else "legacy"

    def unsettled(self, bucket: int) -> bool:
        """Return whether somebody else may own a bucket by now than is known here."""
        return bucket in self.announced or bucket in self.changing

    @cached_property
    def wholly_legacy(self) -> bool:
        """Whether nothing has left legacy, nor is about to, so that ownership plays no part."""
        return not (self.extracted or self.changing or self.announced)

    @cached_property
    def wholly_extracted(self) -> bool:
        """Whether everything has left legacy."""
        return len(self.extracted) == BUCKETS

    @cached_property
    def away(self) -> tuple[int, ...]:
        """The buckets that legacy may not write, in ascending order."""
        return tuple(sorted(self.extracted | self.changing))

    def __str__(self) -> str:
        if self.wholly_legacy:
            return "legacy owns all buckets"
        moved = f"the service owns {len(self.extracted)} of {BUCKETS} buckets"
        moving = len(self.changing | self.announced)
        return f"{moved}, {moving} are changing hands" if moving else moved
