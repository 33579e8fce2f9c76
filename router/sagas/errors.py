"""What can go wrong with sagas themselves, beside what their steps raise."""

from router.exceptions import ConfigurationError, StranglerError


class SagaError(StranglerError):
    """Something is wrong with a saga."""


class SagaMisused(SagaError, ConfigurationError):
    """A saga is declared or used in a way that cannot work."""


class SagaInTransaction(SagaError, RuntimeError):
    """A saga was to call another process while a transaction is open, or to be written outside of the one it needs."""


class SagaLost(SagaError):
    """The saga is in other hands by now, or past the point where this could be done."""


class UnknownSaga(SagaError):
    """There is no such saga, or this program does not know its type."""
