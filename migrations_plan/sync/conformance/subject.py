"""The side under test: asked in the ways that checks need, brought into a state, and left as it was found."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from migrations_plan.sync.conformance.caller import Caller, Reply
from migrations_plan.sync.conformance.outcomes import Failed, require
from migrations_plan.sync.conformance.samples import Sample

FUTURE = 2_000_000_000
"""A version of a document's form that nobody has yet."""


class Subject:
    """One aggregate of the side under test."""

    def __init__(self, caller: Caller, samples: tuple[Sample, ...], *, max_body: int) -> None:
        self.caller = caller
        self.samples = samples
        self.max_body = max_body
        self.found = {one["bucket"]: one for one in self.buckets()}
        missing = [sample.bucket for sample in samples if sample.bucket not in self.found]
        require(not missing, f"ownership does not say who the side is to bucket {missing[:1]}.")
        self.epoch = max(self.found[sample.bucket]["epoch"] for sample in samples) + 2
        """In which the checks take place; one below is over, and above 0."""
        self._gens: defaultdict[str, int] = defaultdict(int)

    @property
    def sample(self) -> Sample:
        """Return the document that most checks need only one of."""
        return self.samples[0]

    # --- asking -----------------------------------------------------------------------------------------------
    def ask(self, verb: str, body: Any = None) -> Any:
        """Return what a verb answers; anything but 200 with JSON fails the check."""
        reply = self.caller.call(verb, body)
        require(reply.status == 200 and isinstance(reply.body, dict), f"{verb} answered {told(reply)}.")
        return reply.body

    def buckets(self) -> list[dict[str, Any]]:
        """Return who the side is to each bucket."""
        listed: list[dict[str, Any]] = member(self.ask("ownership"), "buckets", list)
        return listed

    def apply(self, *documents: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the results of applying these."""
        results: list[dict[str, Any]] = member(self.ask("apply", {"documents": documents}), "results", list)
        got = [(one.get("key"), one.get("gen")) for one in results]
        sent = [(one["key"], one["gen"]) for one in documents]
        require(got == sent, f"The results are for {got}, and the documents were {sent}.")
        return results

    def entry(self, sample: Sample) -> dict[str, Any] | None:
        """Return what the side says it holds under a sample's key."""
        answer = self.ask("digest", {"keys": [sample.key], "detail": True})
        entries = [one for one in member(answer, "entries", list) if one.get("key") == sample.key]
        require(len(entries) < 2, f"digest has {len(entries)} entries of one key.")
        return entries[0] if entries else None

    def changes(self) -> dict[str, dict[str, Any]]:
        """Return the documents that the side has to send, by key."""
        answer = self.ask("changes", {"limit": 10_000})
        require(isinstance(answer.get("waiting"), int), "changes does not say how many are waiting.")
        return {one["key"]: one for one in member(answer, "documents", list)}

    def waiting(self) -> int:
        """Return how many aggregates are marked, those held back included."""
        count: int = member(self.ask("changes", {"limit": 1}), "waiting", int)
        return count

    # --- documents --------------------------------------------------------------------------------------------
    def next_gen(self, sample: Sample, ahead: int = 1) -> int:
        """Return a version above all that were sent of this aggregate, here or in an earlier run."""
        if sample.key not in self._gens:
            entry = self.entry(sample)
            self._gens[sample.key] = (entry or {}).get("gen") or 0
        self._gens[sample.key] += ahead
        return self._gens[sample.key]

    def document(self, sample: Sample, gen: int, **changed: Any) -> dict[str, Any]:
        """Return a document to be applied."""
        return {
            "key": sample.key,
            "bucket": sample.bucket,
            "epoch": self.epoch,
            "gen": gen,
            "version": sample.version,
            "data": sample.data,
            **changed,
        }

    def hold(self, sample: Sample) -> int:
        """Have the side hold a sample as its replica; return the version."""
        self.become("replica")
        gen = self.next_gen(sample)
        self.must(self.document(sample, gen), "applied")
        return gen

    def must(self, document: Mapping[str, Any], outcome: str) -> dict[str, Any]:
        """Apply one document, with this outcome."""
        (result,) = self.apply(document)
        reason = f": {result['reason']}" if result.get("reason") else ""
        require(
            result.get("outcome") == outcome,
            f"gen {document['gen']} in epoch {document['epoch']} is {result.get('outcome')}, not {outcome}{reason}",
        )
        return result

    def must_hold(self, sample: Sample, gen: int, *, deleted: bool = False) -> None:
        """Require that the side holds this version of a sample."""
        entry = self.entry(sample)
        require(entry is not None, f"digest has no entry of {sample.key!r}.")
        assert entry is not None
        require(entry.get("gen") == gen, f"digest has gen {entry.get('gen')} of {sample.key!r}, not {gen}.")
        wanted = None if deleted else sample.digest
        require(
            entry.get("digest") == wanted,
            f"the digest of {sample.key!r} is {entry.get('digest')!r}, and has to be {wanted!r}.",
        )

    # --- ownership --------------------------------------------------------------------------------------------
    def standing(self, bucket: int) -> tuple[str, int]:
        """Return what the side is to a bucket now."""
        for one in self.buckets():
            if one["bucket"] == bucket:
                return one["state"], one["epoch"]
        raise Failed(f"ownership says nothing of bucket {bucket}.")

    def change(self, bucket: int, old: tuple[str, int], new: tuple[str, int], *, settle: bool = False) -> bool:
        """Ask for a change of ownership; return whether it was done."""
        change = {"bucket": bucket, "from": _standing(old), "to": _standing(new), "settle": settle}
        done: bool = member(self.ask("ownership", {"change": change}), "done", bool)
        return done

    def become(self, state: str) -> None:
        """Have the side be this to the buckets of all samples; nothing is left marked."""
        for bucket in sorted({sample.bucket for sample in self.samples}):
            now = self.standing(bucket)
            if now != (state, self.epoch):
                done = self.change(bucket, now, (state, self.epoch), settle=state == "replica")
                require(done, f"ownership did not change bucket {bucket} from {now} to {state}.")

    def leave(self) -> None:
        """Delete what was applied, and be again to every bucket what the side was before."""
        self.become("replica")
        for sample in self.samples:
            self.must(self.document(sample, self.next_gen(sample), data=None), "applied")
        self.restore()

    def restore(self) -> None:
        """Give every bucket of the samples back the state and the epoch that it was found in."""
        for bucket in sorted({sample.bucket for sample in self.samples}):
            was, now = self.found[bucket], self.standing(bucket)
            before = (was["state"], was["epoch"])
            if now != before and not self.change(bucket, now, before):
                raise Failed(f"Bucket {bucket} could not be given back {before}: it is {self.standing(bucket)}.")


def member(answer: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    """Return a member of an answer that has to be there and of this kind."""
    value = answer.get(name)
    require(isinstance(value, kind), f"the answer has {value!r} as {name!r}, which is no {kind.__name__}.")
    return value


def told(reply: Reply) -> str:
    """Return an answer as reports show it."""
    return f"{reply.status} {str(reply.body)[:300]}"


def refused(reply: Reply, status: int, mentions: str = "") -> None:
    """Require an error answer of this status, in the form that errors have."""
    require(reply.status == status, f"answered {told(reply)}, and has to answer {status}.")
    body = reply.body
    formed = isinstance(body, dict) and isinstance(body.get("code"), str) and isinstance(body.get("detail"), str)
    require(formed, f'answered {told(reply)}: an error is {{"code": ..., "detail": ...}}.')
    require(mentions in body["detail"], f"the reason does not name {mentions!r}: {body['detail'][:300]}")


def _standing(given: tuple[str, int]) -> dict[str, Any]:
    return {"state": given[0], "epoch": given[1]}
