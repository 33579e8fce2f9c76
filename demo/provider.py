"""Simulate a payment provider: another process with its own ledger, idempotency keys and bad days.

Only the standard library is used, so that nothing it shares with the shop can make both agree by accident.
"""

import argparse
import hashlib
import json
import random
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

MAX_BODY = 64 * 1024  # bytes
MAX_KEY = 200  # characters
DECLINED_CARD = "tok_declined"
SCHEMA = """
CREATE TABLE IF NOT EXISTS movement (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    id TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL,
    card TEXT NOT NULL,
    reference TEXT NOT NULL,
    charge TEXT,
    status TEXT NOT NULL,
    reason TEXT,
    created_at REAL NOT NULL,
    PRIMARY KEY (kind, key)
)
"""
TEXTS = {"charge": ("currency", "card", "reference"), "refund": ("currency", "card", "reference", "charge")}


@dataclass(frozen=True, kw_only=True)
class Control:
    """How the provider behaves from now on."""

    latency_ms: int = 0
    """Waited before anything is done."""
    fail_rate: float = 0.0
    """Share of requests answered 500 before anything is done."""
    answer_late_rate: float = 0.0
    """Share of requests whose ledger row is written at once and whose answer comes late."""
    late_ms: int = 4000
    """How late such an answer is."""

    def changed(self, wanted: Mapping[str, Any]) -> "Control":
        """Return a control with the wanted fields changed, each checked."""
        known = asdict(self)
        for name, value in wanted.items():
            if name not in known:
                raise Refused(HTTPStatus.BAD_REQUEST, f"{name!r} is no control. Use {', '.join(known)}.")
            highest = 1 if name.endswith("_rate") else 600_000
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
                raise Refused(HTTPStatus.BAD_REQUEST, f"{name}={value!r} is not a number from 0 to {highest}.")
        return replace(self, **wanted)


@dataclass(frozen=True, kw_only=True)
class Movement:
    """A charge or a refund as it was asked for."""

    kind: str
    key: str
    amount_minor: int
    currency: str
    card: str
    reference: str
    charge: str | None
    fingerprint: str


class Refused(Exception):
    """The request is answered with an error and nothing is written."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Ledger:
    """The provider's book: one row per idempotency key, kept in a SQLite file of its own."""

    def __init__(self, path: Path | str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._closed = False
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=20)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(SCHEMA)

    def close(self) -> None:
        """Close the file; who comes later is refused."""
        with self._lock:
            self._closed = True
            self._db.close()

    def book(self, movement: Movement) -> dict[str, Any]:
        """Write the movement once and return its row; the same key again returns the first row."""
        with self._opened() as db, closing(db.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                row = self._find(cursor, movement.kind, movement.key) or self._insert(cursor, movement)
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
        if row["fingerprint"] != movement.fingerprint:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"Key {movement.key} was used with another body.")
        return row

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Return all movements of a kind, oldest first."""
        with self._opened() as db:
            found = db.execute("SELECT * FROM movement WHERE kind = ? ORDER BY rowid", (kind,)).fetchall()
        return [{name: row[name] for name in row.keys() if name not in {"kind", "fingerprint"}} for row in found]  # noqa: SIM118

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Have the file to oneself; what asks while the provider ends is told that nothing was done."""
        with self._lock:
            if self._closed:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "The provider is closing. Nothing was booked.")
            yield self._db

    def _find(self, cursor: sqlite3.Cursor, kind: str, key: str) -> dict[str, Any] | None:
        row = cursor.execute("SELECT * FROM movement WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return dict(row) if row else None

    def _insert(self, cursor: sqlite3.Cursor, movement: Movement) -> dict[str, Any]:
        reason = self._refund_reason(cursor, movement) if movement.kind == "refund" else self._charge_reason(movement)
        cursor.execute(
            "INSERT INTO movement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                movement.kind,
                movement.key,
                movement.fingerprint,
                f"{movement.kind[:2]}_{hashlib.sha256(movement.key.encode()).hexdigest()[:20]}",
                movement.amount_minor,
                movement.currency,
                movement.card,
                movement.reference,
                movement.charge,
                "failed" if reason else "succeeded",
                reason,
                time.time(),
            ),
        )
        row = self._find(cursor, movement.kind, movement.key)
        if row is None:
            raise RuntimeError(f"Movement {movement.key} is not in the ledger right after it was written.")
        return row

    def _charge_reason(self, movement: Movement) -> str | None:
        return "card_declined" if movement.card == DECLINED_CARD else None

    def _refund_reason(self, cursor: sqlite3.Cursor, movement: Movement) -> str | None:
        charge = self._find(cursor, "charge", movement.charge or "")
        if charge is None or charge["status"] != "succeeded":
            raise Refused(HTTPStatus.NOT_FOUND, f"No succeeded charge has the key {movement.charge}.")
        (refunded,) = cursor.execute(
            "SELECT COALESCE(SUM(amount_minor), 0) FROM movement"
            " WHERE kind = 'refund' AND charge = ? AND status = 'succeeded'",
            (movement.charge,),
        ).fetchone()
        return "refund_exceeds_charge" if refunded + movement.amount_minor > charge["amount_minor"] else None


