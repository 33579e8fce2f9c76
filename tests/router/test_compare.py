"""Comparing answers, and what of a difference may be stored."""

import json
from typing import Any

import pytest

from router.comparing import Rules
from router.shadow.compare import PER_FIELD, Answer, Difference, compare
from router.shadow.redact import REDACTED, redact_difference, redact_path, redact_value

JSON = "application/json"


def answer(value: Any, *, status: int = 200, content_type: str = JSON) -> Answer:
    """Return an answer with a JSON body."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Answer(status=status, content_type=content_type, body=body)


def found(legacy: Any, extracted: Any, *ignore: str) -> list[tuple[str, str]]:
    """Return path and kind of each difference."""
    return [(item.path, item.kind) for item in compare(answer(legacy), answer(extracted), Rules(ignore=ignore))]


@pytest.mark.parametrize(
    ("legacy", "extracted", "differences"),
    [
        ({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", "value")]),
        ({"a": 1}, {"a": True}, [("a", "type")]),
        ({"a": 1}, {"a": "1"}, [("a", "type")]),
        ({"a": 1}, {"a": 1.0}, [("a", "type")]),
        ({"a": 1.10}, {"a": 1.1}, []),
        ({"a": None}, {}, [("a", "missing")]),
        ({}, {"a": None}, [("a", "extra")]),
        ({"a": None}, {"a": 0}, [("a", "type")]),
        ({"results": [{"total": "1.00"}]}, {"results": [{"total": "1.01"}]}, [("results[0].total", "value")]),
        ({"r": [1, 2]}, {"r": [1]}, [("r", "length")]),
        ({"r": [1, 2]}, {"r": [2, 1]}, [("r[0]", "value"), ("r[1]", "value")]),
        ([1], [2], [("[0]", "value")]),
        ([], {}, [("(body)", "type")]),
        ("a", "b", [("(body)", "value")]),
        ({"a b": {"c.d": 1}}, {"a b": {"c.d": 2}}, [('["a b"]["c.d"]', "value")]),
        ({"": 1}, {"": 2}, [('[""]', "value")]),
        ({"a": "\u00e4"}, {"a": "ae"}, [("a", "value")]),
    ],
)
def test_json(legacy: Any, extracted: Any, differences: list[tuple[str, str]]) -> None:
    assert found(legacy, extracted) == differences


def test_numbers_are_not_rounded() -> None:
    left, right = answer(b'{"a": 0.1000000000000000055}'), answer(b'{"a": 0.1}')
    assert [item.path for item in compare(left, right)] == ["a"]


def test_status_and_content_type() -> None:
    differences = compare(answer({}, status=404), answer({}, content_type="text/html"))
    assert [(item.path, item.legacy, item.extracted) for item in differences] == [
        ("(status)", 404, 200),
        ("(content type)", "application/json", "text/html"),
    ]


@pytest.mark.parametrize("spelled", ["application/json; charset=utf-8", "Application/JSON;charset=UTF-8"])
def test_the_spelling_of_a_content_type_does_not_matter(spelled: str) -> None:
    assert not compare(answer({}, content_type="application/json;charset=utf-8"), answer({}, content_type=spelled))


@pytest.mark.parametrize("content_type", ["text/plain", "image/png", "application/json", "text/html;charset=klingon"])
def test_what_is_no_json_is_compared_as_bytes(content_type: str) -> None:
    left = answer(b"<p>1", content_type=content_type)
    assert [item.path for item in compare(left, answer(b"<p>2", content_type=content_type))] == ["(body)"]
    assert not compare(left, left)


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        ("results[].id", ["results[0].at", "results[0].tags[0]", "count"]),
        ("results[]", ["count"]),
        ("results[].*", ["count"]),
        ("results", ["count"]),
        ("results[].tags", ["results[0].id", "results[0].at", "count"]),
        ("result", ["results[0].id", "results[0].at", "results[0].tags[0]", "count"]),
        ("id", ["results[0].id", "results[0].at", "results[0].tags[0]", "count"]),
    ],
)
def test_ignored_fields(ignore: str, left: list[str]) -> None:
    legacy = {"results": [{"id": 1, "at": "x", "tags": ["a"]}], "count": 1}
    extracted = {"results": [{"id": 2, "at": "y", "tags": ["b"]}], "count": 2}
    assert [path for path, _ in found(legacy, extracted, ignore)] == left


def test_differences_are_bounded() -> None:
    assert len(found(list(range(1000)), list(range(1, 1001)))) == PER_FIELD


def test_fields_are_added_up_without_positions() -> None:
    assert Difference(path="results[12].lines[3].sku", kind="value").field == "results[].lines[].sku"


class TestRedaction:
    @pytest.mark.parametrize(
        "path",
        [
            "card",
            "payment.card_number",
            "payment.card.brand",
            "results[3].Authorization",
            'headers["X-API-Key"]',
            "user.email",
            "resetToken",
            "newPassword",
            "ssn",
        ],
    )
    def test_values_under_sensitive_names(self, path: str) -> None:
        shown = redact_difference(Difference(path=path, kind="value", legacy="secret-1", extracted="secret-2"))
        assert "secret-" not in json.dumps(shown)
        assert (shown["legacy"], shown["extracted"]) == (REDACTED, REDACTED)

    def test_other_values_stay_readable(self) -> None:
        shown = redact_difference(Difference(path="results[0].total", kind="value", legacy="12.34", extracted=5))
        assert shown == {
            "path": "results[0].total",
            "field": "results[].total",
            "kind": "value",
            "legacy": "12.34",
            "extracted": 5,
        }

    def test_what_one_side_lacks_is_searched_too(self) -> None:
        value = {"id": 7, "payment": [{"card": "4111", "holder": "Ann"}]}
        shown = redact_difference(Difference(path="order", kind="missing", legacy=value))
        assert "4111" not in json.dumps(shown)
        assert "Ann" in shown["legacy"]
        assert shown["extracted"] is None

    @pytest.mark.parametrize(
        "text", ["4111 1111 1111 1111", "note: 4111-1111-1111-1111!", "5500005555555559", "write to ann@example.org"]
    )
    def test_what_looks_like_a_secret_anywhere(self, text: str) -> None:
        shown = redact_value(text)
        assert REDACTED in shown
        assert not {"4111", "5559", "ann@"} & set(shown.replace("[", " ").split())

    def test_a_card_number_as_a_number(self) -> None:
        assert redact_value(4111111111111111) == REDACTED

    @pytest.mark.parametrize("value", ["2026-01-02T03:04:05.678901Z", "12345", 123456, True, None, "3.14159265358979"])
    def test_harmless_values(self, value: object) -> None:
        assert redact_value(value) == value

    def test_long_values_are_cut(self) -> None:
        shown = redact_value("word " * 1000)
        assert len(shown) < 250
        assert shown.endswith("… (5000 characters)")

    def test_bytes_are_told_apart_and_not_shown(self) -> None:
        shown = redact_value(b"<html>secret</html>")
        assert shown.startswith("19 bytes, sha256 ")
        assert shown != redact_value(b"<html>Secret</html>")

    def test_names_from_the_settings(self) -> None:
        difference = Difference(path="customer.nickname", kind="value", legacy="x", extracted="y")
        assert redact_difference(difference, ("nick",))["legacy"] == REDACTED

    @pytest.mark.parametrize(
        ("path", "shown"),
        [
            ("/api/orders/?page=2", "/api/orders/?page=2"),
            ("/a?token=abc&page=2", "/a?token=[redacted]&page=2"),
            ("/a?q=ann@example.org", "/a?q=[redacted]"),
            ("/a", "/a"),
        ],
    )
    def test_query_parameters(self, path: str, shown: str) -> None:
        assert redact_path(path) == shown


class TestForms:
    """Django draws the token of a form differently each time; that is no difference."""

    FORM = b'<form><input type="hidden" name="csrfmiddlewaretoken" value="%b"><b>%b</b></form>'

    def page(self, token: bytes, text: bytes = b"same", content_type: str = "text/html; charset=utf-8") -> Answer:
        return Answer(status=200, content_type=content_type, body=self.FORM % (token, text))

    def test_tokens_alone_do_not_differ(self) -> None:
        assert compare(self.page(b"aB3"), self.page(b"xyz9")) == ()

    def test_what_stands_around_them_does(self) -> None:
        assert [found.path for found in compare(self.page(b"a", b"one"), self.page(b"b", b"two"))] == ["form.b.(text)"]

    def test_a_page_without_its_token_differs(self) -> None:
        bare = Answer(status=200, content_type="text/html; charset=utf-8", body=b"<form><b>same</b></form>")
        assert compare(self.page(b"a"), bare)

    def test_only_in_pages(self) -> None:
        plain = "text/plain"
        assert compare(self.page(b"a", content_type=plain), self.page(b"b", content_type=plain))
