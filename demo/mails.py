"""Read what the shop's mail server holds: one file for each mail, one line for each delivery that it dropped."""

from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail as it lies in the customer's box."""

    order: str
    """The number of the order that it is about."""
    kind: str
    """What it says: placed, paid or cancelled."""
    to: str


def delivered(directory: Path) -> list[Mail]:
    """Return every mail in the directory."""
    return [_read(path) for path in sorted(directory.glob("*.eml"))]


def suppressed(directory: Path) -> int:
    """Return how often a mail was delivered again under the Message-ID it had before, and dropped by the server."""
    return sum(len(path.read_text().splitlines()) for path in directory.glob("*.again"))


def _read(path: Path) -> Mail:
    message = message_from_bytes(path.read_bytes())
    return Mail(order=message["X-Shop-Order"] or "", kind=message["X-Shop-Mail"] or "", to=message["To"] or "")
