"""Run every check, whatever the others found, and leave the side as it was."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from migrations_plan.sync.conformance import access, applying, comparing, owning, rehearsing, sending
from migrations_plan.sync.conformance.caller import Caller
from migrations_plan.sync.conformance.outcomes import Check, Failed, Finding, Skipped, Verdict
from migrations_plan.sync.conformance.samples import Sample
from migrations_plan.sync.conformance.subject import Subject

CHECKS: tuple[Check, ...] = (
    *access.CHECKS,
    *owning.CHECKS,
    *rehearsing.CHECKS,
    *applying.CHECKS,
    *comparing.CHECKS,
    *sending.CHECKS,
)


def run(
    caller: Caller, samples: tuple[Sample, ...], *, max_body: int, checks: Sequence[Check] = CHECKS
) -> Iterator[Finding]:
    """Yield what each check found; raise Failed where the side cannot be asked at all or be left as it was."""
    with _restored(Subject(caller, samples, max_body=max_body)) as subject:
        for check in checks:
            yield _finding(check, subject)


def name_of(check: Check) -> str:
    """Return how reports call a check."""
    return check.__name__.replace("_", " ")


@contextmanager
def _restored(subject: Subject) -> Iterator[Subject]:
    """Give ownership back at the end, even where the samples cannot be deleted."""
    try:
        yield subject
        subject.leave()
    finally:
        subject.restore()


def _finding(check: Check, subject: Subject) -> Finding:
    name, rule = name_of(check), (check.__doc__ or "").strip()
    try:
        check(subject)
    except Failed as failed:
        return Finding(check=name, rule=rule, verdict=Verdict.FAILED, reason=str(failed))
    except Skipped as skipped:
        return Finding(check=name, rule=rule, verdict=Verdict.SKIPPED, reason=str(skipped))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"an answer is of a form that cannot be read: {type(error).__name__}: {error}"
        return Finding(check=name, rule=rule, verdict=Verdict.FAILED, reason=reason)
    return Finding(check=name, rule=rule, verdict=Verdict.PASSED)
