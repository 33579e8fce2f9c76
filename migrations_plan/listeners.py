"""Who listens to Django's signals in this process. The one place that reads the inside of a signal."""

import functools
import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model, signals
from django.dispatch import Signal
from django.utils.module_loading import import_string

MODEL_SIGNALS = ("pre_init", "post_init", "pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed")
OWN = ("django.", "router.", "migrations_plan.")
"""Receivers of Django and of the toolkit do what they do on either side."""


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A signal receiver of this process."""

    path: str
    """Dotted: ``shop.receivers.send_mail``."""
    where: str
    """File and line."""
    listens_to: str
    """The signal, and the model it is about."""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What was found listening."""

    receivers: tuple[Receiver, ...] = ()
    inspected: int = 0
    """How many signals were looked at, each model's counted for itself."""
    unknown: tuple[str, ...] = ()
    """Models and signals that there are not."""


def inventory(models: Sequence[str], custom: Sequence[str]) -> Inventory:
    """Return who listens to the signals of these models and to these signals; each receiver and signal once."""
    found: dict[tuple[str, str], Receiver] = {}
    unknown: list[str] = []
    inspected = 0
    for label in models:
        try:
            model = apps.get_model(label)
        except (LookupError, ValueError):
            unknown.append(f"model {label}")
            continue
        for name in MODEL_SIGNALS:
            inspected += 1
            for listener in _listeners(getattr(signals, name), model):
                _note(found, listener, f"{name} of {label}")
    for path in custom:
        signal = _imported(path)
        if signal is None:
            unknown.append(f"signal {path}")
            continue
        inspected += 1
        for listener in _listeners(signal, None):
            _note(found, listener, path)
    receivers = tuple(receiver for _, receiver in sorted(found.items()))
    return Inventory(receivers=receivers, inspected=inspected, unknown=tuple(unknown))


def _imported(path: str) -> Signal | None:
    try:
        signal = import_string(path)
    except ImportError:
        return None
    return signal if isinstance(signal, Signal) else None


def _listeners(signal: Signal, model: type[Model] | None) -> Iterator[Callable[..., Any]]:
    """Yield the living receivers of a signal: those of one model and those of all, or everybody."""
    wanted = {id(None), id(model)}  # by which Django keeps senders
    for (_, sender), reference, *_ in list(signal.receivers):
        if model is not None and sender not in wanted:
            continue
        listener = reference() if isinstance(reference, weakref.ReferenceType) else reference
        if listener is not None:
            yield listener


def _note(found: dict[tuple[str, str], Receiver], listener: Callable[..., Any], listens_to: str) -> None:
    function = _unwrapped(listener)
    path = f"{function.__module__}.{function.__qualname__}"
    if not path.startswith(OWN):
        found[path, listens_to] = Receiver(path=path, where=_where(function), listens_to=listens_to)


def _unwrapped(listener: Callable[..., Any]) -> Any:
    """Return the function or class behind partials, bound methods, decorators and callable objects."""
    while isinstance(listener, functools.partial):
        listener = listener.func
    listener = inspect.unwrap(getattr(listener, "__func__", listener))
    return listener if hasattr(listener, "__qualname__") else type(listener)


def _where(function: Any) -> str:
    try:
        return f"{inspect.getsourcefile(function)}:{inspect.getsourcelines(function)[1]}"
    except (OSError, TypeError):
        return "no source"
