"""The wheel holds the toolkit and nothing else, and the page about installing it is true of a fresh project."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)
SERVICE = """
import os
SECRET_KEY = "s"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("django_strangler_fig-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the wheel where nothing else of ours is."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_the_wheel_holds_the_toolkit_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"router", "migrations_plan"}
    assert any(name.startswith("migrations_plan/templates/") for name in names)
    assert "router/migrations/0001_initial.py" in names
    assert "router/idempotency/migrations/0001_initial.py" in names


def blocks() -> dict[str, str]:
    """Return the files that the page shows, by name."""
    return dict(BLOCK.findall((ROOT / "docs" / "installing.md").read_text()))


def run(folder: Path, installed: Path, *arguments: str, settings: str) -> str:
    """Run a Django command in the project with the unpacked wheel, and return what it printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(folder), str(installed)]),
        "DJANGO_SETTINGS_MODULE": settings,
        "STRANGLER_SECRET_ORDERS": "x" * 40,
    }
    command = [sys.executable, "-P", "-m", "django", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


URLS = """
from django.urls import path
from orders.more_views import Address, cancel
from orders.views import place

urlpatterns = [
    path("orders/", place, name="orders"),
    path("orders/<int:order_id>/cancel/", cancel),
    path("orders/<int:order_id>/address/", Address.as_view()),
]
"""


@pytest.fixture
def project(tmp_path: Path, installed: Path) -> Path:
    """Start a project as Django makes them, and do what the page says."""
    (tmp_path / "orders").mkdir()
    for command in (["startproject", "shop_site", "."], ["startapp", "orders", "orders"]):
        without_settings = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        arguments = [sys.executable, "-P", "-m", "django", *command]
        subprocess.run(arguments, cwd=tmp_path, env=without_settings, check=True, timeout=60)
    settings = tmp_path / "shop_site" / "settings.py"
    shown = blocks()
    settings.write_text(f"import os\n{settings.read_text()}\n{shown['settings.py']}\nINSTALLED_APPS += ['orders']\n")
    (tmp_path / "orders" / "strangler.py").write_text(shown["strangler.py"])
    (tmp_path / "orders" / "views.py").write_text(shown["views.py"])
    (tmp_path / "orders" / "more_views.py").write_text(shown["more_views.py"])
    (tmp_path / "shop_site" / "urls.py").write_text(URLS)
    return tmp_path


def test_a_fresh_project_runs_by_the_page(project: Path, installed: Path) -> None:
    def manage(*arguments: str) -> str:
        return run(project, installed, *arguments, settings="shop_site.settings")

    manage("migrate", "--verbosity", "0")
    assert "no issues" in manage("check")
    assert "monolith" in manage("phase", "status", "orders")
    assert "legacy" in manage("route", "explain", "GET", "/orders/")
    script = (
        "from django.test import Client; c = Client(headers={'Idempotency-Key': 'k'});"
        "print([c.post('/orders/').status_code, c.post('/orders/').json(), c.post('/orders/', {'a': 1}).status_code])"
    )
    again = (
        "two = lambda path: [(a.status_code, a['Location'], 'Idempotency-Replayed' in a) for a in"
        " [Client(headers={'Idempotency-Key': path}).post(path) for _ in range(2)]];"
        "print(two('/orders/1/cancel/') == two('/orders/1/address/') =="
        " [(302, '/orders/', False), (302, '/orders/', True)])"
    )
    said = manage("shell", "--no-imports", "-c", f"from django.conf import settings; {ALLOW}; {script}; {again}")
    assert said.strip().splitlines()[-2:] == ["[201, {'order': 1}, 422]", "True"]


ALLOW = "settings.ALLOWED_HOSTS = ['*']"


def test_the_service_runs_by_the_page(tmp_path: Path, installed: Path) -> None:
    (tmp_path / "service_settings.py").write_text(SERVICE + blocks()["service_settings.py"])
    assert "no issues" in run(tmp_path, installed, "check", settings="service_settings")
