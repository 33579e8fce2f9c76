"""What an owner sends, and until when."""

from typing import Any

from migrations_plan.sync.conformance.applying import stranger
from migrations_plan.sync.conformance.outcomes import Check, require
from migrations_plan.sync.conformance.samples import Sample
from migrations_plan.sync.conformance.subject import Subject, member, refused

HELD_SECONDS = 60.0


def again_rises(subject: Subject) -> None:
    """again marks an aggregate with a version above the one given, and changes then answers it as it is."""
    sample = _owned(subject)
    document = _marked(subject, sample, ahead=5)
    for name, wanted in (("bucket", sample.bucket), ("epoch", subject.epoch), ("data", sample.data)):
        require(document.get(name) == wanted, f"the document's {name} is {document.get(name)}, and has to be {wanted}.")
    require(isinstance(document.get("version"), int), f"the document's version is {document.get('version')!r}.")


def again_of_deleted(subject: Subject) -> None:
    """again of an aggregate that is gone answers a document without data."""
    sample = subject.sample
    subject.hold(sample)
    subject.must(subject.document(sample, subject.next_gen(sample), data=None), "applied")
    subject.become("owner")
    document = _marked(subject, sample)
    require("data" in document and document["data"] is None, f"the data is {document.get('data', 'left out')!r}.")


def again_at_replica(subject: Subject) -> None:
    """again at a replica: 409, and nothing is marked."""
    sample = subject.sample
    subject.hold(sample)
    asked = [{"key": sample.key, "gen": subject.next_gen(sample), "bucket": sample.bucket}]
    refused(subject.caller.call("ack", {"again": asked}), 409)
    subject.become("owner")
    require(sample.key not in subject.changes(), "it was refused, and is marked all the same.")


def acked_is_not_sent(subject: Subject) -> None:
    """What was acknowledged is not sent again, and digest knows that it was."""
    sample = _owned(subject)
    gen = _marked(subject, sample)["gen"]
    _ack(subject, sample, gen)
    require(sample.key not in subject.changes(), f"gen {gen} was acknowledged, and is sent again.")
    _must_be_acked(subject, sample, gen)


def acked_never_above(subject: Subject) -> None:
    """An acknowledgement above the version counts as one of the version."""
    sample = _owned(subject)
    gen = _marked(subject, sample)["gen"]
    _ack(subject, sample, gen + 100)
    _must_be_acked(subject, sample, gen)
    _marked(subject, sample)


def acked_as_sent(subject: Subject) -> None:
    """An acknowledgement counts for the version that was sent: what changed since then is sent."""
    sample = _owned(subject)
    sent = _marked(subject, sample)["gen"]
    current = _marked(subject, sample)["gen"]
    _ack(subject, sample, sent)
    _must_be_acked(subject, sample, sent)
    document = subject.changes().get(sample.key)
    require(document is not None, f"gen {sent} was acknowledged, and gen {current} is not sent any more.")


def acked_never_falls(subject: Subject) -> None:
    """An older acknowledgement that comes late changes nothing."""
    sample = _owned(subject)
    older = _marked(subject, sample)["gen"]
    gen = _marked(subject, sample)["gen"]
    _ack(subject, sample, gen)
    _ack(subject, sample, older)
    _must_be_acked(subject, sample, gen)
    require(sample.key not in subject.changes(), "an older acknowledgement has it sent again.")


def held_waits(subject: Subject) -> None:
    """What was held is not sent for its time, and is counted as waiting; a newer version does not wait."""
    sample = _owned(subject)
    gen = _marked(subject, sample)["gen"]
    before = subject.waiting()
    held = {"key": sample.key, "gen": gen, "seconds": HELD_SECONDS, "reason": "a check of the protocol"}
    subject.ask("ack", {"held": [held]})
    require(sample.key not in subject.changes(), f"gen {gen} is held for {HELD_SECONDS:g} s, and is sent.")
    require(subject.waiting() == before, "what is held is not counted as waiting.")
    _marked(subject, sample)


