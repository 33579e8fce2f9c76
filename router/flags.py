"""Read flags, kill switches and forced breakers from the database, whoever changed them and however."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from waffle import get_waffle_switch_model

from router import registry
from router.conf import conf
from router.limits import CHANNELS, KILL_ALL, flag_name, kill_switch
from router.models import BreakerOverride, Flag
from router.snapshot import FlagRule, Forced


@dataclass(frozen=True, kw_only=True)
class Steering:
    """What people have set by hand."""

    flags: Mapping[str, FlagRule]
    killed: frozenset[str]
    breakers_forced: Mapping[tuple[str, str], Forced]


def steered_services() -> frozenset[str]:
    """Return every service that flags may steer: those with settings and those with routes."""
    return frozenset({*conf().services, *registry.services()})


def flag_names(services: Iterable[str]) -> list[str]:
    """Return the names of the flags that steer these services."""
    return [flag_name(service, channel) for service in services for channel in CHANNELS]


def load(using: str) -> Steering:
    """Read everything with five small queries, past waffle's cache."""
    services = steered_services()
    switches = [KILL_ALL, *map(kill_switch, services)]
    active = get_waffle_switch_model().objects.using(using).filter(active=True, name__in=switches)
    forced = BreakerOverride.objects.using(using).values_list("service", "store", "state")
    return Steering(
        flags=_rules(flag_names(services), using),
        killed=frozenset(active.values_list("name", flat=True)),
        breakers_forced={(service, store): cast(Forced, state) for service, store, state in forced},
    )


def _rules(names: list[str], using: str) -> dict[str, FlagRule]:
    flags = list(Flag.objects.using(using).filter(name__in=names))
    members = _members([flag.pk for flag in flags], using)
    return {
        flag.name: FlagRule(
            name=flag.name,
            everyone=flag.everyone,
            percent=flag.percent,
            users=frozenset(members.get(flag.pk, ())),
            superusers=flag.superusers,
            staff=flag.staff,
            authenticated=flag.authenticated,
        )
        for flag in flags
    }


def _members(flags: list[int], using: str) -> Mapping[int, set[str]]:
    """Return the users of each flag, those of its groups among them."""
    members: dict[int, set[str]] = defaultdict(set)
    if not flags:
        return members
    user = f"{_column_of_users()}_id"
    named = Flag.users.through._default_manager.using(using).filter(flag_id__in=flags)
    for flag, pk in named.values_list("flag_id", user):
        members[flag].add(str(pk))
    grouped = groups_of_users()
    if grouped is not None:
        by_group = get_user_model()._base_manager.using(using).filter(**{f"{grouped}__flag__in": flags})
        for flag, pk in by_group.values_list(f"{grouped}__flag", "pk"):
            members[flag].add(str(pk))
    return members


def _column_of_users() -> str:
    """Return what the flags' table of users calls a user: Django names it for the project's model."""
    field: Any = Flag._meta.get_field("users")
    return str(field.m2m_reverse_field_name())


def groups_of_users() -> str | None:
    """Return the name of the user model's field of groups; None for a model whose users are in none."""
    for field in get_user_model()._meta.many_to_many:
        if field.related_model is Group:
            return field.name
    return None
