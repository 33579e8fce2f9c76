"""Shapes of the accounts API."""

from rest_framework import serializers

from legacy_shop.accounts.models import Address


class AddressSerializer(serializers.ModelSerializer):
    """An entry of the address book."""

    country = serializers.CharField(min_length=2, max_length=2)

    class Meta:
        model = Address
        fields = ("id", "name", "street", "city", "postcode", "country", "is_default")


class ShipToSerializer(serializers.Serializer):
    """Where a parcel goes."""

    name = serializers.CharField(max_length=120)
    street = serializers.CharField(max_length=200)
    city = serializers.CharField(max_length=100)
    postcode = serializers.CharField(max_length=20)
    country = serializers.CharField(min_length=2, max_length=2)


class UserSerializer(serializers.Serializer):
    """Who is logged in."""

    id = serializers.IntegerField()
    username = serializers.CharField()


class TokenSerializer(serializers.Serializer):
    """What an API client sends as ``Authorization: Token <key>``."""

    token = serializers.CharField()
