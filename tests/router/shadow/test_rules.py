"""What a route may declare, and what is refused where it is declared."""

import json
from decimal import Decimal
from typing import Any

import pytest

from router.comparing import IDS, SPACES, TIMES, TOKENS, RuleMistake, Rules, within, within_seconds, within_share
from router.comparing.paths import FieldPath, spelled
from router.routes import Route, Visitor
from router.shadow.compare import Answer, compare

pytestmark = pytest.mark.any_database
Headers = tuple[tuple[str, str], ...]


def answer(value: Any, headers: Headers = (), content_type: str = "application/json") -> Answer:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Answer(status=200, content_type=content_type, body=body, headers=headers)


def found(left: Any, right: Any, rules: Rules) -> list[tuple[str, str]]:
    return [(one.path, one.kind) for one in compare(answer(left), answer(right), rules)]


@pytest.mark.parametrize(
    ("rule", "left", "right", "same"),
    [
        (within("0.01"), 10, 10, True),
        (within("0.01"), "10.00", "10.01", True),
        (within("0.01"), "10.00", "10.02", False),
        (within("0.01"), "10.00", 10, False),
        (within("0.01"), True, 1, False),
        (within("0.01"), "ten", "ten.", False),
        (within(Decimal(1)), 10, 11, True),
        (within_share("0.1"), 100, 90, True),
        (within_share("0.1"), 100, 89, False),
        (within_seconds(2), "2026-01-01T00:00:00Z", "2026-01-01T00:00:02+00:00", True),
        (within_seconds(2), "2026-01-01T00:00:00Z", "2026-01-01T01:00:01+01:00", True),
        (within_seconds(2), "2026-01-01T00:00:00Z", "2026-01-01T00:00:02.5Z", False),
        (within_seconds(2), "2026-01-01T00:00:00Z", "2026-01-01T00:00:00", False),
        (within_seconds(2), 1_700_000_000, 1_700_000_002, True),
        (within_seconds(2), "soon", "now", False),
        (within_seconds(2), None, "2026-01-01T00:00:00Z", False),
    ],
)
def test_tolerances(rule: Any, left: Any, right: Any, same: bool) -> None:
    assert (found({"at": left}, {"at": right}, Rules(tolerances={"at": rule})) == []) is same


