"""An unmodified django-oscar with the toolkit on top: its reviews move to a small service, and back.

Real processes over HTTP: oscar under gunicorn, the service under gunicorn, customers with cookie jars, and somebody
with the `phase` command. Nothing of oscar is changed; what was added stands in ``tests/oscar/project``.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psycopg
import pytest
import requests

from tests.oscar.backoffice import PASSWORD
from tests.processes import ROOT, UNTRACED, RunningProcess, free_port, gunicorn, start_process, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.any_database]

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
READERS = 10
POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")


@dataclass
class Oscar:
    """The running shop, and how to operate it."""

    backoffice: "subprocess.Popen[str]"
    url: str
    path: str
    """Of the product whose reviews move."""
    review: int
    users: list[int]
    service: "Callable[[], Any]"

    def manage(self, *arguments: str) -> str:
        """Run a management command of the shop."""
        return ordered(self.backoffice, *arguments)

    def count(self) -> dict[str, list[Any]]:
        """Return the reviews and votes in oscar's own tables."""
        return dict(json.loads(self.manage("count")))


def ordered(backoffice: "subprocess.Popen[str]", *arguments: str) -> str:
    """Have a command carried out, and return what it said; fail if it did."""
    assert backoffice.stdin
    assert backoffice.stdout
    backoffice.stdin.write(json.dumps(arguments) + "\n")
    backoffice.stdin.flush()
    code, said = json.loads(backoffice.stdout.readline())
    assert code == 0, said
    return str(said)


