"""Keep profiles in step with users."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models.signals import post_save
from django.dispatch import receiver

from legacy_shop.accounts.models import Profile


@receiver(post_save, sender=settings.AUTH_USER_MODEL, dispatch_uid="accounts.create_profile")
def create_profile(sender: Any, instance: User, created: bool, raw: bool = False, **kwargs: Any) -> None:
    """Give every new user a profile; users made by bulk_create get theirs from whoever made them."""
    if created and not raw:
        Profile.objects.get_or_create(user=instance)