def ack_of_strangers(subject: Subject) -> None:
    """Acknowledging a key that the side has never had does nothing."""
    key = stranger(subject.sample.key)
    subject.ask("ack", {"sent": [{"key": key, "gen": 1}], "held": []})
    found = member(subject.ask("digest", {"keys": [key], "detail": True}), "entries", list)
    require(not found, f"there is an entry of {key!r} now: {found}.")


def replica_sends_nothing(subject: Subject) -> None:
    """What is marked at a replica is not sent."""
    sample = _owned(subject)
    _marked(subject, sample)
    owner, replica = ("owner", subject.epoch), ("replica", subject.epoch)
    require(subject.change(sample.bucket, owner, replica), "the side could not be made a replica.")
    sent = subject.changes()
    subject.become("owner")
    require(sample.key not in sent, "a replica sends what is marked there.")
    require(sample.key in subject.changes(), "the mark is gone, though nobody has settled it.")


def frozen_sends(subject: Subject) -> None:
    """What is marked at a frozen side is sent."""
    sample = _owned(subject)
    _marked(subject, sample)
    subject.become("frozen")
    require(sample.key in subject.changes(), "a frozen side does not send what is marked there.")


def learning_settles(subject: Subject) -> None:
    """A change with settle counts everything that is marked in the bucket as sent."""
    sample = _owned(subject)
    gen = _marked(subject, sample)["gen"]
    subject.become("frozen")
    subject.become("replica")
    subject.become("owner")
    require(sample.key not in subject.changes(), "it is still sent after a change with settle.")
    _must_be_acked(subject, sample, gen)


def limit_kept(subject: Subject) -> None:
    """changes answers no more documents than asked for, and says how many wait."""
    for sample in subject.samples:
        subject.hold(sample)
    subject.become("owner")
    for sample in subject.samples:
        _marked(subject, sample)
    answer = subject.ask("changes", {"limit": 1})
    documents, waiting = member(answer, "documents", list), member(answer, "waiting", int)
    require(len(documents) == 1, f"limit 1 is answered with {len(documents)} documents.")
    require(waiting >= len(subject.samples), f"{len(subject.samples)} are marked, and {waiting} said to wait.")


def _owned(subject: Subject) -> Sample:
    """Have the side own the sample, which is not marked."""
    subject.hold(subject.sample)
    subject.become("owner")
    return subject.sample


def _marked(subject: Subject, sample: Sample, *, ahead: int = 1) -> dict[str, Any]:
    """Have a sample marked again; return the document that is to be sent."""
    above = ((subject.entry(sample) or {}).get("gen") or 0) + ahead
    answer = subject.ask("ack", {"again": [{"key": sample.key, "gen": above, "bucket": sample.bucket}]})
    require(answer.get("again") == 1, f"ack says that {answer.get('again')!r} were marked again, not 1.")
    document = subject.changes().get(sample.key)
    require(document is not None, "it was marked again, and changes does not answer it.")
    assert document is not None
    gen = document.get("gen")
    require(isinstance(gen, int) and gen > above, f"it was to be marked above gen {above}, and has gen {gen}.")
    return document


def _ack(subject: Subject, sample: Sample, gen: int) -> None:
    subject.ask("ack", {"sent": [{"key": sample.key, "gen": gen}], "held": []})


def _must_be_acked(subject: Subject, sample: Sample, gen: int) -> None:
    entry = subject.entry(sample)
    acked = (entry or {}).get("acked")
    require(acked == gen, f"digest has {acked} as acknowledged, and has to have {gen}.")


CHECKS: tuple[Check, ...] = (
    again_rises,
    again_of_deleted,
    again_at_replica,
    acked_is_not_sent,
    acked_never_above,
    acked_as_sent,
    acked_never_falls,
    held_waits,
    ack_of_strangers,
    replica_sends_nothing,
    frozen_sends,
    learning_settles,
    limit_kept,
)
