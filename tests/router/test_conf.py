"""The setting is read lazily, typed, and says which value is wrong."""

from typing import Any

import pytest

from router.conf import (
    BreakerSettings,
    HoldSettings,
    ServiceSettings,
    ShadowSettings,
    StranglerSettings,
    Timeouts,
    conf,
    parse,
    unknown_keys,
)
from router.exceptions import ConfigurationError, UnknownService


def test_an_empty_setting_is_all_defaults() -> None:
    assert parse({}) == StranglerSettings()


def test_everything_that_can_be_set() -> None:
    raw = {
        "SERVICES": {
            "orders": {
                "UPSTREAMS": {"shared": "http://a", "own": "http://b"},
                "SECRET": "s",
                "TIMEOUTS": {"CONNECT": 1, "FIRST_BYTE": 2, "TOTAL": 3.5},
                "BREAKER": {"FAIL_MAX": 9, "FAILURE_RATE": 0.25},
            }
        },
        "SNAPSHOT_SOURCE": "a.B",
        "IDENTITY_RESOLVERS": ["a.b", "c.d"],
        "POLLER": False,
        "POLL_SECONDS": 5,
        "DEBUG_HEADERS": True,
        "SHADOW": {"WORKERS": 7, "REDACT": ["iban"]},
        "HOLD": {"MOST": 3},
    }

    assert parse(raw) == StranglerSettings(
        services={
            "orders": ServiceSettings(
                name="orders",
                upstreams={"shared": "http://a", "own": "http://b"},
                secret="s",
                timeouts=Timeouts(connect=1.0, first_byte=2.0, total=3.5),
                breaker=BreakerSettings(fail_max=9, failure_rate=0.25),
            )
        },
        snapshot_source="a.B",
        identity_resolvers=("a.b", "c.d"),
        poller=False,
        poll_seconds=5.0,
        debug_headers=True,
        shadow=ShadowSettings(workers=7, redact=("iban",)),
        hold=HoldSettings(most=3),
    )


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ([], r"STRANGLER is \[\]"),
        ({"SERVICES": []}, r"STRANGLER\['SERVICES'\]"),
        ({"SERVICES": {"orders": "http://x"}}, r"STRANGLER\['SERVICES'\]\['orders'\]"),
        ({"SERVICES": {"orders": {"UPSTREAMS": {"shared": 8101}}}}, r"\['UPSTREAMS'\]\['shared'\] is 8101"),
        ({"SERVICES": {"orders": {"SECRET": None}}}, r"\['SECRET'\] is None"),
        ({"SERVICES": {"orders": {"TIMEOUTS": {"CONNECT": "soon"}}}}, r"\['TIMEOUTS'\]\['CONNECT'\] is 'soon'"),
        ({"SERVICES": {"orders": {"TIMEOUTS": {"CONNECT": 0}}}}, "not a number above zero"),
        ({"SERVICES": {"orders": {"BREAKER": {"FAIL_MAX": 2.5}}}}, "not a whole number above zero"),
        ({"SERVICES": {"orders": {"BREAKER": {"FAIL_MAX": True}}}}, "not a whole number above zero"),
        ({"POLL_SECONDS": False}, r"STRANGLER\['POLL_SECONDS'\] is False"),
        ({"POLLER": "no"}, "Use True or False"),
        ({"IDENTITY_RESOLVERS": "a.b"}, "Use a list of texts"),
        ({"IDENTITY_RESOLVERS": [1]}, r"\['IDENTITY_RESOLVERS'\]\[0\] is 1"),
        ({"SNAPSHOT_SOURCE": 7}, "which is not text"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(raw: Any, where: str) -> None:
    with pytest.raises(ConfigurationError, match=where):
        parse(raw)


def test_unknown_keys_are_found_at_every_level() -> None:
    raw = {
        "SERVICE": {},
        "POLLER": False,
        "SHADOW": {"WORKER": 1},
        "HOLD": {"SECOND": 1},
        "SERVICES": {"orders": {"SECRT": "x", "NAME": "x", "TIMEOUTS": {"zzz": 1}}},
    }
    found = [(unknown.where, unknown.key, unknown.suggestion) for unknown in unknown_keys(raw)]

    assert found == [
        ("STRANGLER", "SERVICE", "SERVICES"),
        ("STRANGLER['SHADOW']", "WORKER", "WORKERS"),
        ("STRANGLER['HOLD']", "SECOND", "SECONDS"),
        ("STRANGLER['SERVICES']['orders']", "SECRT", "SECRET"),
        ("STRANGLER['SERVICES']['orders']", "NAME", None),
        ("STRANGLER['SERVICES']['orders']['TIMEOUTS']", "zzz", None),
    ]


@pytest.mark.parametrize("raw", [None, [], {"SERVICES": None}, {"SERVICES": {"orders": None}}])
def test_looking_for_unknown_keys_survives_any_shape(raw: object) -> None:
    assert list(unknown_keys(raw)) == []


def test_the_project_can_be_read_and_changes_are_seen(settings: Any) -> None:
    assert conf() is conf()
    assert "orders" in conf().services
    settings.STRANGLER = {"POLL_SECONDS": 9}
    assert conf().poll_seconds == 9.0
    settings.STRANGLER = {}
    assert conf() == StranglerSettings()


def test_settings_are_immutable() -> None:
    with pytest.raises(TypeError):
        conf().services["users"] = ServiceSettings(name="users")  # type: ignore[index]


def test_an_unknown_service_names_the_known_ones() -> None:
    with pytest.raises(UnknownService, match=r"'oders'.*Known: orders\."):
        conf().service("oders")
    with pytest.raises(UnknownService, match="Known: none"):
        StranglerSettings().service("orders")
