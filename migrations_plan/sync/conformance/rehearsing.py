"""Documents go the way back before anything depends on it, and leave nothing behind."""

from migrations_plan.sync.conformance.outcomes import Check, require
from migrations_plan.sync.conformance.subject import Subject, member


def documents_by_key(subject: Subject) -> None:
    """Asked for keys, changes answers their documents although nothing is marked and a replica is asked."""
    sample = subject.sample
    subject.hold(sample)
    found = member(subject.ask("changes", {"keys": [sample.key]}), "documents", list)
    require([one.get("key") for one in found] == [sample.key], f"asked for {sample.key}, it answered {found}.")
    require(found[0].get("data") == sample.data, f"the document is {found[0].get('data')}, not {sample.data}.")


def rehearsal_leaves_nothing(subject: Subject) -> None:
    """A rehearsed document would be applied, and leaves neither rows nor a version."""
    sample = subject.sample
    gen = subject.hold(sample)
    before = subject.entry(sample)
    document = subject.document(sample, gen + 1)
    answer = subject.ask("apply", {"documents": [document], "rehearsal": True})
    outcomes = [one.get("outcome") for one in member(answer, "results", list)]
    require(outcomes == ["applied"], f"rehearsed, it was {outcomes}: {answer}.")
    require(subject.entry(sample) == before, f"afterwards the side holds {subject.entry(sample)}, not {before}.")


def rehearsal_at_the_owner(subject: Subject) -> None:
    """A rehearsal is held at the owner: that is whom documents will come back to."""
    sample = subject.sample
    gen = subject.hold(sample)
    document = subject.document(sample, gen + 1)
    subject.become("owner")
    answer = subject.ask("apply", {"documents": [document], "rehearsal": True})
    outcomes = [one.get("outcome") for one in member(answer, "results", list)]
    require(outcomes == ["applied"], f"rehearsed at the owner, it was {outcomes}: {answer}.")


def rehearsal_of_what_does_not_fit(subject: Subject) -> None:
    """A document that could not be applied is parked in a rehearsal, with the reason."""
    sample = subject.sample
    gen = subject.hold(sample)
    document = subject.document(sample, gen + 1, data={**sample.data, "no_such_field": 1})
    answer = subject.ask("apply", {"documents": [document], "rehearsal": True})
    (result,) = member(answer, "results", list)
    require(result.get("outcome") == "parked" and result.get("reason"), f"rehearsed, it was {result}.")


CHECKS: tuple[Check, ...] = (
    documents_by_key,
    rehearsal_leaves_nothing,
    rehearsal_at_the_owner,
    rehearsal_of_what_does_not_fit,
)
