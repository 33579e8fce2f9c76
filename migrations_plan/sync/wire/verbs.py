"""The five verbs: what each reads, what it asks of the side, what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from migrations_plan.sync.conf import SyncSettings
from migrations_plan.sync.messages import Boundary, Held, Side
from migrations_plan.sync.wire import batches, forms
from migrations_plan.sync.wire.forms import (
    AckAnswer,
    AckRequest,
    ApplyAnswer,
    ApplyRequest,
    ChangesRequest,
    CutAnswer,
    DigestRequest,
    OwnershipAnswer,
    OwnershipRequest,
)

TOO_LARGE_SECONDS = 60.0
"""A document that no body can hold is tried again after this, then after twice this; the limit may be raised."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, let in."""

    side: Side
    aggregate: str
    settings: SyncSettings


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One of the five."""

    form: type[Any]
    answer: Callable[[Call, Any], bytes]
    limited: bool = False
    """Whether only so many are served at once."""


def changes(call: Call, request: ChangesRequest) -> bytes:
    """Answer documents that are due, as many as one body should hold, or those that were asked for by name."""
    if request.keys:
        named = [forms.encode(one) for one in call.side.documents(call.aggregate, request.keys)]
        return forms.encode_documents(named, waiting=0)
    found = call.side.changes(call.aggregate, request.limit, request.buckets)
    most = call.settings.max_body_bytes - len(forms.encode_documents([], waiting=found.waiting))
    encoded = [(one, forms.encode(one)) for one in found.documents]
    held = tuple(
        Held(key=one.key, gen=one.gen, seconds=TOO_LARGE_SECONDS, reason=batches.too_large(len(body), call.settings))
        for one, body in encoded
        if len(body) > most
    )
    if held:
        call.side.ack(call.aggregate, (), held)
    bodies = [body for _, body in encoded if len(body) <= most]
    first = next(batches.cut([len(body) + 1 for body in bodies], min(most, call.settings.batch_bytes)), range(0))
    return forms.encode_documents(bodies[: first.stop], waiting=found.waiting)


def apply(call: Call, request: ApplyRequest) -> bytes:
    """Apply the documents, or only try to; answer what became of each."""
    if request.rehearsal:
        return forms.encode(ApplyAnswer(results=call.side.rehearse(call.aggregate, request.documents)))
    return forms.encode(ApplyAnswer(results=call.side.apply(call.aggregate, request.documents)))


def ack(call: Call, request: AckRequest) -> bytes:
    """Note what has arrived and what has not; mark again what is asked for."""
    if request.sent or request.held:
        call.side.ack(call.aggregate, request.sent, request.held)
    again = call.side.repair(call.aggregate, request.again) if request.again else 0
    return forms.encode(AckAnswer(again=again))


def digest(call: Call, request: DigestRequest) -> bytes:
    """Answer what this side holds, or ranges to ask about."""
    if request.cut is not None:
        return forms.encode(CutAnswer(boundaries=call.side.boundaries(call.aggregate, request.cut)))
    boundary = Boundary(after=request.after, until=request.until)
    return forms.encode(call.side.digest(call.aggregate, boundary, detail=request.detail, keys=request.keys))


def ownership(call: Call, request: OwnershipRequest) -> bytes:
    """Answer who this side is to each bucket, after the change that was asked for."""
    side, name = call.side, call.aggregate
    return forms.encode(
        OwnershipAnswer(
            done=None if request.change is None else side.change(name, request.change),
            buckets=side.ownership(name),
            looked=side.look(name, request.look) if request.look else (),
            fitness=side.fitness(name) if request.fitness else None,
        )
    )


VERBS: Mapping[str, Verb] = {
    "changes": Verb(form=ChangesRequest, answer=changes),
    "apply": Verb(form=ApplyRequest, answer=apply, limited=True),
    "ack": Verb(form=AckRequest, answer=ack),
    "digest": Verb(form=DigestRequest, answer=digest),
    "ownership": Verb(form=OwnershipRequest, answer=ownership),
}
