"""The tests' own processes: waited for within bounds, ended with everything they started."""

import sys

import psutil
import pytest

from tests.processes import ProcessFailed, answers, free_port, start_process, wait_until

SERVE = "import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"
WITH_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"


def test_a_process_is_ready_when_it_answers_and_gone_after_the_block() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with start_process([sys.executable, "-c", SERVE.format(port=port)], ready_url=url) as process:
        assert answers(url)
        process.kill()
        assert not answers(url)
    assert not psutil.pid_exists(process.pid)


def test_children_end_with_their_parent() -> None:
    with start_process([sys.executable, "-c", WITH_CHILD]) as process:
        parent = psutil.Process(process.pid)
        wait_until(lambda: bool(parent.children()), "the child runs")
        child = parent.children()[0]
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child ended", 5)


def test_a_process_that_ends_early_says_why() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no configuration')"]
    with (
        pytest.raises(ProcessFailed, match=r"(?s)ended with 1 before it was ready.*no configuration"),
        start_process(command, ready_url="http://127.0.0.1:1/"),
    ):
        pytest.fail("It was never ready.")


def test_a_process_that_never_answers_is_ended() -> None:
    command = [sys.executable, "-c", "import time; print('thinking'); time.sleep(60)"]
    with (
        pytest.raises(ProcessFailed, match=r"(?s)not so after 1 s.*thinking"),
        start_process(command, ready_url="http://127.0.0.1:1/", timeout=1),
    ):
        pytest.fail("It was never ready.")
