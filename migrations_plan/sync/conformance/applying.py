"""What a replica does with documents: late, twice, out of order, and with some that do not fit."""

import re

from migrations_plan.sync.conformance.outcomes import Check, Skipped, require
from migrations_plan.sync.conformance.subject import FUTURE, Subject

_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
NO_KEY = "no key of this kind"


def applied(subject: Subject) -> None:
    """A document is applied, and is held afterwards in its version."""
    gen = subject.hold(subject.sample)
    subject.must_hold(subject.sample, gen)


def same_version_skipped(subject: Subject) -> None:
    """The same version again is skipped."""
    gen = subject.hold(subject.sample)
    subject.must(subject.document(subject.sample, gen), "skipped")


def older_version_skipped(subject: Subject) -> None:
    """An older version is skipped and changes nothing."""
    sample = subject.sample
    gen = subject.hold(sample)
    subject.must(subject.document(sample, gen - 1, data=None), "skipped")
    subject.must_hold(sample, gen)


def newer_version_applied(subject: Subject) -> None:
    """A newer version is applied, whatever versions are left out in between."""
    subject.hold(subject.sample)
    gen = subject.next_gen(subject.sample, ahead=7)
    subject.must(subject.document(subject.sample, gen), "applied")
    subject.must_hold(subject.sample, gen)


def delete_applied(subject: Subject) -> None:
    """A document without data deletes the aggregate; its version is kept."""
    sample = subject.sample
    subject.hold(sample)
    gen = subject.next_gen(sample)
    subject.must(subject.document(sample, gen, data=None), "applied")
    subject.must_hold(sample, gen, deleted=True)


def delete_of_nothing_applied(subject: Subject) -> None:
    """Deleting what is not there is applied: the version counts."""
    delete_applied(subject)
    gen = subject.next_gen(subject.sample)
    subject.must(subject.document(subject.sample, gen, data=None), "applied")
    subject.must_hold(subject.sample, gen, deleted=True)


def no_resurrection(subject: Subject) -> None:
    """An older document that comes after a delete is skipped: nothing is brought back to life."""
    sample = subject.sample
    subject.hold(sample)
    late, gen = subject.next_gen(sample), subject.next_gen(sample)
    subject.must(subject.document(sample, gen, data=None), "applied")
    subject.must(subject.document(sample, late), "skipped")
    subject.must_hold(sample, gen, deleted=True)


def created_again(subject: Subject) -> None:
    """A newer document that comes after a delete is applied."""
    delete_applied(subject)
    gen = subject.next_gen(subject.sample)
    subject.must(subject.document(subject.sample, gen), "applied")
    subject.must_hold(subject.sample, gen)


def stale_epoch_refused(subject: Subject) -> None:
    """A document of an epoch that is over is refused, however new its version is."""
    sample = subject.sample
    gen = subject.hold(sample)
    newer = subject.next_gen(sample)
    subject.must(subject.document(sample, newer, epoch=subject.epoch - 1, data=None), "refused_epoch")
    subject.must_hold(sample, gen)


def later_epoch_applied(subject: Subject) -> None:
    """A document of a later epoch is applied, and ownership stays what it was."""
    sample = subject.sample
    subject.hold(sample)
    gen = subject.next_gen(sample)
    before = subject.standing(sample.bucket)
    subject.must(subject.document(sample, gen, epoch=subject.epoch + 1), "applied")
    after = subject.standing(sample.bucket)
    require(after == before, f"applying changed the side from {before} to {after}.")


def owner_refuses(subject: Subject) -> None:
    """An owner applies nothing."""
    _refused_as(subject, "owner")


def frozen_refuses(subject: Subject) -> None:
    """A frozen side applies nothing."""
    _refused_as(subject, "frozen")


def future_version_parked(subject: Subject) -> None:
    """A document in a form of the future is parked with a reason; the rest of the batch is applied."""
    _parked_alone(subject, version=FUTURE)


def unknown_field_parked(subject: Subject) -> None:
    """A document with a field that means nothing is parked with a reason; the rest of the batch is applied."""
    _parked_alone(subject, data={**subject.sample.data, "no_such_field": 1})


def missing_field_parked(subject: Subject) -> None:
    """A document that lacks a field is parked with a reason; the rest of the batch is applied."""
    field = min(subject.sample.data)
    _parked_alone(subject, data={name: value for name, value in subject.sample.data.items() if name != field})


