"""How columns of one side become fields of the canonical document, and back.

A field is declared with the column that this side has and the name that both sides agree on. Canonical values are what
JSON holds without doubt: texts, whole numbers, booleans, null. Anything else has one spelling, given below.
"""

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from django.db import models

from migrations_plan.sync.errors import DeclarationError, Unloadable

Scalar = str | int | bool | None
Convert = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Codec:
    """Both directions of one conversion; None leaves a value as it is. NULL is never converted."""

    dump: Convert | None = None
    load: Convert | None = None


class Field(ABC):
    """A field of the document, made of one column of this side or several."""

    name: str
    """Its canonical name."""
    columns: tuple[str, ...]
    """The model's attributes that it is made of (``customer_id`` for a foreign key)."""

    @abstractmethod
    def codec(self, model: type[models.Model]) -> Codec:
        """Return how values of the model's columns are converted; for several columns, as tuples."""


@dataclass(frozen=True)
class Column(Field):
    """A column whose values mean the same on both sides, perhaps under another name.

    Moments are RFC 3339 in UTC with six digits, decimals plain digits without trailing zeros, UUIDs with dashes, binary
    data hexadecimal, JSON columns text of sorted JSON, durations whole microseconds, floats their shortest spelling.
    """

    column: str
    as_: str = ""

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.as_ or self.column

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.column,)

    def codec(self, model: type[models.Model]) -> Codec:
        return codec_of(column_of(model, self.column))


@dataclass(frozen=True)
class Money(Column):
    """An amount: a decimal column here, whole minor units in the document (12.34 is 1234)."""

    digits: int = 2
    """Of the minor unit; 2 for cents, 0 for yen."""

    def codec(self, model: type[models.Model]) -> Codec:
        field, digits = column_of(model, self.column), self.digits
        if not isinstance(field, models.DecimalField):
            raise DeclarationError(
                f"Money({self.column!r}) of {model._meta.label} is a {type(field).__name__}. Use it for a "
                "DecimalField; an integer column that holds minor units already is a plain Column."
            )
        one = Decimal(1).scaleb(-digits)

        def dump(value: Decimal) -> int:
            minor = value.scaleb(digits)
            if minor != (whole := int(minor)):
                raise Unloadable(f"{value} has more than {digits} digits after the point.")
            return whole

        def load(value: Any) -> Decimal:
            return (Decimal(_whole(value)) * one).quantize(one)

        return Codec(dump=dump, load=load)


@dataclass(frozen=True)
class Choice(Field):
    """A state: this side's value on the left, the canonical one on the right."""

    column: str
    values: Mapping[Any, Scalar]
    as_: str = ""

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.as_ or self.column

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.column,)

    def codec(self, model: type[models.Model]) -> Codec:
        forth = dict(self.values)
        back = {canonical: value for value, canonical in forth.items()}
        if len(back) != len(forth):
            raise DeclarationError(f"Choice({self.column!r}) of {model._meta.label} maps two values to one.")
        label = f"{model._meta.label}.{self.column}"
        return Codec(dump=_look_up(forth, label), load=_look_up(back, f"{label}, as the document says it,"))


@dataclass(frozen=True)
class Moment(Column):
    """A column with moments of a wall clock without a zone; ``zone`` says which wall it hangs on (``Europe/Berlin``).

    The hour that comes twice in autumn is taken for its first time: where that matters, keep UTC.
    """

    zone: str = "UTC"

    def codec(self, model: type[models.Model]) -> Codec:
        here = ZoneInfo(self.zone)

        def dump(value: datetime) -> str:
            return moment(value.replace(tzinfo=here))

        def load(value: Any) -> datetime:
            return _moment(value).astimezone(here).replace(tzinfo=None)

        return Codec(dump=dump, load=load)


@dataclass(frozen=True)
class Joined(Field):
    """One canonical field that this side keeps in several columns.

    ``join`` gets the columns' values, in order, and returns the canonical one; ``split`` is its inverse, and has to
    be: what it splits, joined again, must be what it was.
    """

    as_: str
    parts: tuple[str, ...]
    join: Callable[..., Scalar]
    split: Callable[[Any], tuple[Any, ...]]

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.as_

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.parts

    def codec(self, model: type[models.Model]) -> Codec:
        for column in self.parts:
            column_of(model, column)
        join, split, width, name = self.join, self.split, len(self.parts), self.as_

        def load(value: Any) -> tuple[Any, ...]:
            try:
                values = split(value)
                lossless = len(values) == width and join(*values) == value
            except Exception as error:  # whatever the project's functions think of what another program has sent
                raise Unloadable(f"{name}: {value!r} cannot be split: {error!r}.") from error
            if not lossless:
                raise Unloadable(f"{name}: {value!r} is split into {values!r}, which does not join to it again.")
            return values

        return Codec(dump=lambda values: join(*values), load=load)