def parse_movement(kind: str, key: str | None, body: Mapping[str, Any]) -> Movement:
    """Return the movement a request asks for, or refuse it with what is wrong."""
    if not key or len(key) > MAX_KEY:
        raise Refused(HTTPStatus.BAD_REQUEST, f"Idempotency-Key {key!r} is not 1 to {MAX_KEY} characters long.")
    amount = body.get("amount_minor")
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 < amount < 2**53:
        raise Refused(HTTPStatus.BAD_REQUEST, f"amount_minor={amount!r} is not a positive whole number.")
    for name in TEXTS[kind]:
        if not isinstance(body.get(name), str) or (not body[name] and name != "card"):
            raise Refused(HTTPStatus.BAD_REQUEST, f"{name}={body.get(name)!r} is not a text.")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return Movement(
        kind=kind,
        key=key,
        amount_minor=amount,
        currency=body["currency"],
        card=body["card"],
        reference=body["reference"],
        charge=body.get("charge"),
        fingerprint=hashlib.sha256(canonical.encode()).hexdigest(),
    )


class Handler(BaseHTTPRequestHandler):
    """Answer one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: "ProviderServer"
    kinds: ClassVar[dict[str, str]] = {"/v1/charges": "charge", "/v1/refunds": "refund"}

    def do_GET(self) -> None:
        """Answer the ledger, the control or the health."""
        try:
            if self.path == "/health":
                self._answer(HTTPStatus.OK, {"status": "ok"})
            elif self.path == "/control":
                self._answer(HTTPStatus.OK, asdict(self.server.control))
            elif self.path == "/v1/ledger":
                ledger = self.server.ledger
                self._answer(HTTPStatus.OK, {"charges": ledger.rows("charge"), "refunds": ledger.rows("refund")})
            else:
                raise Refused(HTTPStatus.NOT_FOUND, f"Nothing is at {self.path}.")
        except Refused as refusal:
            self._answer(refusal.status, {"detail": str(refusal)})

    def do_POST(self) -> None:
        """Book a charge or a refund, or change the control."""
        try:
            body = self._body()
            if self.path == "/control":
                self.server.control = self.server.control.changed(body)
                self._answer(HTTPStatus.OK, asdict(self.server.control))
            elif self.path in self.kinds:
                self._book(self.kinds[self.path], body)
            else:
                raise Refused(HTTPStatus.NOT_FOUND, f"Nothing is at {self.path}.")
        except Refused as refusal:
            self._answer(refusal.status, {"detail": str(refusal)})

    def _book(self, kind: str, body: Mapping[str, Any]) -> None:
        control = self.server.control
        self.server.pause(control.latency_ms)
        if random.random() < control.fail_rate:
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "The provider fails, as it was told to.")
        row = self.server.ledger.book(parse_movement(kind, self.headers.get("Idempotency-Key"), body))
        if random.random() < control.answer_late_rate:
            self.server.pause(control.late_ms)
        answer = {"id": row["id"], "status": row["status"]}
        if row["status"] == "succeeded":
            self._answer(HTTPStatus.OK, answer)
        else:
            self._answer(HTTPStatus.PAYMENT_REQUIRED, {**answer, "reason": row["reason"]})

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True
            raise Refused(HTTPStatus.BAD_REQUEST, f"Content-Length {length!r} is not a number up to {MAX_BODY}.")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}.") from error
        if not isinstance(body, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "The body is not a JSON object.")
        return body

    def _answer(self, status: HTTPStatus, data: Mapping[str, Any]) -> None:
        payload = json.dumps(data).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client gave up, which is what late answers are for

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet: the ledger is the log."""


class ProviderServer(ThreadingHTTPServer):
    """The provider, bound to its port; call serve_forever(), in a thread or in the foreground."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], ledger: Ledger) -> None:
        self.ledger = ledger
        self.control = Control()
        self._closing = threading.Event()
        super().__init__(address, Handler)

    @property
    def url(self) -> str:
        """Where the provider listens."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def pause(self, milliseconds: float) -> None:
        """Let a request wait, but never longer than the server lives."""
        if milliseconds:
            self._closing.wait(milliseconds / 1000)

    def server_close(self) -> None:
        """Stop listening, close the ledger and wake what waits: it is too late to book."""
        super().server_close()
        self.ledger.close()
        self._closing.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what a request died of, except for clients that hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve(port: int, ledger_path: Path | str, *, host: str = "127.0.0.1") -> ProviderServer:
    """Return a provider bound to the port (0 for a free one) that keeps its ledger in the file."""
    return ProviderServer((host, port), Ledger(ledger_path))


@contextmanager
def running(ledger_path: Path | str, *, port: int = 0) -> Iterator[ProviderServer]:
    """Run a provider in a thread of this process, for tests."""
    server = serve(port, ledger_path)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def main() -> int:
    """Run the provider until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m demo.provider", description=__doc__)
    parser.add_argument("--port", type=int, default=8109, help="where to listen on 127.0.0.1 (default 8109, 0: free)")
    parser.add_argument(
        "--ledger", type=Path, default=Path("var/provider.sqlite3"), help="the SQLite file of the ledger"
    )
    options = parser.parse_args()
    server = serve(options.port, options.ledger)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    print(f"payment provider on {server.url}, ledger in {options.ledger}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
