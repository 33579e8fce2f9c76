"""What can become of a check."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrations_plan.sync.conformance.subject import Subject


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "pass"
    FAILED = "FAIL"
    SKIPPED = "skip"


class Failed(Exception):
    """The side does not do what the protocol says."""


class Skipped(Exception):
    """The check means nothing for these documents."""


Check = Callable[["Subject"], None]
"""Its name is the function's, its rule the docstring."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How one check ended, and why."""

    check: str
    rule: str
    verdict: Verdict
    reason: str = ""


def require(condition: bool, reason: str) -> None:
    """Fail the check for this reason unless the condition holds."""
    if not condition:
        raise Failed(reason)
