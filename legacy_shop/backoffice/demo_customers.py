"""Make many customers at once, each with what a real sign-up would have left behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.utils.crypto import salted_hmac
from rest_framework.authtoken.models import Token

from legacy_shop.accounts.models import Address, Profile

DEMO_PASSWORD = "demo-password"
BATCH = 5_000

TOWNS = (
    ("Portland", "97205"), ("Austin", "73301"), ("Madison", "53703"), ("Boulder", "80302"), ("Asheville", "28801"),
    ("Savannah", "31401"), ("Ithaca", "14850"), ("Santa Fe", "87501"), ("Duluth", "55802"), ("Burlington", "05401"),
)  # fmt: skip
STREETS = ("Maple", "Cedar", "Market", "Orchard", "Harbor", "Mill", "Chestnut", "Station", "Meadow", "Fig")


@dataclass(frozen=True, kw_only=True, slots=True)
class Newcomer:
    """A customer to be made."""

    username: str
    first_name: str
    last_name: str
    joined: datetime
    home: int
    """Picks street and town, so that the same customer always lives at the same place."""

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}"


def token_key(username: str, *, namespace: str) -> str:
    """Return the API token of a made-up customer: the same each time, and not to be guessed without the secret key."""
    return salted_hmac(f"legacy_shop.demo_token.{namespace}", username, algorithm="sha256").hexdigest()[:40]


def create_customers(newcomers: Sequence[Newcomer], *, namespace: str) -> tuple[list[User], list[Address]]:
    """Insert users with profile, token and address; return users and addresses in the order of ``newcomers``."""
    password = make_password(DEMO_PASSWORD)  # hashed once: hashing each would take an hour and prove nothing
    users = User.objects.bulk_create(
        [
            User(
                username=new.username,
                first_name=new.first_name,
                last_name=new.last_name,
                email=f"{new.username}@example.com",
                password=password,
                date_joined=new.joined,
            )
            for new in newcomers
        ],
        batch_size=BATCH,
    )
    Profile.objects.bulk_create([Profile(user=user) for user in users], batch_size=BATCH)
    Token.objects.bulk_create(
        [Token(user=user, key=token_key(user.username, namespace=namespace)) for user in users],
        batch_size=BATCH,
    )
    addresses = Address.objects.bulk_create(
        [_home(new, user) for new, user in zip(newcomers, users, strict=True)], batch_size=BATCH
    )
    return users, addresses


def _home(newcomer: Newcomer, user: User) -> Address:
    city, postcode = TOWNS[newcomer.home % len(TOWNS)]
    street = STREETS[newcomer.home // len(TOWNS) % len(STREETS)]
    return Address(
        user=user,
        name=newcomer.full_name,
        street=f"{newcomer.home % 997 + 1} {street} Street",
        city=city,
        postcode=postcode,
        country="US",
        is_default=True,
    )
