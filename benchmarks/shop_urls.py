"""A view as cheap as a view of the shop can be: it finds out who asks, and answers."""

from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class Orders(APIView):
    """Authenticate as the shop's API does."""

    def get(self, request: Request) -> Response:
        """Answer with the little there is."""
        return Response({"count": 0})


def elsewhere(request: HttpRequest) -> HttpResponse:
    """Answer a path that belongs to no route."""
    return HttpResponse("elsewhere")


urlpatterns = [path("api/orders/", Orders.as_view()), path("elsewhere/", elsewhere)]
