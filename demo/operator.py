"""The person who runs the migration: the commands, the admin's pages, and the trials' switches."""

import json
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import requests

from demo.forms import FormReader, read_page
from demo.site import ADMIN_NAME, ADMIN_PASSWORD, ROOT, Site

NO = "No"
YES = "Yes"


class OperatorError(Exception):
    """Something the operator did was refused."""


class Terminal:
    """Management commands of the real control plane, run as processes of their own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.log_path = site.directory / "commands.log"

    def run(self, *arguments: str, seconds: float) -> str:
        """Return what a command printed; raise OperatorError with all of it if it failed."""
        done = self.attempt(*arguments, seconds=seconds)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip().splitlines()[-3:]
            raise OperatorError(
                f"manage.py {' '.join(arguments)}: exit code {done.returncode}, {' / '.join(said)} "
                f"(all of it: {self.log_path})"
            )
        return done.stdout

    def attempt(self, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a command that may well be refused, and return what came of it."""
        shown = "manage.py " + " ".join(arguments)
        begun = time.monotonic()
        try:
            done = subprocess.run(
                self.site.manage(*arguments),
                cwd=ROOT,
                env=self.site.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            raise OperatorError(f"{shown}: not done after {seconds:.0f} s") from error
        with self.log_path.open("a") as log:
            took = time.monotonic() - begun
            log.write(f"$ {shown}   # exit {done.returncode}, {took:.1f} s\n{done.stdout}{done.stderr}\n")
        return done

    def json(self, *arguments: str, seconds: float) -> Any:
        """Return what a command says with --json."""
        return json.loads(self.run(*arguments, "--json", seconds=seconds))


class AdminPages:
    """The admin of the running shop, used over HTTP with its forms, as a person with a browser would."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.session = requests.Session()
        self.session.trust_env = False

    def login(self) -> None:
        """Log in by the admin's own form."""
        self._submit("/admin/login/?next=/admin/", {"username": ADMIN_NAME, "password": ADMIN_PASSWORD})

    def set_flag(self, name: str, everyone: str) -> None:
        """Save the flag with ``everyone`` as Yes or No (as the form's choice is called)."""
        self._save("/admin/router/flag/", name, {}, choices={"everyone": everyone})

    def set_switch(self, name: str, *, active: bool) -> None:
        """Save a waffle switch, on or off."""
        self._save("/admin/waffle/switch/", name, {"active": "on" if active else None})

    def _save(
        self,
        list_path: str,
        name: str,
        changes: Mapping[str, str | None],
        choices: Mapping[str, str] | None = None,
    ) -> None:
        """Change the row called ``name``, or add it if there is none."""
        links = self._page(list_path).links
        path = next((address for address, text in links if text == name and "/change/" in address), None)
        self._submit(path or f"{list_path}add/", {"name": name, **changes}, choices)

    def _page(self, path: str) -> FormReader:
        answer = self.session.get(self.base_url + path, timeout=10)
        if answer.status_code != 200:
            raise OperatorError(f"GET {path}: {answer.status_code} instead of the page")
        return read_page(answer.text)

    def _submit(self, path: str, changes: Mapping[str, str | None], choices: Mapping[str, str] | None = None) -> None:
        form = self._page(path).form(path)
        values: dict[str, str | None] = {**form.values, **changes}
        for field, wanted in (choices or {}).items():
            values[field] = next((value for value, text in form.options[field] if text.startswith(wanted)), None)
            if values[field] is None:
                raise OperatorError(f"{path}: {field} cannot be {wanted!r}, only {form.options[field]}")
        answer = self.session.post(
            self.base_url + path,
            data={field: value for field, value in values.items() if value is not None},
            headers={"Referer": self.base_url + path},
            timeout=10,
            allow_redirects=False,
        )
        if answer.status_code != 302:
            errors = [line.strip() for line in answer.text.splitlines() if "error" in line][:5]
            raise OperatorError(f"POST {path}: {answer.status_code} instead of a redirect. {errors}")


class Switches:
    """What makes service and provider slow or broken on purpose."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def service(self, **faults: float) -> None:
        """Replace the faults of the orders service; none given means healthy."""
        self._post(f"{self.site.url('orders')}/faults/", faults)

    def provider(self, **control: float) -> None:
        """Set how the payment provider behaves; none given means healthy."""
        healthy = {"latency_ms": 0, "fail_rate": 0.0, "answer_late_rate": 0.0}
        self._post(f"{self.site.url('provider')}/control", {**healthy, **control})

    def ledger(self) -> Any:
        """Return the provider's own book."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{self.site.url('provider')}/v1/ledger", timeout=10)
            answer.raise_for_status()
            return answer.json()

    @staticmethod
    def _post(url: str, body: Mapping[str, float]) -> None:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(url, json=dict(body), timeout=10)
        if answer.status_code != 200:
            raise OperatorError(f"POST {url} {dict(body)}: {answer.status_code} {answer.text[:300]}")
