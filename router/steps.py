"""What is to be done for a request as a generator of steps, so that threads and event loops follow the same rules.

The rules are plain code that yields what they need next. A WSGI server's thread does each step where it stands; on an
event loop each goes where it harms nobody, and the loop serves others meanwhile.
"""

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponseBase

from router.forwarding import threads

T = TypeVar("T")

GetResponse: TypeAlias = Callable[[HttpRequest], HttpResponseBase]
AsyncGetResponse: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class InDatabase(NamedTuple):
    """Work that uses the session or the database, so that it belongs on the request's own thread."""

    work: Callable[[], Any]


class OnTheWire(NamedTuple):
    """Work that waits for a service on a socket, and touches no database."""

    service: str
    work: Callable[[], Any]


class ByLegacy(NamedTuple):
    """A request that legacy is to answer."""

    request: HttpRequest


class Pause(NamedTuple):
    """A while in which the request needs no thread."""

    seconds: float

    def work(self) -> None:
        """Let the while pass on this thread."""
        time.sleep(self.seconds)


Step: TypeAlias = InDatabase | OnTheWire | ByLegacy | Pause
Steps: TypeAlias = Generator[Step, Any, T]


def in_database(work: Callable[[], T]) -> Steps[T]:
    """Do this where the database may be asked."""
    done: T = yield InDatabase(work)
    return done


def on_the_wire(service: str, work: Callable[[], T]) -> Steps[T]:
    """Do this where waiting for a service harms nobody else."""
    done: T = yield OnTheWire(service, work)
    return done


def pause(seconds: float) -> Steps[None]:
    """Go on after a while."""
    yield Pause(seconds)


def by_legacy(request: HttpRequest) -> Steps[HttpResponseBase]:
    """Let legacy answer."""
    response: HttpResponseBase = yield ByLegacy(request)
    return response


def no_legacy(request: HttpRequest) -> HttpResponseBase:
    """Stand for legacy where steps never ask it for an answer: those of a seam, whose legacy is a function."""
    raise AssertionError(f"{request.path} was to be answered by legacy, but no request is being answered")


def carry_out(steps: Steps[T], legacy: GetResponse) -> T:
    """Do every step on this thread, one after the other."""
    try:
        step = next(steps)
        while True:
            try:
                done = legacy(step.request) if isinstance(step, ByLegacy) else step.work()
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as end:
        result: T = end.value
        return result


async def carry_out_on_loop(steps: Steps[T], legacy: AsyncGetResponse) -> T:
    """Do every step without holding up the event loop."""
    try:
        step = next(steps)
        while True:
            try:
                done = await _on_loop(step, legacy)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as end:
        result: T = end.value
        return result


async def _on_loop(step: Step, legacy: AsyncGetResponse) -> Any:
    if isinstance(step, ByLegacy):
        return await legacy(step.request)
    if isinstance(step, Pause):
        return await asyncio.sleep(step.seconds)
    if isinstance(step, OnTheWire):
        return await threads.run(step.service, step.work)
    return await sync_to_async(step.work, thread_sensitive=True)()


async def to_the_end(work: Coroutine[Any, Any, T], let_go: Callable[[T], object]) -> T:
    """Carry ``work`` out even if the client hangs up meanwhile, as under WSGI.

    The request has left for the service, or its key is held: whoever stopped there would leave it open what became of
    it. A result that nobody waits for any more is let go.
    """
    context = contextvars.copy_context()
    task = asyncio.create_task(work, context=context)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            await sync_to_async(let_go, thread_sensitive=True)(task.result())
        raise
    finally:
        _adopt(context)


def _adopt(context: contextvars.Context) -> None:
    """Take over what changed in a task's context, such as the active language, as if it had run here."""
    for variable, value in context.items():
        if variable.get(_MISSING) is not value:
            variable.set(value)


_MISSING = object()
