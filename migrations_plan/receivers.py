"""A gate for what listens: signal receivers of the monolith go silent once a service does the writing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from migrations_plan.gates import Gate, Measurements, Outcome, Subject
from migrations_plan.listeners import Receiver


@dataclass(frozen=True, kw_only=True)
class ReceiversHandled(Gate):
    """Require that of every signal receiver somebody has said what takes its place.

    ``models`` (``"orders.Order"``) and ``signals`` (dotted paths) say where to look. ``handled`` maps a receiver's
    dotted path to the name of the event handler that does its work now, or to a reason, in words, why none has to.
    """

    models: Sequence[str] = ()
    signals: Sequence[str] = ()
    handled: Mapping[str, str] = field(default_factory=dict)
    valid_for: timedelta = timedelta(minutes=10)

    @property
    def name(self) -> str:
        return "receivers-handled"

    def describe(self) -> str:
        where = ", ".join([*self.models, *self.signals]) or "nothing"
        return f"every receiver of signals about {where} is declared as handled"

    def judge(self, subject: Subject, measurements: Measurements) -> tuple[Outcome, int, int, str]:
        """Compare what listens in this process with what is declared."""
        found = measurements.receivers(tuple(self.models), tuple(self.signals))
        if found.unknown:
            said = f"There is no {', '.join(found.unknown)}: correct the plan of {subject.service}."
            return Outcome.INCONCLUSIVE, 0, 1, said
        if not found.inspected:
            return Outcome.INCONCLUSIVE, 0, 1, "No signal was looked at: name models or signals in the plan."
        open_ended = [one for one in found.receivers if one.path not in self.handled]
        handlers = measurements.event_handlers()
        named = {by for by in self.handled.values() if " " not in by.strip()}
        missing = sorted(named - handlers)
        if not open_ended and not missing:
            count = len({one.path for one in found.receivers})
            listeners = "Nothing listens" if not count else f"{count} receivers, all declared as handled"
            return Outcome.PASS, found.inspected, 1, f"{listeners}.{self._stale(found.receivers)}"
        told = [
            f"{path} ({where}) listens to {listens_to}: let an event handler do its work, then declare "
            f'handled={{"{path}": "<handler>"}}'
            for path, where, listens_to in _each_once(open_ended)
        ]
        told += [f"no event handler is called {by}" for by in missing]
        return Outcome.FAIL, found.inspected, 1, f"{'; '.join(told)}.{self._stale(found.receivers)}"

    def _stale(self, receivers: Sequence[Receiver]) -> str:
        gone = sorted(set(self.handled) - {one.path for one in receivers})
        return f" Declared and not there any more: {', '.join(gone)}." if gone else ""


def _each_once(receivers: Sequence[Receiver]) -> list[tuple[str, str, str]]:
    """Return path, place and all that is listened to, by receiver."""
    heard: dict[tuple[str, str], list[str]] = {}
    for one in receivers:
        heard.setdefault((one.path, one.where), []).append(one.listens_to)
    return [(path, where, ", ".join(signals)) for (path, where), signals in heard.items()]
