"""Buckets 0 to 99 from partition keys, with the same result in Python and in SQL.

A key is reduced modulo the prime 2**31 - 1 and put through a polynomial of degree three whose coefficients come from
the service's name. No intermediate value exceeds 63 bits, so databases without big integers compute the same.
"""

import functools
import hashlib
import re
import struct
import uuid
from dataclasses import dataclass
from typing import Literal, TypeAlias

from router.exceptions import KeyUnusable, StranglerError
from router.routes import Key

BUCKETS = 100
PRIME = 2**31 - 1

Vendor: TypeAlias = Literal["postgresql", "sqlite"]
ColumnKind: TypeAlias = Literal["integer", "uuid"]

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,30}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_WORDS = ((0, 7), (7, 7), (14, 7), (21, 7), (28, 4))
"""Position and length, in hexadecimal digits, of the words that a UUID is cut into: 28 bits each, and the last 16."""


@dataclass(frozen=True, slots=True)
class _Salt:
    """What makes the buckets of one service independent of those of another."""

    name: str
    polynomial: tuple[int, int, int, int]
    multipliers: tuple[int, ...]
    """One per word of a UUID; none is zero, so that every bit counts."""

    @classmethod
    @functools.cache
    def of(cls, service: str) -> "_Salt":
        def numbers(purpose: str) -> list[int]:
            digest = hashlib.sha256(f"strangler.bucket:{purpose}:{service}".encode()).digest()
            return [1 + word % (PRIME - 1) for word in struct.unpack(">8I", digest)]

        a, b, c, d = numbers("polynomial")[:4]
        return cls(service, (a, b, c, d), tuple(numbers("words")[: len(_WORDS)]))


def bucket(service: str, key: Key) -> int:
    """Return the bucket of a key, 0 to 99. Text that spells an integer or a UUID counts as what it spells."""
    salt = _Salt.of(service)
    if isinstance(key, str):
        key = _spelled(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return _mix(key % PRIME, salt)
    if isinstance(key, uuid.UUID):
        return _mix(_folded(key.hex, salt), salt)
    if isinstance(key, str):
        digest = hashlib.sha256(f"strangler.bucket:text:{service}:{key}".encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % BUCKETS
    raise KeyUnusable(f"{key!r} is a {type(key).__name__}. A partition key is an integer, a UUID or text.")


def _spelled(key: str) -> Key:
    if _INTEGER.fullmatch(key):
        return int(key)
    return uuid.UUID(key) if _UUID.fullmatch(key) else key


def _mix(x: int, salt: _Salt) -> int:
    a, b, c, d = salt.polynomial
    return (((a * x + b) % PRIME * x + c) % PRIME * x + d) % PRIME % BUCKETS


def _folded(digits: str, salt: _Salt) -> int:
    words = (int(digits[start : start + length], 16) for start, length in _WORDS)
    return sum(multiplier * word for multiplier, word in zip(salt.multipliers, words, strict=True)) % PRIME


def bucket_sql(vendor: str, service: str, column: str, kind: ColumnKind, *, with_params: bool = False) -> str:
    """Return the SQL expression for the bucket of a column; NULL where the column is NULL.

    ``column`` is put in as it is and has to be quoted by the caller. UUIDs are native on PostgreSQL and 32 hexadecimal
    digits on SQLite, as Django stores them. Say ``with_params`` when the statement is executed with parameters: its
    percent signs are doubled then.
    """
    try:
        reduce = _REDUCERS[vendor, kind]
    except KeyError:
        known = ", ".join(" ".join(pair) for pair in _REDUCERS)
        raise StranglerError(
            f"There is no bucket in SQL for {vendor!r} and {kind!r} columns. Known: {known}."
        ) from None
    salt = _Salt.of(service)
    x = reduce(column, salt)
    a, b, c, d = salt.polynomial
    sql = f"((((({a} * {x} + {b}) % {PRIME}) * {x} + {c}) % {PRIME}) * {x} + {d}) % {PRIME} % {BUCKETS}"
    return f"({sql.replace('%', '%%') if with_params else sql})"


def _integer_postgresql(column: str, salt: _Salt) -> str:
    return f"((({column})::bigint % {PRIME} + {PRIME}) % {PRIME})"


def _integer_sqlite(column: str, salt: _Salt) -> str:
    return f"((({column}) % {PRIME} + {PRIME}) % {PRIME})"


def _uuid_postgresql(column: str, salt: _Salt) -> str:
    digits = f"replace(({column})::text, '-', '')"
    return _sum_of_words(
        [f"('x' || substr({digits}, {start + 1}, {length}))::bit({4 * length})::bigint" for start, length in _WORDS],
        salt,
    )


def _uuid_sqlite(column: str, salt: _Salt) -> str:
    def digit(position: int) -> str:  # '0'-'9' are 48-57, 'a'-'f' 97-102; | 32 makes 'A' an 'a'
        return f"((unicode(substr({column}, {position + 1}, 1)) | 32) - 48) % 39"

    def word(start: int, length: int) -> str:
        return " + ".join(f"({digit(start + i)}) * {16 ** (length - 1 - i)}" for i in range(length))

    return _sum_of_words([f"({word(start, length)})" for start, length in _WORDS], salt)


def _sum_of_words(words: list[str], salt: _Salt) -> str:
    terms = (f"{multiplier} * {word}" for multiplier, word in zip(salt.multipliers, words, strict=True))
    return f"(({' + '.join(terms)}) % {PRIME})"


_REDUCERS = {
    ("postgresql", "integer"): _integer_postgresql,
    ("postgresql", "uuid"): _uuid_postgresql,
    ("sqlite", "integer"): _integer_sqlite,
    ("sqlite", "uuid"): _uuid_sqlite,
}