def wrong_type_parked(subject: Subject) -> None:
    """A document with an object where a plain value belongs is parked; the rest of the batch is applied."""
    plain = [name for name, value in sorted(subject.sample.data.items()) if not isinstance(value, list | dict)]
    if not plain:
        raise Skipped("the document has no plain value.")
    _parked_alone(subject, data={**subject.sample.data, plain[0]: {"no": "value"}})


def other_key_parked(subject: Subject) -> None:
    """A document under a key of another kind is parked with a reason; the rest of the batch is applied."""
    if not has_kind(subject.sample.key):
        raise Skipped("the keys are texts, and any text is a key.")
    _parked_alone(subject, key=NO_KEY)


def other_bucket_parked(subject: Subject) -> None:
    """A document of bucket 100 is parked with a reason; the rest of the batch is applied."""
    _parked_alone(subject, bucket=100)


def order_in_batch(subject: Subject) -> None:
    """In one batch the newest version wins, whatever the order, and each document has its own result."""
    sample = subject.sample
    subject.hold(sample)
    first, second, third = (subject.next_gen(sample) for _ in range(3))
    newest = subject.document(sample, third, data=None)
    middle, oldest = subject.document(sample, second), subject.document(sample, first)
    outcomes = [str(one.get("outcome")) for one in subject.apply(middle, newest, newest, oldest, middle)]
    wanted = ["applied", "skipped", "skipped", "skipped"]
    require(
        outcomes[0] in {"applied", "skipped"} and outcomes[1:] == wanted,
        f"the outcomes are {outcomes}, and after the first one have to be {wanted}.",
    )
    subject.must_hold(sample, third, deleted=True)


def empty_batch(subject: Subject) -> None:
    """A batch without documents has no results."""
    require(subject.apply() == [], "there are results for no documents.")


def applying_marks_nothing(subject: Subject) -> None:
    """What was applied is not marked to be sent back."""
    for sample in subject.samples:
        subject.hold(sample)
    subject.become("owner")
    sent = subject.changes()
    marked = [sample.key for sample in subject.samples if sample.key in sent]
    require(not marked, f"{marked} were applied, and are to be sent back now.")


def has_kind(key: str) -> bool:
    """Return whether keys like this one are numbers or UUIDs, so that other texts are none."""
    return bool(_INTEGER.fullmatch(key) or _UUID.fullmatch(key))


def stranger(key: str) -> str:
    """Return a key of the same kind that the side has never had."""
    return "00000000-0000-4000-8000-00000000feed" if _UUID.fullmatch(key) else f"{key}0000"


def _refused_as(subject: Subject, state: str) -> None:
    sample = subject.sample
    subject.hold(sample)
    subject.become(state)
    gen = subject.next_gen(sample)
    subject.must(subject.document(sample, gen, data=None), "refused_state")
    subject.must(subject.document(sample, gen, data=None, epoch=subject.epoch + 1), "refused_state")
    subject.become("replica")
    entry = subject.entry(sample)
    require(entry is not None and entry.get("digest") == sample.digest, "it was refused, and is changed all the same.")


def _parked_alone(subject: Subject, **changed: object) -> None:
    """Require that a document changed in this way is parked, and that the one after it is applied."""
    sample, last = subject.sample, subject.samples[-1]
    gen = subject.hold(sample)
    bad = {**subject.document(sample, subject.next_gen(sample)), **changed}
    good = subject.document(last, subject.next_gen(last))
    results = subject.apply(bad, good)
    outcomes = [one.get("outcome") for one in results]
    reasons = [one.get("reason") for one in results]
    require(outcomes == ["parked", "applied"], f"the outcomes are {outcomes}, with the reasons {reasons}.")
    require(bool(reasons[0]), "it is parked without a reason.")
    if last is not sample:
        subject.must_hold(sample, gen)
    subject.must_hold(last, good["gen"])


CHECKS: tuple[Check, ...] = (
    applied,
    same_version_skipped,
    older_version_skipped,
    newer_version_applied,
    delete_applied,
    delete_of_nothing_applied,
    no_resurrection,
    created_again,
    stale_epoch_refused,
    later_epoch_applied,
    owner_refuses,
    frozen_refuses,
    future_version_parked,
    unknown_field_parked,
    missing_field_parked,
    wrong_type_parked,
    other_key_parked,
    other_bucket_parked,
    order_in_batch,
    empty_batch,
    applying_marks_nothing,
)
