"""Everything the phases refuse, each with the exit code that a command gives it."""


class PlanError(Exception):
    """Something about a plan or a move went wrong."""

    exit_code = 1


class UsageError(PlanError):
    """Name something that does not exist."""

    exit_code = 2


class UnknownService(UsageError):
    """Name a service that has no plan."""

    def __init__(self, service: str, known: tuple[str, ...]) -> None:
        valid = ", ".join(known) or "none: no app registers a plan in its strangler.py"
        super().__init__(f"There is no plan for a service {service!r}. Services with a plan: {valid}.")


class UnknownStep(UsageError):
    """Name a step that the plan does not have."""

    def __init__(self, service: str, step: str, known: tuple[str, ...]) -> None:
        super().__init__(f"The plan of {service} has no step {step!r}. Its steps: {', '.join(known)}.")


class UnknownGate(UsageError):
    """Override a gate that no step on the way has."""

    def __init__(self, gate: str, known: tuple[str, ...]) -> None:
        super().__init__(f"No gate {gate!r} is on this way. Its gates: {', '.join(known) or 'none'}.")


class ReasonMissing(UsageError):
    """Override a gate without saying why."""

    def __init__(self) -> None:
        super().__init__("An overridden gate needs a reason, which history keeps: add --reason TEXT.")


class Refused(PlanError):
    """Refuse a move, with what has to change first."""


class Paused(Refused):
    """Advance a service that somebody paused."""


class InProgress(Refused):
    """Move a service that another living command is moving."""


class StateChanged(Refused):
    """Lose against another operator who changed the state first."""


class WrongDirection(Refused):
    """Advance to a step behind, or roll back to a step ahead."""


class Irreversible(Refused):
    """Go back over an operation that cannot be undone."""


class WouldLoseData(Refused):
    """Go back while something could not be brought home."""


class BucketsLeft(Refused):
    """End a run with buckets that are not where they were to be; running again goes on."""


class OperationFailed(Refused):
    """Fail in an operation; the step stays begun."""


class NotReady(Refused):
    """Find before a step begins that one of its operations cannot succeed."""


class HistoryIsAppendOnly(PlanError):
    """Change or delete a line of history."""

    def __init__(self) -> None:
        super().__init__("History is append-only: add an entry that says what is different now instead.")
