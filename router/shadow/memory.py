"""Notice that memory runs short, for this process or for the container that it shares with others."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

RELIEF = 0.05
"""So much less has to be used before memory is no longer short."""


class Memory:
    """What Linux tells about memory; where it tells nothing, memory is never short."""

    def __init__(self, *, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._cgroups = cgroups
        self._lock = threading.Lock()
        self.short = False

    def look(self, *, share: float, rss_bytes: int) -> bool:
        """Read how much is used; return whether ``short`` has changed by it.

        ``share`` of the container's limit (of the machine's memory where there is none) and ``rss_bytes`` of this
        process are the most that may be; 0 bytes mean no limit for the process.
        """
        with self._lock:
            used = max(self.used_share(), self.resident() / rss_bytes * share if rss_bytes else 0.0)
            short = used > (share - RELIEF if self.short else share)
            changed, self.short = short is not self.short, short
            return changed

    def resident(self) -> int:
        """Return the bytes of memory that this process holds."""
        fields = _text(self._proc / "self" / "statm").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0

    def used_share(self) -> float:
        """Return the share that is used of the tightest limit, or of the machine's memory where there is no limit."""
        return max(self._of_limits(), default=self._of_machine())

    def _of_limits(self) -> Iterator[float]:
        for folder in self._folders():
            limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
            if limit and used:
                yield (used - _field(folder / "memory.stat", "inactive_file")) / limit
        old = self._cgroups / "memory"
        limit, used = _number(old / "memory.limit_in_bytes"), _number(old / "memory.usage_in_bytes")
        if limit and used and limit < 1 << 60:
            yield (used - _field(old / "memory.stat", "total_inactive_file")) / limit

    def _folders(self) -> Iterator[Path]:
        """Yield the group of this process and those around it, any of which may have a limit."""
        line = next((each for each in _text(self._proc / "self" / "cgroup").splitlines() if each.startswith("0::")), "")
        own = self._cgroups / line.removeprefix("0::").lstrip("/")
        for folder in (own, *own.parents):
            if folder == self._cgroups or self._cgroups in folder.parents:
                yield folder

    def _of_machine(self) -> float:
        info = self._proc / "meminfo"
        total, free = _field(info, "MemTotal:"), _field(info, "MemAvailable:")
        return 1 - free / total if total else 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else 0


def _field(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name:
            return int(words[1])
    return 0