def column_of(model: type[models.Model], name: str) -> "models.Field[Any, Any]":
    """Return the model's column with this attribute name; raise DeclarationError naming those that there are."""
    for field in model._meta.concrete_fields:
        if field.attname == name:
            return field
    known = ", ".join(field.attname for field in model._meta.concrete_fields)
    raise DeclarationError(f"{model._meta.label} has no column {name!r}. Its columns: {known}.")


def codec_of(field: "models.Field[Any, Any]") -> Codec:
    """Return how a column's values are spelled canonically, by the type of the column."""
    target = pointed_at(field)
    for kind, codec in CODECS:
        if isinstance(target, kind):
            return codec
    raise DeclarationError(
        f"{field.model._meta.label}.{field.attname} is a {type(target).__name__}, which has no canonical "
        "spelling. Declare it unsynced, or say how it is spelled with Joined."
    )


def pointed_at(field: "models.Field[Any, Any]") -> "models.Field[Any, Any]":
    """Return the column that says what values a column holds: for a foreign key, the one it points at."""
    target: Any = field
    while target.remote_field is not None:
        target = target.target_field
    found: models.Field[Any, Any] = target
    return found


def moment(value: datetime) -> str:
    """Return a moment as documents spell it: ``2026-11-27T02:05:15.123456Z``."""
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat(timespec="microseconds")[:26] + "Z"


def _look_up(table: Mapping[Any, Any], label: str) -> Convert:
    def convert(value: Any) -> Any:
        try:
            return table[value]
        except (KeyError, TypeError):
            known = ", ".join(repr(one) for one in table)
            raise Unloadable(f"{label} holds {value!r}. Known: {known}.") from None

    return convert


def _moment(value: Any) -> datetime:
    if not isinstance(value, str) or not value.endswith("Z"):
        raise Unloadable(f"{value!r} is no moment. Use RFC 3339 in UTC: 2026-11-27T02:05:15.123456Z.")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise Unloadable(f"{value!r} is no moment. Use RFC 3339 in UTC: 2026-11-27T02:05:15.123456Z.") from None


def _dump_decimal(value: Decimal) -> str:
    text = format(value.normalize(), "f")
    return "0" if text == "-0" else text


def _load_decimal(value: Any) -> Decimal:
    try:
        found = Decimal(_text(value))
    except InvalidOperation:
        raise Unloadable(f"{value!r} is no decimal number.") from None
    if not found.is_finite():
        raise Unloadable(f"{value!r} is no decimal number.")
    return found


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise Unloadable(f"{value!r} is no whole number.")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unloadable(f"{value!r} is no text.")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unloadable(f"{value!r} is neither true nor false.")
    return value


def _read(kind: str, parse: Callable[[str], Any]) -> Convert:
    def load(value: Any) -> Any:
        try:
            return parse(_text(value))
        except ValueError:
            raise Unloadable(f"{value!r} is no {kind}.") from None

    return load


def _load_duration(value: Any) -> timedelta:
    return timedelta(microseconds=_whole(value))


def _dump_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


CODECS: tuple[tuple[type[Any], Codec], ...] = (
    (models.BooleanField, Codec(load=_truth)),
    (models.IntegerField, Codec(load=_whole)),
    (models.UUIDField, Codec(dump=str, load=_read("UUID", uuid.UUID))),
    (models.DateTimeField, Codec(dump=moment, load=_moment)),
    (models.DateField, Codec(dump=date.isoformat, load=_read("date", date.fromisoformat))),
    (models.TimeField, Codec(dump=time.isoformat, load=_read("time of day", time.fromisoformat))),
    (models.DurationField, Codec(dump=lambda value: value // timedelta(microseconds=1), load=_load_duration)),
    (models.DecimalField, Codec(dump=_dump_decimal, load=_load_decimal)),
    (models.FloatField, Codec(dump=repr, load=_read("number", float))),
    (models.JSONField, Codec(dump=_dump_json, load=_read("JSON", json.loads))),
    (models.BinaryField, Codec(dump=lambda value: bytes(value).hex(), load=_read("hexadecimal text", bytes.fromhex))),
    (models.GenericIPAddressField, Codec(load=_text)),
    (models.FileField, Codec(dump=str, load=_text)),
    (models.CharField, Codec(load=_text)),
    (models.TextField, Codec(load=_text)),
)
"""By the kind of column; DateTimeField stands before DateField, which it is one of."""
