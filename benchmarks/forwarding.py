"""Forwarding: our middleware, django-revproxy and nginx in front of the same upstream, as ratios of one run."""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 1.2
ROUNDS = 2
CLIENTS = (1, 16)
THREADS = 16
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
NGINX_CONF = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream service {{ server 127.0.0.1:{upstream}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


@dataclass
class Target:
    """One address to ask, and what it did in each round, by number of clients."""

    name: str
    port: int
    path: str
    per_second: dict[int, list[float]] = field(default_factory=dict)
    median_us: dict[int, list[float]] = field(default_factory=dict)

    def rate(self, clients: int) -> float:
        """Return the median rate of all rounds."""
        return statistics.median(self.per_second[clients])


def measure(folder: Path) -> tuple[list[Target], list[str]]:
    """Start everything, ask everything in turn, and return the targets with notes on what is missing."""
    notes: list[str] = []
    with ExitStack() as stack:
        upstream = stack.enter_context(gunicorn("benchmarks.upstream:application", {}))
        site = stack.enter_context(django_site(folder, upstream))
        targets = [
            Target("the upstream itself", upstream, "/api/orders/"),
            Target("Django, forwarding nothing", site, "/itself/"),
            Target("our middleware", site, "/api/orders/"),
            Target("ours ahead of Django", site, "/api/public/"),
            Target("django-revproxy", site, "/revproxy/api/orders/"),
        ]
        if os.access(NGINX, os.X_OK):
            targets.insert(1, Target("nginx", stack.enter_context(nginx(folder, upstream)), "/api/orders/"))
        else:
            notes.append("nginx is not installed and was skipped")
        for target in targets:
            load(target, 1, 0.3)
            target.per_second.clear()
        for _ in range(ROUNDS):
            for clients in CLIENTS:
                for target in targets:
                    load(target, clients, SECONDS)
    return targets, notes


def load(target: Target, clients: int, seconds: float) -> None:
    """Ask one target for a while and note what came."""
    command = [sys.executable, "-m", "benchmarks.load", str(target.port), target.path, str(clients), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=30)
    found = json.loads(done.stdout)
    target.per_second.setdefault(clients, []).append(found["per_second"])
    target.median_us.setdefault(clients, []).append(found["median_us"])


@contextmanager
def django_site(folder: Path, upstream: int) -> Iterator[int]:
    """Run the benchmark's site in front of the upstream; its port."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "benchmarks.site_settings",
        "BENCH_DATABASE": str(folder / "site.sqlite3"),
        "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream}",
    }
    migrate = [sys.executable, "-m", "django", "migrate", "--verbosity", "0", "--skip-checks"]
    subprocess.run(migrate, cwd=ROOT, env={**os.environ, **environment}, check=True, timeout=60)
    with gunicorn("benchmarks.site_wsgi:application", environment) as port:
        yield port


@contextmanager
def gunicorn(application: str, environment: dict[str, str], *, nice: int = 0) -> Iterator[int]:
    """Run an application in one worker with threads; its port. A ``nice`` one lets others have the processor first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "gunicorn", application, "--threads", str(THREADS), "--log-level", "error"]
        command += ["--bind", f"fd://{listener.fileno()}", "--keep-alive", "30", "--graceful-timeout", "1"]
        command = ["nice", "-n", str(nice), *command] if nice else command
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, pass_fds=[listener.fileno()])
        with ended(process):
            yield int(listener.getsockname()[1])


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[int]:
    """Run nginx in front of the upstream; its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    conf = folder / "nginx.conf"
    conf.write_text(NGINX_CONF.format(folder=folder, upstream=upstream, port=port))
    with ended(subprocess.Popen([NGINX, "-c", str(conf), "-p", str(folder)])) as process:
        _wait_for(port, process)
        yield port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nginx does not listen on port {port}") from error
            time.sleep(0.02)


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End the process with the block."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
