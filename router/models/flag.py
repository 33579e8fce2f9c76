"""Flags that steer by bucket, and breakers held by hand."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.http import HttpRequest
from waffle.models import AbstractUserFlag

from router.buckets import bucket
from router.conf import conf
from router.limits import CHANNELS, flag_name


class Flag(AbstractUserFlag):
    """A waffle flag whose percentage means buckets: the same people each time, no dice and no cookie.

    Named ``<service>.reads``, ``<service>.writes`` or ``<service>.shadow`` it steers a service, inside of what the
    service's plan allows. Under any other name it is an ordinary flag.
    """

    percent = models.PositiveSmallIntegerField(  # type: ignore[assignment]  # waffle declares a decimal below 100
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text=(
            "How many of the 100 buckets are in, 0 to 100. Each customer is in one bucket and stays there: a larger "
            "number adds customers and moves nobody back. The step of the plan may allow less."
        ),
    )

    class Meta(AbstractUserFlag.Meta):
        abstract = False
        constraints = (
            models.CheckConstraint(
                condition=models.Q(percent__isnull=True) | models.Q(percent__lte=100), name="flag_percent_of_100"
            ),
        )

    def clean(self) -> None:
        """Refuse a name that looks like it steers a service and does not."""
        super().clean()
        service, _, channel = self.name.rpartition(".")
        if service in conf().services and channel not in CHANNELS:
            valid = ", ".join(flag_name(service, known) for known in CHANNELS)
            raise ValidationError({"name": f"{self.name!r} steers nothing. The flags of {service} are {valid}."})

    @property
    def salt(self) -> str:
        """Return what its buckets are salted with: the service it steers, else its own name."""
        service, _, channel = self.name.rpartition(".")
        return service if service and channel in CHANNELS else self.name

    def is_active(self, request: HttpRequest, read_only: bool = False) -> bool | None:
        """Answer for ``request.user`` by bucket; the router itself never asks here, it decides on the snapshot."""
        if not self.pk:
            return super().is_active(request, read_only)
        if self.everyone is not None:
            return self.everyone
        user: Any = getattr(request, "user", None) or AnonymousUser()
        if self._is_active_for_language(request) or self.is_active_for_user(user):
            return True
        percent = self.percent or 0
        if user.pk is None:
            return percent >= 100
        return bucket(self.salt, str(user.pk)) < percent


class BreakerOverride(models.Model):
    """The breaker of one upstream, held open or closed by hand."""

    class State(models.TextChoices):
        """What the breaker is held at."""

        OPEN = "open", "open: the service is never called"
        CLOSED = "closed", "closed: the service is always called"

    service = models.CharField(max_length=100, help_text="A service of STRANGLER['SERVICES'].")
    store = models.CharField(max_length=40, default="shared", help_text="Which upstream of the service.")
    state = models.CharField(max_length=6, choices=State, help_text="Delete the row to let the breaker decide again.")
    note = models.CharField(max_length=200, blank=True, help_text="Why, for whoever finds it.")
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("service", "store"), name="one_override_per_upstream"),)

    def __str__(self) -> str:
        return f"{self.service}/{self.store} held {self.state}"

    def clean(self) -> None:
        """Refuse an upstream that does not exist."""
        known = conf().services
        if self.service not in known:
            valid = ", ".join(sorted(known)) or "none"
            raise ValidationError({"service": f"There is no service {self.service!r}. Known: {valid}."})
        if self.store not in known[self.service].upstreams:
            valid = ", ".join(sorted(known[self.service].upstreams)) or "none"
            raise ValidationError({"store": f"{self.service} has no upstream {self.store!r}. Known: {valid}."})
