"""Messages of the embedded broker appear whole or not at all."""

import threading
import uuid
from pathlib import Path

import pytest
from kombu import Connection
from kombu.exceptions import ChannelError

from migrations_plan.sync import embedded_broker


@pytest.fixture
def name() -> str:
    """A queue of its own for each test: kombu remembers per process which ones it has declared."""
    return f"work-{uuid.uuid4().hex}"


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    embedded_broker.register()
    folders = {"data_folder_in": "messages", "data_folder_out": "messages", "control_folder": "control"}
    for folder in set(folders.values()):
        (tmp_path / folder).mkdir()
    return Connection(
        "embedded://", transport_options={option: str(tmp_path / folder) for option, folder in folders.items()}
    )


def test_messages_arrive(connection: Connection, name: str) -> None:
    with connection, connection.SimpleQueue(name) as queue:
        for number in range(3):
            queue.put({"number": number})
        got = []
        while len(got) < 3:
            message = queue.get(timeout=5)
            message.ack()
            got.append(message.payload["number"])
    assert sorted(got) == [0, 1, 2]


def test_reader_never_sees_half_a_message(connection: Connection, name: str, tmp_path: Path) -> None:
    messages = tmp_path / "messages"
    seen: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.extend(path.stat().st_size for path in messages.glob("*.msg"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with connection, connection.SimpleQueue(name) as queue:
            for number in range(200):
                queue.put({"number": number, "padding": "x" * 2000})
    finally:
        done.set()
        watcher.join(10)
    assert len(list(messages.glob("*.msg"))) == 200
    assert seen
    assert min(seen) > 2000


def test_folder_that_is_not_there_is_a_channel_error(connection: Connection, name: str, tmp_path: Path) -> None:
    with connection, connection.SimpleQueue(name) as queue:
        (tmp_path / "messages").rmdir()
        with pytest.raises(ChannelError, match="Cannot add message"):
            queue.put({"number": 1})
