"""The other side, over HTTP."""

from collections.abc import Sequence

from migrations_plan.sync.conf import Peer, conf
from migrations_plan.sync.errors import AnsweredInPart, PeerRefused, PeerUnavailable
from migrations_plan.sync.messages import (
    Again,
    Boundary,
    BucketLook,
    BucketState,
    Change,
    Changes,
    Digest,
    Document,
    Fitness,
    Held,
    Outcome,
    Result,
    Sent,
)
from migrations_plan.sync.wire import batches, forms
from migrations_plan.sync.wire.calls import BodyTooLarge, call


class RemoteSide:
    """A ``Side`` that another program is. It raises PeerUnavailable or PeerRefused; nothing is tried twice."""

    name: str
    elsewhere = True
    """It may be asked from any thread: no connection to a database is behind it."""

    def __init__(self, peer: Peer, name: str) -> None:
        self.peer = peer
        self.name = name

    def changes(self, aggregate: str, limit: int, buckets: tuple[int, ...] = ()) -> Changes:
        """Return marked aggregates of buckets that the side owns or owned until now."""
        body = forms.encode(forms.ChangesRequest(limit=limit, buckets=buckets))
        answer = call(self.peer, aggregate, "changes", body, forms.ChangesAnswer)
        return Changes(documents=answer.documents, waiting=answer.waiting)

    def apply(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        """Send documents in batches of a bounded size; one that is too large is parked and holds up nobody.

        Where a batch fails after others were answered, AnsweredInPart tells of those.
        """
        settings, bodies = conf(), [forms.encode(document) for document in documents]
        most = settings.max_body_bytes - len(forms.encode_documents([]))
        results = {
            place: _parked(documents[place], batches.too_large(len(body), settings))
            for place, body in enumerate(bodies)
            if len(body) > most
        }
        rest = [place for place in range(len(documents)) if place not in results]
        try:
            for batch in batches.cut([len(bodies[place]) + 1 for place in rest], min(most, settings.batch_bytes)):
                places, found = [rest[place] for place in batch], list[Result]()
                try:
                    self._apply_batch(aggregate, [documents[n] for n in places], [bodies[n] for n in places], found)
                finally:
                    results.update(zip(places, found, strict=False))
        except (PeerUnavailable, PeerRefused) as error:
            if not results:
                raise
            raise AnsweredInPart(tuple(results[place] for place in sorted(results)), error) from error
        return tuple(results[place] for place in range(len(documents)))

    def ack(self, aggregate: str, sent: tuple[Sent, ...], held: tuple[Held, ...]) -> None:
        """Tell which versions have arrived, and which could not be taken yet."""
        call(self.peer, aggregate, "ack", forms.encode(forms.AckRequest(sent=sent, held=held)), forms.AckAnswer)

    def digest(self, aggregate: str, boundary: Boundary, *, detail: bool, keys: tuple[str, ...] = ()) -> Digest:
        """Return what the side holds in a range of keys, or of the given keys."""
        request = forms.DigestRequest(after=boundary.after, until=boundary.until, keys=keys, detail=detail)
        return call(self.peer, aggregate, "digest", forms.encode(request), Digest)

    def ownership(self, aggregate: str) -> tuple[BucketState, ...]:
        """Return who the side is to each bucket."""
        body = forms.encode(forms.OwnershipRequest())
        return call(self.peer, aggregate, "ownership", body, forms.OwnershipAnswer).buckets

    def change(self, aggregate: str, change: Change) -> bool:
        """Swap who the side is to a bucket, if it still is what the change says; return whether it was.

        Where no answer came it may have been done all the same: read who the sides are, and decide again.
        """
        body = forms.encode(forms.OwnershipRequest(change=change))
        answer = call(self.peer, aggregate, "ownership", body, forms.OwnershipAnswer)
        if answer.done is None:
            raise PeerRefused(f"ownership of {aggregate!r} at {self.peer.url} does not say whether it was changed.")
        return answer.done

    def look(self, aggregate: str, buckets: tuple[int, ...]) -> tuple[BucketLook, ...]:
        """Return who the side is to these buckets, with what is marked and under way in them."""
        body = forms.encode(forms.OwnershipRequest(look=buckets))
        looked = call(self.peer, aggregate, "ownership", body, forms.OwnershipAnswer).looked
        if {one.bucket for one in looked} != set(buckets):
            raise PeerRefused(f"ownership of {aggregate!r} at {self.peer.url} does not answer what is marked.")
        return looked

    def fitness(self, aggregate: str) -> Fitness:
        """Return what keeps the side from owning buckets."""
        body = forms.encode(forms.OwnershipRequest(fitness=True))
        found = call(self.peer, aggregate, "ownership", body, forms.OwnershipAnswer).fitness
        if found is None:
            raise PeerRefused(f"ownership of {aggregate!r} at {self.peer.url} does not answer whether it is fit.")
        return found

    def documents(self, aggregate: str, keys: tuple[str, ...]) -> tuple[Document, ...]:
        """Return documents as they are there, marked or not."""
        body = forms.encode(forms.ChangesRequest(keys=keys))
        return call(self.peer, aggregate, "changes", body, forms.ChangesAnswer).documents

    def rehearse(self, aggregate: str, documents: tuple[Document, ...]) -> tuple[Result, ...]:
        """Have documents applied there and rolled back; return what became of each."""
        body = forms.encode(forms.ApplyRequest(documents=documents, rehearsal=True))
        return call(self.peer, aggregate, "apply", body, forms.ApplyAnswer).results

    def boundaries(self, aggregate: str, size: int) -> tuple[Boundary, ...]:
        """Return ranges of about ``size`` keys that the side holds."""
        body = forms.encode(forms.DigestRequest(cut=size))
        return call(self.peer, aggregate, "digest", body, forms.CutAnswer).boundaries

    def repair(self, aggregate: str, keys: tuple[Again, ...]) -> int:
        """Have aggregates marked again, with a version above the one given; return how many were."""
        body = forms.encode(forms.AckRequest(again=keys))
        return call(self.peer, aggregate, "ack", body, forms.AckAnswer).again

    def _apply_batch(
        self, aggregate: str, documents: Sequence[Document], bodies: Sequence[bytes], found: list[Result]
    ) -> None:
        """Send one batch, and its halves where it is too large for the other side; add what is answered."""
        try:
            answer = call(self.peer, aggregate, "apply", forms.encode_documents(bodies), forms.ApplyAnswer)
        except BodyTooLarge as refused:
            if len(documents) == 1:
                found.append(_parked(documents[0], str(refused)))
                return
            half = len(documents) // 2
            self._apply_batch(aggregate, documents[:half], bodies[:half], found)
            self._apply_batch(aggregate, documents[half:], bodies[half:], found)
            return
        asked = [(document.key, document.gen) for document in documents]
        if [(result.key, result.gen) for result in answer.results] != asked:
            raise PeerRefused(
                f"apply of {aggregate!r} at {self.peer.url} did not answer one result for each of "
                f"the {len(asked)} documents, in their order."
            )
        found.extend(answer.results)


def _parked(document: Document, reason: str) -> Result:
    return Result(key=document.key, gen=document.gen, outcome=Outcome.PARKED, reason=reason)
