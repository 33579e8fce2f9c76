"""The documents that a check may apply, change and delete."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import msgspec


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One aggregate in the form that the side under test takes."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    bucket: Annotated[int, msgspec.Meta(ge=0, le=99)]
    data: dict[str, Any]
    version: Annotated[int, msgspec.Meta(ge=1)] = 1

    @property
    def digest(self) -> str:
        """Return the digest that every side has to get: made here by other means than the toolkit's own."""
        text = json.dumps(self.data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class Unusable(Exception):
    """The file does not hold what can be tried."""


def read(path: Path) -> tuple[Sample, ...]:
    """Return the samples of a file that holds one or a list of them; raise Unusable with what is wrong."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[Sample] | Sample)
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Unusable(f'{path} holds no {{"key", "bucket", "data"}} or list of them: {error}.') from error
    samples = tuple(found) if isinstance(found, list) else (found,)
    keys = [sample.key for sample in samples]
    if not samples or len(set(keys)) < len(keys):
        raise Unusable(f"{path} has to hold at least one document, and none twice.")
    return samples
