"""The page about safety names what exists: each test, and each place in the product."""

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_database

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "safety.md").read_text()
TESTS = sorted(set(re.findall(r"`([\w/]+\.py)::([\w:]+)(?:\[([\w-]+)\])?`", PAGE)))
PLACES = sorted(set(re.findall(r"`([\w/]+\.py):(\w+)`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and ".py" in line]
Definition = ast.ClassDef | ast.FunctionDef


def source(path: str, folder: str) -> str:
    """Return the text of a file that is named from the root, or from the folder where most are."""
    found = [one for one in (ROOT / path, ROOT / folder / path) if one.exists()]
    assert found, f"There is no {path}, nor one in {folder}."
    return found[0].read_text()


def definition(of: ast.Module, names: list[str]) -> list[Definition]:
    """Return the classes and the function that names lead to, from outside in."""
    way: list[Definition] = []
    for name in names:
        inside = way[-1].body if way else of.body
        found = [one for one in inside if isinstance(one, Definition) and one.name == name]
        assert found, f"There is no {name} in {'::'.join(one.name for one in way) or 'the module'}."
        way.append(found[-1])
    return way


@pytest.mark.parametrize(("path", "name", "case"), TESTS, ids=["::".join(filter(None, one)) for one in TESTS])
def test_the_tests_exist(path: str, name: str, case: str) -> None:
    text = source(path, "tests/migrations_plan/sync")
    way = definition(ast.parse(text), name.split("::"))
    decorators = [ast.unparse(one) for part in way for one in part.decorator_list]
    assert way[-1].name.startswith("test_")
    assert not case or any("parametrize" in one for one in decorators)
    assert [word for word in case.split("-") if not re.search(rf"\b{word}\b", text)] == []


@pytest.mark.parametrize(("path", "name"), PLACES, ids=["::".join(one) for one in PLACES])
def test_the_places_exist(path: str, name: str) -> None:
    assert re.search(rf"^(?:class |def )?{name}\b", source(path, "migrations_plan/sync"), re.MULTILINE)


def test_every_row_names_a_place_and_two_tests() -> None:
    assert len(ROWS) > 30
    for row in ROWS:
        cells = row.strip("| ").split(" | ")
        assert [cell.count("::") > 0 for cell in cells[-4:]] == [False, True, True, False], row
        assert cells[-1].startswith(("both", "PostgreSQL", "SQLite"))
