"""The conformance checks: a side that keeps the protocol passes, and one that breaks a rule fails the check of it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrations_plan.sync.conformance import __main__ as command
from migrations_plan.sync.conformance import access, owning
from migrations_plan.sync.conformance import run as runner
from migrations_plan.sync.conformance.caller import Caller
from migrations_plan.sync.conformance.outcomes import Check, Failed, Finding, Verdict
from migrations_plan.sync.conformance.run import name_of, run
from migrations_plan.sync.conformance.samples import Sample, Unusable, read
from migrations_plan.sync.conformance.subject import Subject
from migrations_plan.sync.messages import State
from tests.migrations_plan.sync.wire.memory import MemorySide
from tests.migrations_plan.sync.wire.serving import AUDIENCE, SECRET, canned, reply, served
from tests.processes import ROOT

MAX_BODY = 50_000
SAMPLES = (
    Sample(key="7", bucket=3, data={"name": 'Ärmel "№5" / \u2028\x01 🎁', "amount": 1234}),
    Sample(key="12", bucket=64, data={"name": "", "amount": None}),
)

BROKEN = {
    "skip unless newer": {"same version skipped", "older version skipped", "no resurrection", "order in batch"},
    "versions outlive deletes": {"delete applied", "no resurrection", "created again"},
    "stale epoch refused": {"stale epoch refused"},
    "owner refuses": {"owner refuses"},
    "frozen refuses": {"frozen refuses"},
    "future parked": {"future version parked"},
    "misfits parked": {"unknown field parked", "missing field parked", "wrong type parked"},
    "applying marks nothing": {"applying marks nothing"},
    "apply leaves ownership": {"later epoch applied"},
    "results in order": {"order in batch"},
    "sorted keys": {"digest of every sample"},
    "UTF-8, not escapes": {"digest of every sample"},
    "documented sum": {"sum of entries"},
    "open below": {"range of keys"},
    "open ends": {"ranges cover all"},
    "a replica tells what it applied": {"versions of both kinds"},
    "epoch compared": {"change from wrong epoch"},
    "state compared": {"change from wrong state"},
    "again rises above": {"again rises"},
    "again not at a replica": {"again at replica"},
    "ack counts": {"acked is not sent"},
    "ack the gen sent": {"acked as sent"},
    "acked never above gen": {"acked never above"},
    "acked never falls": {"acked never falls"},
    "held waits": {"held waits"},
    "waiting counts what is held": {"held waits"},
    "strangers stay strangers": {"ack of strangers"},
    "a replica sends nothing": {"replica sends nothing"},
    "frozen sends": {"frozen sends"},
    "learning settles": {"learning settles"},
    "limit": {"limit kept"},
    "buckets judged": {"other bucket parked"},
    "keys judged": {"other key parked"},
    "gaps do not matter": {"newer version applied"},
    "what is gone may return": {"created again"},
    "deleting nothing counts": {"delete of nothing applied"},
    "deletes told": {"again of deleted"},
    "every bucket told": {"ownership of every bucket"},
    "digests tell who owns": {"digest says who owns"},
    "counted without detail": {"sum without entries"},
    "asked keys judged": {"digest of no key"},
    "strangers have no entry": {"digest of unknown key"},
    "looks where it is asked to": {"look into a bucket"},
    "fit to own": {"fit to own"},
    "documents by key": {"documents by key"},
    "rehearsals leave nothing": {"rehearsal leaves nothing"},
    "rehearsed at the owner": {"rehearsal at the owner"},
    "rehearsals are judged": {"rehearsal of what does not fit"},
}
"""By rule taken out: the checks that have to fail, among others perhaps."""


@pytest.fixture(autouse=True)
def small_bodies(wire_settings: Any) -> None:
    """Bound bodies so that those above the limit are sent quickly."""
    wire_settings(MAX_BODY_BYTES=MAX_BODY)


def findings(
    side: MemorySide, samples: tuple[Sample, ...] = SAMPLES, checks: Sequence[Check] = runner.CHECKS
) -> list[Finding]:
    """Return what the checks find at a side."""
    with served(side) as (peer, _):
        caller = Caller(peer.url, secret=SECRET, audience=AUDIENCE, aggregate="things")
        return list(run(caller, samples, max_body=MAX_BODY, checks=checks))


def failed(found: list[Finding]) -> set[str]:
    """Return the names of the checks that failed."""
    return {one.check for one in found if one.verdict is Verdict.FAILED}


@pytest.mark.parametrize("samples", [SAMPLES, SAMPLES[:1]], ids=["two documents", "one document"])
def test_a_side_that_keeps_the_protocol_passes(samples: tuple[Sample, ...]) -> None:
    found = findings(MemorySide(), samples)
    assert [(one.check, one.reason) for one in found if one.verdict is not Verdict.PASSED] == []
    assert len(found) == len(runner.CHECKS)


@pytest.mark.parametrize(("rule", "checks"), BROKEN.items(), ids=BROKEN)
def test_a_rule_that_is_broken_fails_its_checks(rule: str, checks: set[str]) -> None:
    found: list[Finding] = []
    with served(MemorySide(without={rule})) as (peer, _), suppress(Failed):  # it may not let itself be tidied up
        caller = Caller(peer.url, secret=SECRET, audience=AUDIENCE, aggregate="things")
        meant = [check for check in runner.CHECKS if name_of(check) in checks]
        for one in run(caller, SAMPLES, max_body=MAX_BODY, checks=meant):
            found.append(one)
    assert failed(found) == checks


def test_a_server_that_lets_everybody_in_fails_the_checks_of_access() -> None:
    buckets = MemorySide().ownership("things")
    answer = reply(200, msgspec.json.encode({"buckets": buckets, "done": True, "results": []}))
    with canned(answer) as peer:
        caller = Caller(peer.url, secret=SECRET, audience=AUDIENCE, aggregate="things")
        subject = Subject(caller, SAMPLES, max_body=MAX_BODY)
        refused = [check for check in access.CHECKS if check is not access.gzip_request]
        for check in refused:
            with pytest.raises(Failed):
                check(subject)
        with pytest.raises(Failed):
            owning.change_of_no_bucket(subject)


def test_every_check_is_failed_by_something() -> None:
    shown = set().union(*BROKEN.values()) | {name_of(check) for check in (*access.CHECKS, owning.change_of_no_bucket)}
    assert {name_of(check) for check in runner.CHECKS} - shown == {"applied", "empty batch", "change and back"}


def test_every_check_has_a_rule_of_one_line() -> None:
    rules = [(check.__doc__ or "").strip() for check in runner.CHECKS]
    assert all(rule and "\n" not in rule and rule.endswith(".") for rule in rules)
    assert len(set(rules)) == len(rules)


@pytest.mark.parametrize("state", State)
def test_ownership_is_left_as_it_was_found(state: State) -> None:
    side = MemorySide()
    side.owns[3] = (state, 9)
    before = dict(side.owns)
    assert failed(findings(side)) == set()
    assert side.owns == before
    assert side.rows == {}


def test_ownership_is_left_as_it_was_found_where_the_samples_cannot_be_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    side = MemorySide()
    before = dict(side.owns)
    monkeypatch.setattr("migrations_plan.sync.conformance.subject.Subject.leave", _cannot_leave)
    with pytest.raises(Failed, match="cannot"):
        findings(side)
    assert side.owns == before


def _cannot_leave(self: Any) -> None:
    raise Failed("it cannot be done")


def test_it_can_be_run_again_at_once() -> None:
    side = MemorySide()
    assert failed(findings(side)) == set()
    assert failed(findings(side)) == set()


def test_an_answer_of_no_known_form_fails_and_does_not_end_the_run() -> None:
    class Odd(MemorySide):
        def boundaries(self, aggregate: str, size: int) -> Any:
            return ("no range",)

    found = findings(Odd())
    assert failed(found) == {"ranges cover all"}
    assert "form that cannot be read" in next(one.reason for one in found if one.check == "ranges cover all")


# --- the command ----------------------------------------------------------------------------------------------
@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Return a file with the samples."""
    path = tmp_path / "things.json"
    path.write_text(json.dumps([{"key": one.key, "bucket": one.bucket, "data": one.data} for one in SAMPLES]))
    return path