@contextmanager
def open_backoffice(env: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Run the operator's process, which is spared the start of a new one for each command."""
    command = [sys.executable, "-m", "tests.oscar.backoffice"]
    with subprocess.Popen(command, env=env, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@dataclass
class Reader:
    """A customer with a browser."""

    oscar: Oscar
    number: int
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False
        # The server ends a connection that was idle for two seconds, perhaps while the next request is on its way.
        self.session.headers["Connection"] = "close"

    def get(self, path: str) -> requests.Response:
        """Open a page."""
        return self.session.get(self.oscar.url + path, timeout=20)

    def post(self, path: str, page: str, **fields: Any) -> requests.Response:
        """Send the form of a page."""
        token = TOKEN.findall(self.get(page).text)[0]
        headers = {"Referer": self.oscar.url + page, **fields.pop("headers", {})}
        sent = {"csrfmiddlewaretoken": token, **fields}
        return self.session.post(self.oscar.url + path, sent, headers=headers, timeout=20, allow_redirects=False)

    def log_in(self) -> "Reader":
        """Come in by oscar's own form."""
        answer = self.post(
            "/accounts/login/",
            "/accounts/login/",
            **{
                "login-username": f"reader{self.number}@example.com",
                "login-password": PASSWORD,
                "login_submit": "Log In",
            },
        )
        assert answer.status_code == 302, answer.text
        return self

    def read(self) -> str:
        """Read the reviews; return who answered."""
        answer = self.get(f"{self.oscar.path}reviews/")
        assert (answer.status_code, ">Figs!</a>" in answer.text) == (200, True)
        return answer.headers["X-Strangler-Side"]

    def write(self, **more: Any) -> requests.Response:
        """Write a review of the product."""
        form = f"{self.oscar.path}reviews/add/"
        return self.post(form, form, title=f"By {self.number}", score="5", body="Good.", **more)

    def try_to_write(self) -> str:
        """Send a first review that says nothing, which nobody takes; return who refused it."""
        form = f"{self.oscar.path}reviews/add/"
        answer = self.post(form, form, title="", score="", body="")
        assert (answer.status_code, "This field is required" in answer.text) == (200, True)
        return answer.headers["X-Strangler-Side"]

    def vote(self) -> requests.Response:
        """Like the critic's review."""
        return self.post(f"{self.oscar.path}reviews/{self.oscar.review}/vote/", f"{self.oscar.path}reviews/", delta="1")


@contextmanager
def scratch_database(folder: Path) -> Iterator[str]:
    """Return the address of a database of the kind that is tested now, and drop it afterwards."""
    if os.environ.get("TEST_DATABASE", "sqlite") == "sqlite":
        file = folder / "oscar.sqlite3"
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        yield f"sqlite:///{file}"
        return
    name = f"test_oscar_{os.getpid()}"
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{POSTGRES.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def oscar(tmp_path: Path) -> Iterator[Oscar]:
    """Set the shop up and run it."""
    shop, service = free_port(), free_port()
    with scratch_database(tmp_path) as database:
        env = {
            **os.environ,
            **UNTRACED,
            "DJANGO_SETTINGS_MODULE": "tests.oscar.project.settings",
            "OSCAR_DATABASE_URL": database,
            "OSCAR_VAR": str(tmp_path),
            "REVIEWS_URL": f"http://127.0.0.1:{service}",
            "PYTHONWARNINGS": "ignore",
        }

        @contextmanager
        def reviews() -> Iterator[RunningProcess]:
            command = gunicorn("tests.oscar.service.wsgi", service, threads=4)
            with start_process(command, env, f"http://127.0.0.1:{service}/health/") as process:
                yield process

        with open_backoffice(env) as backoffice:
            made = json.loads(ordered(backoffice, "seed"))
            command = gunicorn("tests.oscar.project.wsgi", shop, threads=4)
            with start_process(command, env, f"http://127.0.0.1:{shop}/catalogue/"):
                yield Oscar(backoffice=backoffice, url=f"http://127.0.0.1:{shop}", service=reviews, **made)


def side_of(answer: requests.Response) -> str:
    return answer.headers["X-Strangler-Side"]


def advance(
    oscar: Oscar, to: str, readers: list[Reader], side: str, ask: Callable[[Reader], str] = Reader.read
) -> None:
    """Advance to a step, wait until the shop follows it, and let everybody ask once more: the next gate counts."""
    said = oscar.manage("phase", "advance", "reviews", "--to", to, "--wait", "20", "--reason", "trial")
    expected = {"legacy", "extracted"} if side == "both" else {side}
    wait_until(lambda: {ask(reader) for reader in readers} == expected, f"{side} answers at {to}: {said}", 15)
    assert {ask(reader) for reader in readers} == expected


def test_reviews_leave_oscar_and_come_back(oscar: Oscar) -> None:
    """The whole way, with everything that was acknowledged in oscar's tables, once."""
    readers = [Reader(oscar, number).log_in() for number in range(READERS)]
    stranger = Reader(oscar, 99)
    with oscar.service() as service:
        assert {reader.read() for reader in readers} == {"legacy"}
        advance(oscar, "shared.shadow", readers, "legacy")
        for _ in range(4):
            for reader in [*readers, stranger]:
                reader.read()
        advance(oscar, "shared.reads@50", readers, "both")
        report = json.loads(oscar.manage("shadow", "report", "reviews", "--json"))
        assert (report["mismatched"], report["matched"] >= 20) == (0, True), report
        nobody_writes_for_somebody_else(oscar, readers[0])
        advance(oscar, "shared.reads@100", [*readers, stranger], "extracted")
        assert side_of(readers[0].write()) == "legacy"
        advance(oscar, "shared.writes@50", readers[1:], "both", Reader.try_to_write)
        assert {side_of(reader.write()) for reader in readers[1:6]} == {"legacy", "extracted"}
        advance(oscar, "shared.writes@100", readers[6:], "extracted", Reader.try_to_write)
        everything_by_the_service(oscar, readers)
        service.kill()
        assert (side_of(readers[8].write()), readers[8].read()) == ("legacy", "legacy")
        assert side_of(readers[1].vote()) == "legacy"
    with oscar.service():
        wait_until(lambda: readers[2].read() == "extracted", "the service is asked again", 15)
        oscar.manage("phase", "rollback", "reviews", "--to", "monolith", "--reason", "trial")
        wait_until(lambda: {reader.read() for reader in readers} == {"legacy"}, "oscar answers alone", 15)
        assert side_of(readers[9].write()) == "legacy"
    found = oscar.count()
    owners = [owner for owner, title in found["reviews"] if title.startswith("By ")]
    assert sorted(owners) == sorted(oscar.users[:READERS])
    assert sorted(voter for voter, _, _ in found["votes"]) == sorted(oscar.users[:2])
    assert not [title for _, title in found["reviews"] if title == "forged"]


def everything_by_the_service(oscar: Oscar, readers: list[Reader]) -> None:
    """Write with keys, twice under one of them; vote, and be thanked on a page of the shop."""
    for reader in readers[6:8]:
        answer = reader.write(headers={"Idempotency-Key": f"review-{reader.number}"})
        assert (answer.status_code, side_of(answer)) == (302, "extracted")
    voted = readers[0].vote()
    assert (voted.status_code, side_of(voted)) == (302, "extracted")
    assert "Thanks for voting!" in readers[0].get(oscar.path).text  # said by the service, shown by the shop
    form = f"{oscar.path}reviews/{oscar.review}/vote/"
    token = TOKEN.findall(readers[1].get(f"{oscar.path}reviews/").text)[0]
    sent, headers = {"csrfmiddlewaretoken": token, "delta": "1"}, {"Idempotency-Key": "once"}
    answers = [
        readers[1].session.post(oscar.url + form, sent, headers=headers, timeout=20, allow_redirects=False)
        for _ in range(2)
    ]
    assert {(answer.status_code, answer.headers["Location"]) for answer in answers} == {(302, oscar.path)}
    assert answers[1].headers["Idempotency-Replayed"] == "true"


def nobody_writes_for_somebody_else(oscar: Oscar, reader: Reader) -> None:
    """CSRF and identity are the shop's, whichever side answers."""
    form, bare = f"{oscar.path}reviews/add/", {"title": "forged", "score": "5", "body": "x"}
    refused = reader.session.post(oscar.url + form, bare, timeout=20)
    forged = requests.post(oscar.url + form, bare, headers={"X-Strangler-Identity": "me"}, timeout=20)
    assert (refused.status_code, forged.status_code) == (403, 403)