@pytest.mark.parametrize(
    ("rule", "left", "right", "same"),
    [
        (IDS, 7, 8, True),
        (IDS, 7, "8", False),
        (IDS, 7, None, False),
        (IDS, 7, 0, False),
        (IDS, "6f1c7f2e-31b0-4d1c-9b1e-7f4c2d9f0a11", "0a1b2c3d-31b0-4d1c-9b1e-7f4c2d9f0a11", True),
        (TIMES, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", True),
        (TIMES, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00", False),
        (TIMES, "2026-01-01T00:00:00Z", "yesterday", False),
        (TOKENS, "abcdefgh12", "zyxwvuts98", True),
        (TOKENS, "abcdefgh12", "", False),
        (SPACES, " a  b", "a b", True),
        (str.lower, "A", "a", True),
    ],
)
def test_normalisers(rule: Any, left: Any, right: Any, same: bool) -> None:
    assert (found({"v": left}, {"v": right}, Rules(normalise={"v": rule})) == []) is same


@pytest.mark.parametrize(
    ("rules", "right", "differences"),
    [
        (Rules(keyed={"r": "id"}), [{"id": 1, "t": 1}, {"id": 2, "t": 9}], [("r[id=2].t", "value")]),
        (Rules(keyed={"r": "id"}), [{"id": 2, "t": 2}, {"id": 1, "t": 1}], [("r", "order")]),
        (Rules(keyed={"r": "id"}, unordered=["r"]), [{"id": 2, "t": 2}, {"id": 1, "t": 1}], []),
        (Rules(keyed={"r": "id"}), [{"id": 2, "t": 2}], [("r[id=1]", "missing"), ("r", "length")]),
        (
            Rules(keyed={"r": "id"}),
            [{"id": "1", "t": 1}, {"id": 2, "t": 2}],
            [("r[id=1]", "missing"), ('r[id="1"]', "extra")],
        ),
        (Rules(unordered=["r"]), [{"id": 2, "t": 2}, {"id": 1, "t": 1}], []),
        (Rules(unordered=["r"]), [{"id": 2, "t": 3}, {"id": 1, "t": 1}], [("r[1].t", "value")]),
        (Rules(unordered=["r"], ignore=["r[].t"]), [{"id": 2, "t": 9}, {"id": 1, "t": 8}], []),
        (
            Rules(),
            [{"id": 2, "t": 2}, {"id": 1, "t": 1}],
            [(f"r[{n}].{name}", "value") for n in (0, 1) for name in ("id", "t")],
        ),
    ],
)
def test_arrays(rules: Rules, right: Any, differences: list[tuple[str, str]]) -> None:
    assert found({"r": [{"id": 1, "t": 1}, {"id": 2, "t": 2}]}, {"r": right}, rules) == differences


def test_tolerant_elements_find_the_most_partners_there_can_be() -> None:
    rules = Rules(unordered=["r"], tolerances={"r[]": within(1)})
    assert found({"r": [2, 1]}, {"r": [3, 2]}, rules) == []
    assert found({"r": [2, 3, 1]}, {"r": [4, 2, 2]}, rules) == []
    assert found({"r": [1, 1]}, {"r": [2, 3]}, rules) == [("r[1]", "value")]


def test_headers() -> None:
    rules = Rules(headers=["Vary", "X-Total"])
    left = answer({}, (("Vary", "Cookie, Accept"), ("X-Total", "3"), ("Server", "a")))
    right = answer({}, (("vary", "accept"), ("vary", "cookie"), ("x-total", "4"), ("Server", "b")))
    assert [one.path for one in compare(left, right, rules)] == ["(header x-total)"]
    assert [one.kind for one in compare(left, answer({}, (("vary", "Accept,Cookie"),)), rules)] == ["missing"]
    assert compare(left, right) == ()


@pytest.mark.parametrize(
    ("left", "right", "differences"),
    [
        ("<p class='a b'>x</p>", '<P  CLASS="b a">\n x </p>', []),
        ("<p>a &amp; b</p>", "<p>a &#38; b</p>", []),
        ("<script nonce=a>x</script>", "<script nonce=b>x</script>", []),
        ("<script>x</script>", "<script> x</script>", [("script.(text)", "value")]),
        ("<ul><li>1<li>2</ul>", "<ul><li>1<li>3</ul>", [("ul.li.li.(text)", "value")]),
        ("<ul><li>1</li><li>2</li></ul>", "<ul><li>1</li><li>3</li></ul>", [("ul.li[1].(text)", "value")]),
        ("<a href=/x>y</a>", "<a href=/z>y</a>", [("a.@href", "value")]),
        ("<a href=/x>y</a>", "<a>y</a>", [("a.@href", "missing")]),
        ("<h1>a</h1><p>b</p>", "<div>n</div><h1>a</h1><p>b</p>", [("div", "extra")]),
        ("<meta name=csrf-token content=a>", "<meta name=csrf-token content=b>", []),
    ],
)
def test_pages(left: str, right: str, differences: list[tuple[str, str]]) -> None:
    html = "text/html; charset=utf-8"
    sides = answer(left.encode(), content_type=html), answer(right.encode(), content_type=html)
    assert [(one.path, one.kind) for one in compare(*sides)] == differences


def test_rules_hold_for_pages_too() -> None:
    html = "text/html"
    sides = answer(b"<p data-id=1>x</p>", content_type=html), answer(b"<p data-id=2>y</p>", content_type=html)
    assert compare(*sides, Rules(ignore=["**.@data-id", "p.(text)"])) == ()


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"ignore": "total"}, "Use a list of texts"),
        ({"ignore": ["a[0].b"]}, "[] stands for all of them"),
        ({"ignore": ["a..b"]}, "'a..b' is no path"),
        ({"ignore": ["a."]}, "is no path"),
        ({"ignore": [""]}, ""),
        ({"ignore": ["a", "a"]}, "twice"),
        ({"ignore": ["a"], "keyed": {"a.b": "id"}}, "Take one out"),
        ({"ignore": ["**.b"], "tolerances": {"a.b": within(1)}}, "Take one out"),
        ({"tolerances": {"a": within(1)}, "normalise": {"a": IDS}}, "a tolerance and a normaliser"),
        ({"tolerances": {"a": 1}}, "within()"),
        ({"normalise": {"a": "IDS"}}, "a function of the value"),
        ({"keyed": {"a[]": "id"}}, "Name the array: 'a'"),
        ({"keyed": {"a": ""}}, "the name of a field"),
        ({"headers": ["Set-Cookie"]}, "secrets of its own"),
        ({"headers": ["a b"]}, "no name of a header"),
    ],
)
def test_mistakes_are_refused_where_they_are_declared(declared: dict[str, Any], says: str) -> None:
    if declared == {"ignore": [""]}:
        assert found(1, 2, Rules(ignore=["(body)"])) == []
        return
    with pytest.raises(RuleMistake) as raised:
        Rules(**declared)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: within(-1), "not a number above zero"),
        (lambda: within(0.1), 'within("0.1")'),
        (lambda: within("a"), "not a number above zero"),
        (lambda: within_share(1), "allows anything"),
        (lambda: within_seconds(0), "not a number above zero"),
    ],
)
def test_amounts_that_make_no_sense(make: Any, says: str) -> None:
    with pytest.raises(RuleMistake) as raised:
        make()
    assert says in str(raised.value)


@pytest.mark.parametrize("text", ["a.b", "a[].b", '["a b"].c', "(header etag)", "html.body.p.(text)", "a.@href", "*.x"])
def test_a_path_is_spelled_as_it_is_read(text: str) -> None:
    assert spelled(FieldPath.parse(text).steps).replace('["*"]', "*") == text


def test_recorded_ignores_win_over_what_is_declared_below_them() -> None:
    rules = Rules(tolerances={"a.b": within(1), "c": within(1)}, unordered=["a.d"], keyed={"a": "id"})
    joined = rules.also_ignoring(["a"])
    assert (set(joined.tolerances), joined.unordered, dict(joined.keyed)) == ({"c"}, (), {})
    assert rules.also_ignoring([]) is rules


def test_a_route_declares_them() -> None:
    rules = Rules(ignore=["etag"])
    route = Route(service="orders", name="list", pattern="/o/", key=Visitor(), compare=rules)
    assert route.compare is rules
    assert rules.describe() == ("etag is ignored",)
