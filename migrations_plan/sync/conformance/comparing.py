"""What a side says it holds: digests byte by byte, sums, and ranges of keys."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from migrations_plan.sync.conformance.applying import NO_KEY, has_kind, stranger
from migrations_plan.sync.conformance.outcomes import Check, Skipped, require
from migrations_plan.sync.conformance.subject import Subject, member, refused


def digest_of_every_sample(subject: Subject) -> None:
    """The digest of each document is the documented one, over its canonical bytes, and stands beside its version."""
    for sample in subject.samples:
        gen = subject.hold(sample)
        subject.must_hold(sample, gen)
        bucket = (subject.entry(sample) or {}).get("bucket")
        require(bucket == sample.bucket, f"{sample.key!r} is said to be in bucket {bucket}, not {sample.bucket}.")


def digest_of_unknown_key(subject: Subject) -> None:
    """A key that the side has never had has no entry."""
    answer = subject.ask("digest", {"keys": [stranger(subject.sample.key)], "detail": True})
    require(answer.get("entries") == [], f"there are entries: {answer.get('entries')}.")
    require(answer.get("count") == 0, f"the count is {answer.get('count')!r}, not 0.")


def digest_of_no_key(subject: Subject) -> None:
    """A key of another kind: 400, naming it."""
    if not has_kind(subject.sample.key):
        raise Skipped("the keys are texts, and any text is a key.")
    refused(subject.caller.call("digest", {"keys": [NO_KEY], "detail": True}), 400, mentions=NO_KEY)
    refused(subject.caller.call("digest", {"after": NO_KEY}), 400, mentions=NO_KEY)


def sum_of_entries(subject: Subject) -> None:
    """The sum is the documented one, over key, version and digest of every entry; the count is theirs."""
    for sample in subject.samples:
        subject.hold(sample)
    gone = subject.samples[-1]
    subject.must(subject.document(gone, subject.next_gen(gone), data=None), "applied")
    keys = [sample.key for sample in subject.samples]
    answer = subject.ask("digest", {"keys": keys, "detail": True})
    entries = member(answer, "entries", list)
    require(len(entries) == len(keys), f"{len(keys)} keys have {len(entries)} entries.")
    require(answer.get("count") == len(entries), f"the count is {answer.get('count')!r}, not {len(entries)}.")
    require(
        answer.get("sum") == sum_of(entries), f"the sum is {answer.get('sum')!r}, and has to be {sum_of(entries)!r}."
    )


def sum_without_entries(subject: Subject) -> None:
    """Without detail there are no entries, and sum and count are the same."""
    subject.hold(subject.sample)
    long = subject.ask("digest", {"detail": True})
    short = subject.ask("digest", {"detail": False})
    require(short.get("entries") is None, "there are entries that nobody asked for.")
    got, wanted = [(one.get("count"), one.get("sum")) for one in (short, long)]
    require(got == wanted, f"count and sum are {got} without detail, and {wanted} with it.")


def range_of_keys(subject: Subject) -> None:
    """A range holds what is above its lower end, up to and including its upper end."""
    key = subject.sample.key
    subject.hold(subject.sample)
    for boundary, within in (
        ({}, True),
        ({"until": key}, True),
        ({"after": key}, False),
        ({"after": key, "until": key}, False),
        ({"after": None, "until": None}, True),
    ):
        entries = member(subject.ask("digest", {**boundary, "detail": True}), "entries", list)
        found = key in [one.get("key") for one in entries]
        require(found == within, f"{key!r} is {'not ' if within else ''}in the range {boundary}.")


def ranges_cover_all(subject: Subject) -> None:
    """With cut, digest answers ranges that follow each other and are open at both ends."""
    for sample in subject.samples:
        subject.hold(sample)
    ranges = member(subject.ask("digest", {"cut": 1}), "boundaries", list)
    ends = [(one.get("after"), one.get("until")) for one in ranges]
    require(bool(ends) and ends[0][0] is None and ends[-1][1] is None, f"the outer ends are not open: {ends[:3]}...")
    joined = all(before[1] is not None and before[1] == after[0] for before, after in pairwise(ends))
    require(joined, f"the ranges do not follow each other: {ends[:3]}...")
    require(
        len(ends) >= len(subject.samples), f"{len(subject.samples)} keys are cut into {len(ends)} ranges of about 1."
    )


def digest_says_who_owns(subject: Subject) -> None:
    """digest says who the side is to each bucket, as ownership does."""
    subject.become("owner")
    try:
        answer = subject.ask("digest", {"keys": [subject.sample.key]})
        require(answer.get("buckets") == subject.buckets(), "the buckets are not those that ownership answers.")
    finally:
        subject.become("replica")


def versions_of_both_kinds(subject: Subject) -> None:
    """An owner answers the versions of its marks, a replica those that were applied."""
    sample = subject.sample
    applied = subject.hold(sample)
    subject.become("owner")
    again = {"key": sample.key, "gen": applied + 50, "bucket": sample.bucket}
    subject.ask("ack", {"again": [again]})
    owned = (subject.entry(sample) or {}).get("gen")
    require(
        isinstance(owned, int) and owned > applied + 50, f"the owner answers gen {owned}, not above {applied + 50}."
    )
    subject.become("replica")
    subject.must_hold(sample, applied)


def sum_of(entries: Sequence[dict[str, Any]]) -> str:
    """Return the sum as the protocol defines it."""
    lines = []
    for one in entries:
        gen = "" if one.get("gen") is None else one["gen"]
        lines.append(f"{one['key']}|{gen}|{one.get('digest') or ''}\n".encode())
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()[:32]


CHECKS: tuple[Check, ...] = (
    digest_of_every_sample,
    digest_of_unknown_key,
    digest_of_no_key,
    sum_of_entries,
    sum_without_entries,
    range_of_keys,
    ranges_cover_all,
    digest_says_who_owns,
    versions_of_both_kinds,
)
