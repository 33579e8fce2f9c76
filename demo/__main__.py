"""Show a shop's orders moving to a service and back under live traffic; see docs/demo.md."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from demo import cast, checks, evidence, homes, report, tables
from demo.broker import Broker
from demo.operator import AdminPages, OperatorError, Switches, Terminal
from demo.records import Log
from demo.run import Run
from demo.scenario import Act, story
from demo.site import ADMIN_NAME, ADMIN_PASSWORD, ROOT, Site
from demo.stack import OWN_STORE, Stack, StackError, check_ports, fresh_directory, run_quietly, running_stack
from demo.traffic import Traffic
from demo.waiting import Deadline, WaitedTooLong

DEFAULT_PORT_BASE = 8100
SETUP_SECONDS = 120.0
SEEDED = ("--orders", "3000")
"""Enough that a backfill can be watched."""
MIGRATE_OWN = (sys.executable, "-m", "extracted.orders", "migrate", "--verbosity", "0")
SLOW_THINKING = 2.0
"""Seconds a customer thinks between two requests once the story is told."""
LOG_LIMIT = 20_000
"""Requests remembered while everything is left running."""
SERVED = (
    ("storefront", "shop", "/"),
    ("admin", "shop", "/admin/"),
    ("JSON API", "shop", "/api/products/"),
    ("orders service", "orders", "/health/"),
    ("orders service on data of its own", "orders-own", "/health/ready/"),
    ("payment provider", "provider", "/v1/ledger"),
)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the story, with 0 only if every check held")
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="a purchase history in the CDNOW format, also gzipped"
    )
    parser.add_argument("--no-traffic", action="store_true", help="start everything and send nothing")
    parser.add_argument("--no-cut-over", action="store_true", help="leave out the acts in which owners change")
    parser.add_argument("--kill-owner", action="store_true", help="kill who moves and who owns the orders, on the way")
    parser.add_argument("--minutes", type=float, default=25.0, help="the run has failed after this long (default 25)")
    parser.add_argument("--seed", type=int, default=7, help="of the invented shop and of the customers' choices")
    parser.add_argument(
        "--port-base", type=int, default=DEFAULT_PORT_BASE, help=f"the shop's port (default {DEFAULT_PORT_BASE})"
    )
    parser.add_argument(
        "--own-database",
        default="",
        metavar="URL",
        help="an empty PostgreSQL database for the service's own store, of which the user is a superuser "
        "(default: an SQLite file)",
    )
    options = parser.parse_args(arguments)
    if options.own_database and not options.own_database.startswith(("postgresql://", "postgres://")):
        parser.error("--own-database takes postgresql://user:password@host:5432/name")
    return options


def main() -> int:
    """Run the demo and return its exit code."""
    options = parse()
    if options.data is not None and not options.data.is_file():
        print(f"demo: {options.data} is no file. --data takes a purchase history in the CDNOW format.", file=sys.stderr)
        return 2
    suffix = "" if options.port_base == DEFAULT_PORT_BASE else f"-{options.port_base}"
    site = Site(directory=ROOT / "var" / f"demo{suffix}", port_base=options.port_base, own_url=options.own_database)
    try:
        check_ports(site.ports)
        check_own_database(site)
        with fresh_directory(site.directory), running_stack(site) as stack:
            site.write_settings()
            return play(options, site, stack)
    except (StackError, OperatorError, WaitedTooLong) as error:
        print(f"\ndemo: {error}\nThe logs are in {site.directory}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; everything it started has been ended.", file=sys.stderr)
        return 130


def play(options: argparse.Namespace, site: Site, stack: Stack) -> int:
    """Set the shop up, tell the story, check, and go on or end."""
    deadline = Deadline(options.minutes * 60)
    log = Log()
    with report.Progress(log) as progress:
        set_up(options, site, stack, progress)
        if options.no_traffic:
            progress.say("everything is running")
        else:
            run, before = begin(options, site, stack, log, deadline, progress)
            tell(run, progress, story(cut_over=not options.no_cut_over, killed=options.kill_owner))
            progress.say("traffic has ended; settling what is open, delivering what is under way")
            evidence.settle(run)
    if options.no_traffic:
        return stay(site, stack, None)
    held = conclude(run, before, then_stay=not options.once)
    if options.once:
        return 0 if held else 1
    run.traffic.think_seconds = SLOW_THINKING
    run.traffic.start()
    return stay(site, stack, run)


def check_own_database(site: Site) -> None:
    """Raise StackError if the database that was given for the service's own store holds anything."""
    if not site.own_url:
        return
    try:
        there = homes.tables_of(site.own_url)
    except psycopg.OperationalError as error:
        raise StackError(f"The database given with --own-database cannot be had: {error}") from error
    if there:
        raise StackError(f"The database given with --own-database holds {there} tables. Give one that is empty.")


