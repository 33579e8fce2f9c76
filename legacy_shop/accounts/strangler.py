"""What the strangler toolkit has to know about accounts: what they do about events."""

from legacy_shop.accounts import loyalty

__all__ = ["loyalty"]
