"""Run for as long as asked: ``python -m tests.acceptance.chaos --minutes 5 --seed 3``; see docs/cutover.md."""

import argparse
import random
import sys
from pathlib import Path

import kombu

from tests.acceptance.chaos.house import House, house
from tests.acceptance.chaos.run import Run
from tests.postgres import postgres

RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
CUSTOMERS, THREADS, PACE = 40, 6, 0.1


def main() -> int:
    """Return 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="for how long things break (default 2)")
    parser.add_argument("--seed", type=int, help="of the schedule; printed, so that it can be repeated (default: any)")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--broker", default=RABBITMQ, help="a RabbitMQ, for PostgreSQL (default %(default)s)")
    parser.add_argument("--logs", type=Path, help="an empty folder in which logs and files stay")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10_000) if options.seed is None else options.seed
    say(f"seed {seed}, {options.minutes:g} minutes on {options.database}")
    if options.logs:
        options.logs.mkdir(parents=True, exist_ok=True)
    if options.database == "sqlite":
        with house(customers=CUSTOMERS, folder=options.logs) as found:
            return play(found, seed, options.minutes)
    with postgres() as server:
        if not server.url:
            say(f"No PostgreSQL: {server.why_not}. `--database sqlite` needs none.")
            return 2
        broker = options.broker if reachable(options.broker) else ""
        say(f"PostgreSQL: {server.origin}; " + (f"broker {broker}" if broker else "no RabbitMQ, so loops of commands"))
        with house(customers=CUSTOMERS, postgres_url=server.url, broker_url=broker, folder=options.logs) as found:
            return play(found, seed, options.minutes)


def play(found: House, seed: int, minutes: float) -> int:
    """Play one run and say how it ended."""
    run = Run(house=found, seed=seed, threads=THREADS, say=say, pace=PACE)
    wrong = run.play(minutes * 60)
    say(f"CHAOS seed={seed} minutes={minutes:g} {'FAILED: ' + ', '.join(wrong) if wrong else 'HELD'}")
    return 1 if wrong else 0


def reachable(url: str) -> bool:
    """Return whether a broker answers."""
    try:
        with kombu.Connection(url, connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
    except (OSError, kombu.exceptions.OperationalError):
        return False
    return True


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