def set_up(options: argparse.Namespace, site: Site, stack: Stack, progress: report.Progress) -> None:
    """Create the database, fill it, and start every process."""
    log = site.directory / "setup.log"
    commands: list[tuple[str, ...]] = [
        ("migrate", "--verbosity", "0"),
        ("seed_shop", "--seed", str(options.seed), *SEEDED),
    ]
    if options.data is not None:
        commands.append(("load_history", str(options.data.resolve())))
    for command in commands:
        progress.say(f"manage.py {' '.join(command)}")
        run_quietly(site, site.manage(*command), log=log, seconds=SETUP_SECONDS)
    progress.say("python -m extracted.orders migrate --verbosity 0, in the store of its own")
    run_quietly(site, MIGRATE_OWN, log=log, seconds=SETUP_SECONDS, extra=OWN_STORE)
    progress.say(f"starting {', '.join(stack.programs)}")
    stack.start_all()


def begin(
    options: argparse.Namespace, site: Site, stack: Stack, log: Log, deadline: Deadline, progress: report.Progress
) -> tuple[Run, evidence.Before]:
    """Bring the customers in and start traffic; return the run, and how things stood before anybody bought."""
    histories = ("customer", "cdnow") if options.data is not None else ("customer",)
    players = cast.assemble(site, log, seed=options.seed, histories=histories)
    before = evidence.look_before(site)
    run = Run(
        site=site,
        stack=stack,
        log=log,
        traffic=Traffic(actors=players.actors, seed=options.seed),
        customers=players.customers,
        terminal=Terminal(site),
        admin=AdminPages(site.url("shop")),
        switches=Switches(site),
        broker=Broker(directory=site.broker),
        deadline=deadline,
        last_order_before=before.last_order,
        say=progress.say,
    )
    run.admin.login()
    progress.say(f"{len(players.customers)} customers, {len(players.others)} others come in")
    return run, before


def tell(run: Run, progress: report.Progress, acts: Sequence[Act]) -> None:
    """Play every act under traffic."""
    run.traffic.start()
    try:
        for act in acts:
            run.log.act = act.name
            progress.say(f"--> {act.title}")
            act.play(run)
    except (WaitedTooLong, OperatorError) as error:
        run.problem(f"the story ends here. {error}")
        progress.say(str(error))
    finally:
        run.log.act = "end"
        run.traffic.stop()


def conclude(run: Run, before: evidence.Before, *, then_stay: bool) -> bool:
    """Print report and checks, the line for scripts last, and return whether every check held."""
    found = evidence.gather(run, before)
    with tables.reading(run.site.database) as connection:
        counts, moves = tables.traffic_counts(connection), tables.breaker_moves(connection)
    results = checks.run_all(found, checks.Floors())
    print(report.summary(run.log, found, counts, moves, run.notes))
    print(report.verdicts(results))
    if then_stay:
        print(places(run.site))
    print(
        report.last_line(
            requests=found.requests,
            failed=len(found.failures),
            lost=len(checks.lost_altogether(found)),
            duplicated=len(checks.duplicated_altogether(found)),
            mismatched=len(checks.mismatched_altogether(found)),
            mails=len(found.effects.mails),
            bookings=len(found.effects.points),
            synced=found.synced.homes.own,
        ),
        flush=True,
    )
    return all(check.held for check in results)


def places(site: Site) -> str:
    """Return where to look now that everything is running."""
    rows = [(name, f"{site.url(process)}{path}") for name, process, path in SERVED]
    return "\n".join(
        [
            report.table("Running", ("what", "where"), rows),
            f"  log in as {ADMIN_NAME} with {ADMIN_PASSWORD}; customers as customer00001 with {cast.PASSWORD}",
            f"  logs and database: {site.directory}",
            f"  commands: {site.shell('manage.py phase status')}",
            f"            {site.shell('manage.py sync status orders')}",
            "  Ctrl-C ends everything",
        ]
    )


def stay(site: Site, stack: Stack, run: Run | None) -> int:
    """Leave everything running until Ctrl-C; fail if a process ends by itself."""
    if run is None:
        print(places(site), flush=True)
    try:
        while True:
            stack.check_alive()
            if run is not None:
                run.traffic.check()
                run.log.forget(LOG_LIMIT)
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("\ndemo: ended.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
