"""What a route derives from its declaration, and where its key comes from."""

import inspect
import uuid
from typing import Any

import pytest

from router.routes import Asked, FromBody, FromPath, KeySource, Kind, Lookup, Route, Scatter, Visitor


def route(**values: Any) -> Route:
    return Route(**{"service": "orders", "name": "r", "pattern": "/x/", "key": Visitor(), **values})


@pytest.mark.parametrize(
    ("methods", "kind"),
    [
        (("GET",), Kind.READ),
        (("GET", "OPTIONS"), Kind.READ),
        (("HEAD",), Kind.READ),
        (("POST",), Kind.WRITE),
        (("GET", "POST"), Kind.WRITE),
        (("DELETE",), Kind.WRITE),
    ],
)
def test_kind_follows_from_the_methods(methods: tuple[str, ...], kind: Kind) -> None:
    assert route(methods=methods).kind is kind


def test_kind_can_be_given() -> None:
    assert route(methods=("POST",), kind=Kind.READ).kind is Kind.READ


@pytest.mark.parametrize(
    ("given", "methods"),
    [(("get",), {"GET", "HEAD"}), ("POST", {"POST"}), (["PATCH", "put"], {"PATCH", "PUT"}), ({"HEAD"}, {"HEAD"})],
)
def test_methods_are_upper_case_and_get_brings_head(given: Any, methods: set[str]) -> None:
    assert set(route(methods=given).methods) == methods


def test_the_origin_is_where_it_was_declared() -> None:
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    declared = Route(service="orders", name="r", pattern="/x/")

    assert declared.origin == f"{__file__}:{line}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Visitor(), "42"),
        (FromPath("customer"), 7),
        (FromPath("missing"), None),
        (FromPath("flag"), None),
        (FromBody("customer"), 8),
        (FromBody("ref"), "abc"),
        (FromBody("empty"), None),
        (FromBody("nested"), None),
        (FromBody("float"), None),
        (Lookup(lambda customer, **_: customer + 1), 8),
        (Lookup(lambda **_: None), None),
        (Scatter(), None),
    ],
)
def test_keys(source: KeySource, expected: object) -> None:
    body = {"customer": 8, "ref": "abc", "empty": "", "nested": {"a": 1}, "float": 1.5}
    asked = Asked(subject="42", arguments={"customer": 7, "flag": True}, body=lambda: body)

    assert route(key=source).partition_key(asked) == expected


def test_a_body_that_is_no_object_has_no_key() -> None:
    assert FromBody("customer").find(Asked(arguments={})) is None


def test_uuids_are_keys() -> None:
    key = uuid.uuid4()

    assert FromPath("id").find(Asked(arguments={"id": key})) == key


def test_only_a_body_key_parses_the_body() -> None:
    def body() -> None:
        raise AssertionError("the body was parsed")

    asked = Asked(subject="42", arguments={"id": 1}, body=body)
    for source in (Visitor(), FromPath("id"), Scatter(), Lookup(lambda id: id)):
        source.find(asked)
    with pytest.raises(AssertionError, match="the body was parsed"):
        FromBody("id").find(asked)


def test_a_route_without_a_key_has_none() -> None:
    assert route(key=None).partition_key(Asked(subject="42", arguments={})) is None


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Visitor(), "the visitor"),
        (FromPath("id"), "<id> in the path"),
        (FromBody("id"), '"id" in the body'),
        (Lookup(inspect.currentframe), "inspect.currentframe()"),
        (Scatter(), "many owners"),
    ],
)
def test_key_sources_describe_themselves(source: KeySource, text: str) -> None:
    assert source.describe() == text


def test_only_lookups_cost_a_query() -> None:
    sources = (Visitor(), FromPath("id"), FromBody("id"), Scatter(), Lookup(lambda: None))

    assert [source.queries for source in sources] == [0, 0, 0, 0, 1]


def test_text_names_what_it_answers() -> None:
    assert str(route(name="detail", methods=("GET",))) == "orders.detail (GET, HEAD /x/)"
