"""What is read about memory, from files as Linux writes them, and from those of this very machine."""

import os
from pathlib import Path

import pytest

from router.shadow.memory import Memory

MiB = 1 << 20


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.fixture
def linux(tmp_path: Path) -> Path:
    """A machine of 1,000 kB of which 400 are free, and a process in a group without a limit."""
    write(tmp_path / "proc", meminfo="MemTotal: 1000 kB\nMemFree: 5 kB\nMemAvailable: 400 kB")
    write(tmp_path / "proc" / "self", statm="900 100 50 1 0 1 0", cgroup="0::/pod/web")
    write(tmp_path / "cg" / "pod" / "web", memory__max="max", memory__current=50 * MiB, memory__stat="inactive_file 0")
    return tmp_path


def memory(linux: Path) -> Memory:
    return Memory(proc=linux / "proc", cgroups=linux / "cg")


def test_without_a_limit_the_machine_counts(linux: Path) -> None:
    assert memory(linux).used_share() == pytest.approx(0.6)


def test_the_tightest_limit_of_the_groups_around_counts_without_what_can_be_dropped(linux: Path) -> None:
    write(
        linux / "cg" / "pod", memory__max=100 * MiB, memory__current=95 * MiB, memory__stat=f"inactive_file {15 * MiB}"
    )
    assert memory(linux).used_share() == pytest.approx(0.8)
    write(linux / "cg" / "pod" / "web", memory__max=55 * MiB)
    assert memory(linux).used_share() == pytest.approx(50 / 55)


def test_the_older_kind_of_groups(linux: Path) -> None:
    write(linux / "cg" / "memory", memory__limit_in_bytes=10 * MiB, memory__usage_in_bytes=9 * MiB, memory__stat="x 1")
    assert memory(linux).used_share() == pytest.approx(0.9)


def test_where_nothing_is_told_memory_is_never_short(tmp_path: Path) -> None:
    nothing = Memory(proc=tmp_path, cgroups=tmp_path)
    assert not nothing.look(share=0.01, rss_bytes=1)
    assert not nothing.short


def test_short_above_the_share_and_no_longer_only_well_below_it(linux: Path) -> None:
    found = memory(linux)

    def at(used: int) -> tuple[bool, bool]:
        write(linux / "cg" / "pod" / "web", memory__max=100 * MiB, memory__current=used * MiB, memory__stat="x 0")
        return found.look(share=0.9, rss_bytes=0), found.short

    assert [at(used) for used in (89, 91, 88, 84, 89)] == [
        (False, False),
        (True, True),
        (False, True),
        (True, False),
        (False, False),
    ]


def test_a_limit_for_the_process(linux: Path) -> None:
    found, held = memory(linux), 100 * os.sysconf("SC_PAGE_SIZE")
    assert found.resident() == held
    told = [(found.look(share=0.9, rss_bytes=limit), found.short) for limit in (held - 1, held, held * 2)]
    assert told == [(True, True), (False, True), (True, False)]


def test_this_machine_tells() -> None:
    real = Memory()
    assert real.resident() > 10 * MiB
    assert 0 < real.used_share() < 1.5
