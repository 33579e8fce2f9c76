"""Read purchase histories in the CDNOW format: customer, date, number of CDs, dollars; one purchase a line."""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, cast

COLUMNS = ("customer_id", "date", "number_of_cds", "dollar_value")
MAX_QUANTITY = 2_147_483_647  # what an integer column holds on every database
MAX_CUSTOMER_DIGITS = 18
MAX_SHOWN = 60
GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

WHOLE_NUMBER = re.compile(r"[0-9]+")
DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
DOLLARS = re.compile(r"[0-9]{1,8}(\.[0-9]{1,2})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Purchase:
    """One good line: who bought how many CDs for how much, and when."""

    line: int
    customer: int
    day: date
    quantity: int
    amount: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class BadLine:
    """A line that is no purchase, and why."""

    line: int
    reason: str


class HistoryError(Exception):
    """The file as a whole cannot be read."""


def read(path: Path) -> Iterator[Purchase | BadLine | None]:
    """Yield what each line of the file holds; None for the header and for blank lines."""
    with _opened(path) as stream:
        try:
            for number, raw in enumerate(stream, start=1):
                yield parse_line(number, raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise HistoryError(
                f"{path}: the gzip data is cut short or damaged ({error}). Fetch the file again."
            ) from error
        except OSError as error:
            raise HistoryError(f"{path}: cannot be read: {error}.") from error


def parse_line(number: int, raw: bytes) -> Purchase | BadLine | None:
    """Return the purchase in one line, the reason why there is none, or None where nothing was meant to be."""
    if number == 1:
        raw = raw.removeprefix(BYTE_ORDER_MARK)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return BadLine(line=number, reason=f"not UTF-8 text (byte {raw[error.start]:#04x} at column {error.start + 1})")
    fields = text.split()
    if not fields or (number == 1 and fields[0].lower() == COLUMNS[0]):
        return None
    if len(fields) != len(COLUMNS):
        reason = f"{len(fields)} columns where {len(COLUMNS)} are wanted ({', '.join(COLUMNS)}): {_shown(text.strip())}"
        return BadLine(line=number, reason=reason)
    try:
        return Purchase(
            line=number,
            customer=_customer(fields[0]),
            day=_day(fields[1]),
            quantity=_quantity(fields[2]),
            amount=_amount(fields[3]),
        )
    except ValueError as error:
        return BadLine(line=number, reason=str(error))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a plain or a gzipped file; what it is, its first bytes say and not its name."""
    try:
        with path.open("rb") as plain:
            magic = plain.read(len(GZIP_MAGIC))
            plain.seek(0)
            if magic == GZIP_MAGIC:
                with gzip.open(plain, "rb") as unpacked:
                    yield cast(BinaryIO, unpacked)
            elif path.suffix == ".gz":
                raise HistoryError(f"{path}: named .gz, and no gzip file. Rename it to .txt or fetch it again.")
            else:
                yield plain
    except OSError as error:
        raise HistoryError(f"{path}: cannot be opened: {error.strerror or error}.") from error


def _customer(text: str) -> int:
    if not WHOLE_NUMBER.fullmatch(text) or len(text) > MAX_CUSTOMER_DIGITS:
        raise ValueError(f"customer_id {_shown(text)} is not a whole number of up to {MAX_CUSTOMER_DIGITS} digits")
    return int(text)


def _day(text: str) -> date:
    parts = DATE.fullmatch(text)
    if not parts:
        raise ValueError(f"date {_shown(text)} is not of the form YYYYMMDD")
    try:
        return date(*map(int, parts.groups()))
    except ValueError as error:
        raise ValueError(f"date {_shown(text)} does not exist: {error}") from error


def _quantity(text: str) -> int:
    if not WHOLE_NUMBER.fullmatch(text) or len(text) > MAX_CUSTOMER_DIGITS:
        raise ValueError(f"number_of_cds {_shown(text)} is not a whole number above 0")
    quantity = int(text)
    if not 0 < quantity <= MAX_QUANTITY:
        raise ValueError(f"number_of_cds {_shown(text)} is not between 1 and {MAX_QUANTITY}")
    return quantity


def _amount(text: str) -> Decimal:
    if not DOLLARS.fullmatch(text):
        raise ValueError(f"dollar_value {_shown(text)} is not an amount in dollars and cents, 0.00 to 99999999.99")
    return Decimal(text).quantize(Decimal("0.01"))


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")
