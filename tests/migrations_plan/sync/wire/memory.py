"""A side in memory that keeps the protocol, but for the rules that a test takes out."""

import hashlib
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from migrations_plan.sync.errors import NotTheOwner, UnknownAggregate, Unloadable
from migrations_plan.sync.messages import (
    Again,
    Boundary,
    BucketLook,
    BucketState,
    Change,
    Changes,
    Digest,
    Document,
    Entry,
    Fitness,
    Held,
    Outcome,
    Result,
    Sent,
    State,
)

FIELDS = {"name", "amount"}


@dataclass(frozen=True, kw_only=True)
class Mark:
    bucket: int
    gen: int = 1
    acked: int = 0
    held: int = 0
    """The version that is not to be sent for now."""


class MemorySide:
    """Holds things of two fields under whole numbers; ``without`` names the rules that are taken out."""

    def __init__(self, name: str = "extracted", *, without: Iterable[str] = ()) -> None:
        self.name = name
        self.without = frozenset(without)
        self.rows: dict[str, dict[str, Any]] = {}
        self.buckets: dict[str, int] = {}
        self.marks: dict[str, Mark] = {}
        self.applied: dict[str, int] = {}
        self.gone: set[str] = set()
        self.owns = dict.fromkeys(range(100), (State.REPLICA, 1))
        self._lock = threading.RLock()

    def kept(self, rule: str) -> bool:
        """Return whether a rule is kept."""
        return rule not in self.without

    # --- the five verbs ---------------------------------------------------------------------------------------
    def changes(self, aggregate: str, limit: int, buckets: tuple[int, ...] = ()) -> Changes:
        self._known(aggregate)
        sending = {State.OWNER, State.FROZEN} if self.kept("frozen sends") else {State.OWNER}
        if not self.kept("a replica sends nothing"):
            sending.add(State.REPLICA)
        marked = {key: mark for key, mark in self.marks.items() if mark.gen > mark.acked}
        due = [key for key, mark in marked.items() if self.owns[mark.bucket][0] in sending and mark.held != mark.gen]
        due = [key for key in due if not buckets or marked[key].bucket in buckets]
        due = due[:limit] if self.kept("limit") else due
        waiting = len(marked) if self.kept("waiting counts what is held") else len(due)
        return Changes(documents=tuple(self._document(key) for key in due), waiting=waiting)

    def apply(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        self._known(aggregate)
        with self._lock:
            results = [self._apply(document) for document in documents]
        return tuple(results if self.kept("results in order") else reversed(results))

    def ack(self, aggregate: str, sent: tuple[Sent, ...], held: tuple[Held, ...]) -> None:
        self._known(aggregate)
        for one in sent:
            if one.key in self.marks:
                self._ack(one)
            elif not self.kept("strangers stay strangers"):
                self.marks[one.key] = Mark(bucket=0)
        for late in held:
            mark = self.marks.get(late.key)
            if mark is not None and mark.gen == late.gen and self.kept("held waits"):
                self.marks[late.key] = replace(mark, held=late.gen)

    def digest(self, aggregate: str, boundary: Boundary, *, detail: bool, keys: tuple[str, ...] = ()) -> Digest:
        self._known(aggregate)
        entries = sorted(self._entries(boundary, keys), key=lambda entry: int(entry.key))
        lines = sorted(f"{one.key}|{one.gen or ''}|{one.digest or ''}\n" for one in entries)
        if not self.kept("documented sum"):
            lines = [line.strip() for line in lines]
        total = hashlib.sha256("".join(lines).encode()).hexdigest()[:32]
        buckets = self.ownership(aggregate) if self.kept("digests tell who owns") else ()
        count = len(entries) if detail or self.kept("counted without detail") else 0
        return Digest(count=count, sum=total, buckets=buckets, entries=tuple(entries) if detail else None)

    def ownership(self, aggregate: str) -> tuple[BucketState, ...]:
        self._known(aggregate)
        told = [BucketState(bucket=n, state=state, epoch=epoch) for n, (state, epoch) in sorted(self.owns.items())]
        return tuple(told if self.kept("every bucket told") else told[:-1])

    def boundaries(self, aggregate: str, size: int) -> tuple[Boundary, ...]:
        self._known(aggregate)
        cuts: list[str | None] = [*sorted(self.rows, key=int)[size - 1 :: size]]
        ranges = [Boundary(after=a, until=b) for a, b in zip([None, *cuts], [*cuts, None], strict=True)]
        return tuple(ranges if self.kept("open ends") else ranges[:-1])

    def repair(self, aggregate: str, keys: tuple[Again, ...]) -> int:
        self._known(aggregate)
        for one in keys:
            bucket = self.buckets.get(one.key, one.bucket)
            if self.owns[bucket][0] is State.REPLICA and self.kept("again not at a replica"):
                raise NotTheOwner(f"Bucket {bucket} is a replica here.")
            mark = self.marks.get(one.key, Mark(bucket=bucket, gen=0))
            above = one.gen if self.kept("again rises above") else 0
            self.marks[one.key] = replace(mark, gen=max(mark.gen, above) + 1)
        return len(keys)

    def change(self, aggregate: str, change: Change) -> bool:
        self._known(aggregate)
        now, old = self.owns[change.bucket], (change.old.state, change.old.epoch)
        compared = (now[0], old[1]) if not self.kept("epoch compared") else now
        compared = (old[0], compared[1]) if not self.kept("state compared") else compared
        if compared != old:
            return False
        self.owns[change.bucket] = (change.new.state, change.new.epoch)
        if change.settle and self.kept("learning settles"):
            for key, mark in self.marks.items():
                if mark.bucket == change.bucket:
                    self.marks[key] = replace(mark, acked=mark.gen)
        return True

    def look(self, aggregate: str, buckets: tuple[int, ...]) -> tuple[BucketLook, ...]:
        self._known(aggregate)
        wanted = buckets if self.kept("looks where it is asked to") else range(100)
        return tuple(
            BucketLook(bucket=n, state=self.owns[n][0], epoch=self.owns[n][1], waiting=self._waiting(n), intents=0)
            for n in wanted
        )

    def _waiting(self, bucket: int) -> int:
        return sum(mark.bucket == bucket and mark.gen > mark.acked for mark in self.marks.values())

    def fitness(self, aggregate: str) -> Fitness:
        self._known(aggregate)
        return Fitness(problems=() if self.kept("fit to own") else ("A trigger is missing.",))

    def documents(self, aggregate: str, keys: tuple[str, ...]) -> tuple[Document, ...]:
        self._known(aggregate)
        if not self.kept("documents by key"):
            return ()
        return tuple(self._document(key) for key in keys if key in self.rows)

    def rehearse(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        self._known(aggregate)
        return tuple(self._rehearse(document) for document in documents)

    def _rehearse(self, document: Document) -> Result:
        outcome, reason = self._fits(document) if self.kept("rehearsals are judged") else (Outcome.APPLIED, "")
        if self.owns[document.bucket][0] is State.OWNER and not self.kept("rehearsed at the owner"):
            outcome, reason = Outcome.REFUSED_STATE, "It is the owner."
        if not self.kept("rehearsals leave nothing"):
            self._write(document)
        return Result(key=document.key, gen=document.gen, outcome=outcome, reason=reason)

    # --- inside -----------------------------------------------------------------------------------------------
    def _known(self, aggregate: str) -> None:
        if aggregate != "things":
            raise UnknownAggregate(aggregate, ("things",))

    def _apply(self, document: Document) -> Result:
        outcome, reason = self._judged(document)
        if outcome is Outcome.APPLIED:
            self._write(document)
        return Result(key=document.key, gen=document.gen, outcome=outcome, reason=reason)

    def _judged(self, document: Document) -> tuple[Outcome, str]:
        if not 0 <= document.bucket < 100 and self.kept("buckets judged"):
            return Outcome.PARKED, "There is no such bucket."
        state, epoch = self.owns[document.bucket % 100]
        if state is State.OWNER and self.kept("owner refuses"):
            return Outcome.REFUSED_STATE, "It is the owner."
        if state is State.FROZEN and self.kept("frozen refuses"):
            return Outcome.REFUSED_STATE, "It is frozen."
        if document.epoch < epoch and self.kept("stale epoch refused"):
            return Outcome.REFUSED_EPOCH, "That epoch is over."
        if document.gen <= self.applied.get(document.key, 0) and self.kept("skip unless newer"):
            return Outcome.SKIPPED, ""
        return self._fits(document)

    def _fits(self, document: Document) -> tuple[Outcome, str]:
        if not document.key.isdecimal() and self.kept("keys judged"):
            return Outcome.PARKED, "The key is no number."
        if document.gen > self.applied.get(document.key, 0) + 1 and not self.kept("gaps do not matter"):
            return Outcome.PARKED, "Something is missing in between."
        if document.key in self.gone and document.data is not None and not self.kept("what is gone may return"):
            return Outcome.SKIPPED, ""
        if document.version > 1 and self.kept("future parked"):
            return Outcome.PARKED, "The version is of the future."
        data = document.data
        if data is not None and self.kept("misfits parked"):
            if set(data) != FIELDS:
                return Outcome.PARKED, "The fields are not those that there are."
            if any(isinstance(value, dict) for value in data.values()):
                return Outcome.PARKED, "A field holds an object."
        return Outcome.APPLIED, ""

    def _write(self, document: Document) -> None:
        self.buckets[document.key] = document.bucket
        if document.data is not None or document.key in self.rows or self.kept("deleting nothing counts"):
            self.applied[document.key] = document.gen
        if document.data is None:
            self.gone.add(document.key)
            self.rows.pop(document.key, None)
            if not self.kept("versions outlive deletes"):
                del self.applied[document.key]
        else:
            self.rows[document.key] = document.data
        if not self.kept("applying marks nothing"):
            mark = self.marks.get(document.key, Mark(bucket=document.bucket, gen=0))
            self.marks[document.key] = replace(mark, gen=mark.gen + 1)
        if not self.kept("apply leaves ownership"):
            self.owns[document.bucket] = (State.REPLICA, max(document.epoch, self.owns[document.bucket][1]))

    def _ack(self, sent: Sent) -> None:
        mark = self.marks[sent.key]
        gen = sent.gen if self.kept("ack the gen sent") else mark.gen
        acked = max(mark.acked, gen) if self.kept("acked never falls") else gen
        acked = min(acked, mark.gen) if self.kept("acked never above gen") else acked
        self.marks[sent.key] = replace(mark, acked=acked if self.kept("ack counts") else 0)

    def _document(self, key: str) -> Document:
        mark = self.marks.get(key) or Mark(bucket=self.buckets.get(key, 0))
        return Document(
            key=key,
            bucket=mark.bucket,
            epoch=self.owns[mark.bucket][1],
            gen=mark.gen,
            version=1,
            data=self.rows.get(key, None if self.kept("deletes told") else {}),
        )

    def _entries(self, boundary: Boundary, keys: tuple[str, ...]) -> list[Entry]:
        for text in (*keys, boundary.after or "0", boundary.until or "0"):
            if not text.isdecimal() and self.kept("asked keys judged"):
                raise Unloadable(f"{text!r} is no key of things.")
        found = sorted({*self.rows, *self.applied, *self.marks})
        if keys and self.kept("strangers have no entry"):
            return [self._entry(key) for key in found if key in keys]
        if keys:
            return [self._entry(key) for key in keys]
        if not self.kept("asked keys judged"):
            return []
        low, high = boundary.after, boundary.until
        closed = -1 if not self.kept("open below") else 0
        inside = [key for key in found if low is None or int(key) > int(low) + closed]
        return [self._entry(key) for key in inside if high is None or int(key) <= int(high)]

    def _entry(self, key: str) -> Entry:
        mark, data = self.marks.get(key), self.rows.get(key)
        bucket = self.buckets.get(key, mark.bucket if mark else 0)
        sends = self.owns[bucket][0] is not State.REPLICA
        of_mark = mark.gen if mark else None
        gen = of_mark if sends or not self.kept("a replica tells what it applied") else self.applied.get(key)
        digest = None if data is None else self._digest(data)
        return Entry(key=key, bucket=bucket, gen=gen, digest=digest, acked=mark.acked if mark else None)

    def _digest(self, data: dict[str, Any]) -> str:
        text = json.dumps(
            data,
            sort_keys=self.kept("sorted keys"),
            separators=(",", ":"),
            ensure_ascii=not self.kept("UTF-8, not escapes"),
        )
        return hashlib.sha256(text.encode()).hexdigest()[:32]
