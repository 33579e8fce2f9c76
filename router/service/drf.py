"""Authentication of a REST framework service behind the router."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from router.identity import HEADER, Identity
from router.service.middleware import IDENTITY_ATTRIBUTE
from router.service.users import ServiceUser


class SignedIdentityAuthentication(BaseAuthentication):
    """Accept whom the router vouches for. Cookies, tokens and headers of the client itself count for nothing."""

    challenge = "Token"
    """The WWW-Authenticate header of a 401; the monolith's own, so that clients see no difference."""

    def authenticate(self, request: Request) -> tuple[ServiceUser, Identity] | None:
        """Return the router's word, None for an anonymous client; refuse a request that has not come by the router."""
        identity: Identity | None = getattr(request._request, IDENTITY_ATTRIBUTE, None)
        if identity is None:
            raise AuthenticationFailed(f"This service answers only requests with a signed {HEADER} header.")
        if not identity.authenticated:
            return None
        return ServiceUser(identity), identity

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge that turns a refusal into a 401."""
        return self.challenge
