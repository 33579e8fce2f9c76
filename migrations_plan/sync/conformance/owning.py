"""Who the side is to each bucket, and how that changes."""

from migrations_plan.sync.conformance.outcomes import Check, require
from migrations_plan.sync.conformance.subject import Subject, member, refused

STATES = {"owner", "frozen", "replica"}


def ownership_of_every_bucket(subject: Subject) -> None:
    """ownership answers state and epoch of each bucket from 0 to 99, in order."""
    buckets = subject.buckets()
    numbers = [one.get("bucket") for one in buckets]
    require(numbers == list(range(100)), f"the buckets are {numbers[:5]}... ({len(numbers)} in all).")
    for one in buckets:
        whole = isinstance(one.get("epoch"), int) and one["epoch"] >= 1 and isinstance(one.get("backfilled"), bool)
        require(whole and one.get("state") in STATES, f"a bucket is told as {one}.")


def change_from_wrong_epoch(subject: Subject) -> None:
    """A change from an epoch that the side is not in is not done."""
    subject.become("replica")
    _not_done(subject, ("replica", subject.epoch - 1), ("owner", subject.epoch + 1))


def change_from_wrong_state(subject: Subject) -> None:
    """A change from a state that the side is not in is not done."""
    subject.become("replica")
    _not_done(subject, ("frozen", subject.epoch), ("owner", subject.epoch + 1))


def change_and_back(subject: Subject) -> None:
    """A change from what the side is, is done, once; and so is the one back."""
    subject.become("replica")
    bucket, epoch = subject.sample.bucket, subject.epoch
    old, new = ("replica", epoch), ("owner", epoch + 1)
    require(subject.change(bucket, old, new), "the change was not done.")
    try:
        require(subject.standing(bucket) == new, f"afterwards the side is {subject.standing(bucket)}, not {new}.")
        require(not subject.change(bucket, old, new), "the same change was done twice.")
    finally:
        subject.change(bucket, new, old)
    require(
        subject.standing(bucket) == old, f"after the change back the side is {subject.standing(bucket)}, not {old}."
    )


def look_into_a_bucket(subject: Subject) -> None:
    """A look tells state, epoch, what is marked and what is under way in the buckets asked for, and in no others."""
    bucket = subject.sample.bucket
    answer = subject.ask("ownership", {"look": [bucket]})
    looked = member(answer, "looked", list)
    require(len(looked) == 1, f"asked for bucket {bucket}, it looked into {looked}.")
    found = looked[0]
    standing = (found.get("state"), found.get("epoch"))
    require(found.get("bucket") == bucket and standing == subject.standing(bucket), f"the look tells {found}.")
    counts = all(isinstance(found.get(name), int) and found[name] >= 0 for name in ("waiting", "intents"))
    require(counts, f"the look does not count what is marked and under way: {found}.")


def fit_to_own(subject: Subject) -> None:
    """The side says what keeps it from owning, and where the ids of its new rows come from."""
    found = subject.ask("ownership", {"fitness": True})
    found = member(found, "fitness", dict)
    require(found.get("problems") == [], f"something keeps it from owning: {found.get('problems')}.")
    for one in found.get("mints", ()):
        whole = isinstance(one.get("part"), str) and isinstance(one.get("first"), int)
        require(whole and isinstance(one.get("next"), int) and one["next"] >= one["first"], f"it mints {one}.")


def change_of_no_bucket(subject: Subject) -> None:
    """A change of bucket 100: 400."""
    change = {
        "bucket": 100,
        "from": {"state": "replica", "epoch": 1},
        "to": {"state": "owner", "epoch": 2},
    }
    refused(subject.caller.call("ownership", {"change": change}), 400, mentions="bucket")


def _not_done(subject: Subject, old: tuple[str, int], new: tuple[str, int]) -> None:
    bucket = subject.sample.bucket
    before = subject.standing(bucket)
    done = subject.change(bucket, old, new)
    after = subject.standing(bucket)
    require(not done, f"from {old} it was done, and the side was {before}.")
    require(after == before, f"it was not done, and the side is {after} instead of {before}.")


CHECKS: tuple[Check, ...] = (
    ownership_of_every_bucket,
    change_from_wrong_epoch,
    change_from_wrong_state,
    change_and_back,
    look_into_a_bucket,
    fit_to_own,
    change_of_no_bucket,
)
