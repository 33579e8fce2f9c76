"""Log in and out, and keep an address book."""

from django.contrib.auth import login, logout
from django.db import transaction
from django.middleware.csrf import get_token
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.authtoken.models import Token
from rest_framework.authtoken.serializers import AuthTokenSerializer
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from legacy_shop.accounts.api_serializers import AddressSerializer, TokenSerializer, UserSerializer
from legacy_shop.accounts.models import Address
from legacy_shop.api_support import ShopAPIView


class LoginView(ShopAPIView):
    """Start a session. Only JSON is read, which no form on a foreign page can send."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(request=AuthTokenSerializer, responses=UserSerializer)
    def post(self, request: Request) -> Response:
        """Log in and set the cookies of the session and against forged requests."""
        credentials = AuthTokenSerializer(data=request.data, context={"request": request})
        credentials.is_valid(raise_exception=True)
        user = credentials.validated_data["user"]
        login(request._request, user)
        return Response({"id": user.pk, "username": user.get_username()})


class LogoutView(ShopAPIView):
    """End a session."""

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Log out."""
        logout(request._request)
        return Response(status=status.HTTP_204_NO_CONTENT)


class TokenView(ShopAPIView):
    """Hand out tokens to clients without cookies."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(request=AuthTokenSerializer, responses=TokenSerializer)
    def post(self, request: Request) -> Response:
        """Return the user's token, made when it is first asked for."""
        credentials = AuthTokenSerializer(data=request.data, context={"request": request})
        credentials.is_valid(raise_exception=True)
        token, _ = Token.objects.get_or_create(user=credentials.validated_data["user"])
        return Response({"token": token.key})


class CsrfView(ShopAPIView):
    """Set the cookie that cookie clients echo in X-CSRFToken."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(responses={204: None})
    def get(self, request: Request) -> Response:
        """Set the csrftoken cookie."""
        get_token(request._request)
        return Response(status=status.HTTP_204_NO_CONTENT)


class AddressesView(ShopAPIView):
    """The customer's address book."""

    @extend_schema(responses=AddressSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the entries, oldest first."""
        entries = Address.objects.filter(user=request.user).order_by("pk")
        return Response(AddressSerializer(entries, many=True).data)

    @extend_schema(request=AddressSerializer, responses={201: AddressSerializer})
    def post(self, request: Request) -> Response:
        """Add an entry; a new default takes the place of the old one."""
        entry = AddressSerializer(data=request.data)
        entry.is_valid(raise_exception=True)
        with transaction.atomic():
            if entry.validated_data.get("is_default"):
                Address.objects.filter(user=request.user, is_default=True).update(is_default=False)
            entry.save(user=request.user)
        return Response(entry.data, status=status.HTTP_201_CREATED)