def arguments(url: str, document: Path, *more: str) -> list[str]:
    """Return the command's arguments."""
    bound = ["--max-body", str(MAX_BODY)]
    given = ["--secret", SECRET, "--audience", AUDIENCE, "--aggregate", "things", "--document", str(document)]
    return [url, *given, *bound, *more]


def test_the_command_prints_a_table_and_ends_with_0(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(MemorySide()) as (peer, _):
        assert command.main(arguments(peer.url, document)) == 0
    printed = capsys.readouterr().out
    assert f"{len(runner.CHECKS)} passed, 0 failed, 0 skipped" in printed
    assert "pass  no resurrection" in printed


def test_the_command_ends_with_1_where_a_check_fails(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(MemorySide(without={"frozen sends"})) as (peer, _):
        assert command.main(arguments(peer.url.rstrip("/"), document, "--json")) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["passed"], report["failed"]) == (len(runner.CHECKS) - 1, 1)
    (wrong,) = [one for one in report["checks"] if one["verdict"] == "fail"]
    assert wrong["check"] == "frozen sends"
    assert "does not send" in wrong["reason"]


def test_the_command_ends_with_1_where_nobody_answers(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with canned(reply(200, b"{}")) as peer:
        pass
    assert command.main(arguments(peer.url, document)) == 1
    assert "ended early: ownership got no answer" in capsys.readouterr().out


def test_the_command_ends_with_1_where_the_secret_is_another(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(MemorySide()) as (peer, _):
        given = [one if one != SECRET else "another" * 8 for one in arguments(peer.url, document)]
        assert command.main(given) == 1
    assert "ended early: ownership answered 401" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("[]", "at least one"),
        ('{"key": "1", "bucket": 100, "data": {}}', "bucket"),
        ('{"key": "1", "data": {}}', "bucket"),
        ('[{"key": "1", "bucket": 1, "data": {}}, {"key": "1", "bucket": 2, "data": {}}]', "none twice"),
        ("{", "holds no"),
    ],
)
def test_a_file_that_holds_no_documents_is_refused(tmp_path: Path, content: str, wrong: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(content)
    with pytest.raises(Unusable, match=wrong):
        read(path)
    assert command.main(arguments("http://127.0.0.1:9/", path)) == 2


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert command.main(arguments("http://127.0.0.1:9/", tmp_path / "none.json")) == 2


def test_a_secret_is_asked_for(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNC_SECRET", raising=False)
    with pytest.raises(SystemExit) as ended:
        command.main(["http://127.0.0.1:9/", "--aggregate", "things", "--document", str(document)])
    assert ended.value.code == 2


def test_the_command_needs_no_django() -> None:
    program = (
        "import sys, migrations_plan.sync.conformance.__main__\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('django', 'router', 'legacy_shop')])"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "COV_", "COVERAGE"))}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
