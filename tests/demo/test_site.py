"""Where the demo lives, and how a person's shell gets there."""

import stat
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from demo.__main__ import check_own_database, parse
from demo.site import ROOT, Site
from demo.stack import OWN_STORE, StackError, programs
from legacy_shop.celery import app


def test_every_process_has_a_port_of_its_own(tmp_path: Path) -> None:
    site = Site(directory=tmp_path, port_base=9000)
    assert len(set(site.ports.values())) == len(site.ports)
    assert {program.name for program in programs(site)} == {*site.ports, "celery", "celery-sync"}


def test_the_service_runs_twice_on_two_stores(tmp_path: Path) -> None:
    site = Site(directory=tmp_path)
    stores = {
        program.name: {**site.environment(), **program.extra}["ORDERS_STORE"]
        for program in programs(site)
        if program.name.startswith("orders")
    }
    assert stores == {"orders": "shared", "orders-own": "own"}
    assert OWN_STORE["ORDERS_FAULTS"] == "0"


def test_the_own_store_is_a_file_unless_a_database_is_given(tmp_path: Path) -> None:
    assert Site(directory=tmp_path).own_database_url == f"sqlite:///{tmp_path}/orders.sqlite3"
    given = "postgresql://somebody@db/orders"
    assert Site(directory=tmp_path, own_url=given).environment()["ORDERS_OWN_DATABASE_URL"] == given
    assert parse(["--own-database", given]).own_database == given


def test_only_postgresql_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--own-database", "mysql://somewhere"])
    assert "--own-database takes postgresql://" in capsys.readouterr().err


def test_a_database_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    check_own_database(Site(directory=tmp_path))
    with pytest.raises(StackError, match="given with --own-database cannot be had"):
        check_own_database(Site(directory=tmp_path, own_url="postgresql://nobody@127.0.0.1:1/nothing"))


def test_a_shell_sees_the_settings_and_nobody_else_does(tmp_path: Path) -> None:
    site = Site(directory=tmp_path / "a place")
    site.directory.mkdir()
    site.write_settings()
    assert stat.S_IMODE(site.settings_file.stat().st_mode) == 0o600
    command = site.shell('-c \'import os; print(os.environ["SYNC_SECRET_ORDERS"], os.environ["SHOP_VAR"])\'')
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == f"{site.sync_secret} {site.directory}"


def test_workers_take_every_queue_and_sync_has_one_of_its_own(tmp_path: Path) -> None:
    workers = [program.command for program in programs(Site(directory=tmp_path)) if "celery" in program.name]
    main, sync = (set(command[command.index("--queues") + 1].split(",")) for command in workers)
    assert main | sync == {queue.name for queue in settings.CELERY_TASK_QUEUES}
    assert sync == {app.amqp.router.route({}, "strangler_sync.relay")["queue"].name}
    assert main >= {app.amqp.router.route({}, "payments.settle_open_payments")["queue"].name}


def test_beat_looks_after_sync_each_second() -> None:
    schedule = {entry["task"]: entry for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert schedule["strangler_sync.sweep"]["schedule"] == 1.0
    assert schedule["strangler_sync.sweep"]["options"] == {"expires": 5.0}
    assert "strangler_sync.purge" in schedule
