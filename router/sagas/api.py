"""What programs with sagas use: declare a type, run one, resume what was left, count what is open."""

from router.sagas.errors import SagaError, SagaInTransaction, SagaLost, SagaMisused, UnknownSaga
from router.sagas.log import open_by_bucket
from router.sagas.resuming import Report, resume_by_hand, resume_due
from router.sagas.running import Run, enlist, running
from router.sagas.types import Context, Pivot, SagaType, Step, declare

__all__ = [
    "Context",
    "Pivot",
    "Report",
    "Run",
    "SagaError",
    "SagaInTransaction",
    "SagaLost",
    "SagaMisused",
    "SagaType",
    "Step",
    "UnknownSaga",
    "declare",
    "enlist",
    "open_by_bucket",
    "resume_by_hand",
    "resume_due",
    "running",
]
