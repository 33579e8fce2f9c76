"""Ask one address as fast as it answers, in a process of its own: ``benchmarks.load PORT PATH CLIENTS SECONDS``."""

import json
import socket
import sys
import threading
import time

from benchmarks.upstream import BODY


def ask(port: int, path: str, until: float, latencies: list[float]) -> None:
    """Send one request after the other on one connection; fail on any answer that is not the upstream's."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n\r\n".encode()
    sock = _connect(port)
    while (started := time.perf_counter()) < until:
        sock.sendall(request)
        data = sock.recv(65_536)
        while not data.endswith(BODY):
            part = sock.recv(65_536)
            if not part:
                raise ConnectionError(f"port {port} closed the connection after {data[:200]!r}")
            data += part
        if not data.startswith(b"HTTP/1.1 200"):
            raise ValueError(f"port {port} answered {data[:200]!r}")
        latencies.append(time.perf_counter() - started)
        if b"connection: close" in data[:400].lower():
            sock.close()
            sock = _connect(port)
    sock.close()


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def main(port: int, path: str, clients: int, seconds: float) -> None:
    """Run the clients and print what they measured as JSON."""
    results: list[list[float]] = [[] for _ in range(clients)]
    started = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(port, path, started + seconds, result)) for result in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    latencies = sorted(latency for result in results for latency in result)
    if any(not result for result in results):
        sys.exit(f"port {port} {path}: not every client got an answer")
    median = latencies[len(latencies) // 2]
    print(json.dumps({"per_second": len(latencies) / elapsed, "median_us": median * 1e6}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
