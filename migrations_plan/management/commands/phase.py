"""Show and move the services along their plans."""

import getpass
import json
import os
import shutil
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from migrations_plan import api, pages, plan_registry
from migrations_plan.errors import PlanError
from migrations_plan.moves import Move
from migrations_plan.plan import Plan
from migrations_plan.runs import Orders, Progress, Ran
from migrations_plan.state import Direction


class Command(BaseCommand):
    """Parse, call the public API, print. Exit code 0 done, 1 refused or failed, 2 usage."""

    help = "Show where each service stands, and move it along its plan, step by step, there and back."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions and what each takes."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        status = actions.add_parser("status", help="where each service stands: requested, effective, evidence, next")
        status.add_argument("service", nargs="?")
        plan = self._add(actions, "plan", "what advancing (or rolling back) would do; runs nothing")
        plan.add_argument("--rollback", action="store_true", help="show the way back")
        advance = self._add(actions, "advance", "take steps until the target or the first gate that does not pass")
        advance.add_argument(
            "--wait", type=float, default=0.0, metavar="SECONDS", help="keep measuring so long, in all"
        )
        advance.add_argument("--override-gate", action="append", default=[], metavar="NAME", help="needs --reason")
        rollback = self._add(actions, "rollback", "undo steps until the target")
        pause = self._add(actions, "pause", "forbid advancing; rolling back stays possible")
        resume = self._add(actions, "resume", "allow advancing again")
        history = self._add(actions, "history", "who did what, when, why, on which evidence")
        history.add_argument("--limit", type=int, metavar="N", help="the newest N lines only")
        for one, default in ((plan, "the plan's end"), (advance, "the plan's end"), (rollback, "one step back")):
            one.add_argument(
                "--to", metavar="STEP", help=f"a step, or a group's end (shared.reads); default: {default}"
            )
        for one in (advance, rollback, pause, resume):
            one.add_argument("--actor", default=None, help="who history names; default: the user of the system")
            one.add_argument("--reason", default="", help="why, for history")
        for one in (status, plan, advance, rollback, pause, resume, history):
            one.add_argument("--json", action="store_true", help="for machines")

    @staticmethod
    def _add(actions: Any, name: str, text: str) -> ArgumentParser:
        parser: ArgumentParser = actions.add_parser(name, help=text)
        parser.add_argument("service")
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the action; turn what it refuses into an exit code."""
        self.json: bool = options["json"]
        self.width = shutil.get_terminal_size((120, 24)).columns
        action: Callable[[dict[str, Any]], None] = getattr(self, f"_{options['action']}")
        try:
            action(options)
        except PlanError as problem:
            if self.json:
                self._write_json({"done": False, "error": type(problem).__name__, "detail": str(problem)})
            raise CommandError(str(problem), returncode=problem.exit_code) from problem

    def _status(self, options: dict[str, Any]) -> None:
        names = (options["service"],) if options["service"] else api.services()
        statuses = [api.status(name) for name in names]
        if options["service"]:
            coming = api.way_home(statuses[0])
            document = statuses[0].as_json() | {"homecoming": [asdict(one) for one in coming]}
            self._show(document, pages.one(statuses[0], self.width, coming))
        else:
            services = [status.as_json() for status in statuses]
            self._show({"services": services}, pages.overview(statuses, self.width))

    def _plan(self, options: dict[str, Any]) -> None:
        direction = api.direction_to(options["service"], options["to"])
        if options["rollback"]:
            direction = Direction.BACKWARDS
        target = self._target(options) if direction is Direction.FORWARDS else options["to"]
        found = api.plan_moves(options["service"], target, direction)
        coming = api.homecomings(options["service"], found)
        plan = plan_registry.plan_of(options["service"])
        document = self._moves_json(plan, found) | {"homecoming": [asdict(one) for one in coming]}
        self._show(document, pages.moves(found, self.width, plan, coming))

    def _advance(self, options: dict[str, Any]) -> None:
        orders = Orders(
            actor=options["actor"] or system_user(),
            reason=options["reason"],
            overrides=frozenset(options["override_gate"]),
            wait=options["wait"],
        )
        self._finish(api.advance(options["service"], self._target(options), orders, self._progress))

    def _rollback(self, options: dict[str, Any]) -> None:
        self._finish(api.rollback(options["service"], options["to"], self._orders(options), self._progress))

    def _pause(self, options: dict[str, Any]) -> None:
        state = api.pause(options["service"], self._orders(options))
        self._show({"done": True, "paused": True, "step": state.step}, f"{state.service} is paused at {state.step}.")

    def _resume(self, options: dict[str, Any]) -> None:
        state = api.resume(options["service"], self._orders(options))
        self._show(
            {"done": True, "paused": False, "step": state.step}, f"{state.service} may advance from {state.step}."
        )

    def _history(self, options: dict[str, Any]) -> None:
        lines = api.history(options["service"], options["limit"])
        document = {"service": options["service"], "history": [line.as_json() for line in lines]}
        self._show(document, pages.history(lines, self.width))

    def _finish(self, result: Ran) -> None:
        self._clear_line()
        self._show(result.as_json(), pages.ran(result))
        if result.stop is not None:
            if not self.json:
                self.stdout.write(pages.stopped(result.service, result.stop, self.width))
            raise CommandError(pages.stopped_line(result.service, result.stop), returncode=1)

    def _progress(self, progress: Progress) -> None:
        if self.json:
            return
        if not self.stderr.isatty():
            (self.stderr if progress.passing else self.stdout).write(progress.text)
            return
        self._clear_line()
        if progress.passing:
            self.stderr.write(progress.text[: self.width - 1], str, ending="")
        else:
            self.stdout.write(progress.text)

    def _clear_line(self) -> None:
        if self.stderr.isatty() and not self.json:
            self.stderr.write("\r\033[K", str, ending="")

    def _show(self, document: dict[str, Any], text: str) -> None:
        if self.json:
            self._write_json(document)
        else:
            self.stdout.write(text)

    def _write_json(self, document: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(document, indent=2))

    @staticmethod
    def _target(options: dict[str, Any]) -> str:
        """Return where to go forwards: without a target as far as the gates let it."""
        return options["to"] or api.last_step(options["service"])

    @staticmethod
    def _orders(options: dict[str, Any]) -> Orders:
        return Orders(actor=options["actor"] or system_user(), reason=options["reason"])

    @staticmethod
    def _moves_json(plan: Plan, found: tuple[Move, ...]) -> dict[str, Any]:
        end = plan.point_of_no_return
        return {
            "service": plan.service,
            "moves": [move.as_json() for move in found],
            "point_of_no_return": end.name if end else None,
        }


def system_user() -> str:
    """Return the name of the system's user, or the number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
