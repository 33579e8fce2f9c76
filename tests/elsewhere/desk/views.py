"""Plain Django views: JSON for the reading room's terminals, forms for its browsers."""

import json
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views import View
from django.views.decorators.csrf import ensure_csrf_cookie

from router.idempotency.views import once
from tests.elsewhere.desk.models import Loan

SCOPE = "loans"
MOST = 3
"""How many books one card is lent."""


def document(loans: Any) -> dict[str, Any]:
    """Return loans as the service writes them, too."""
    return {"loans": [loan.book for loan in loans], "title": gettext("Yes")}


@method_decorator(once(SCOPE), name="dispatch")
class MyLoans(View):
    """The visitor's loans, for the terminals."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Let in only who has logged in."""
        if not request.user.is_authenticated:
            raise PermissionDenied
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        """List them."""
        return JsonResponse(document(Loan.objects.filter(reader=request.user.pk)))

    def post(self, request: HttpRequest) -> HttpResponse:
        """Lend another book."""
        mine = Loan.objects.filter(reader=request.user.pk)
        loan = Loan.objects.create(reader=request.user.pk, book=json.loads(request.body)["book"])
        if mine.count() > MOST:
            return JsonResponse({"code": "too_many"}, status=503)
        return JsonResponse({"loan": str(loan.number)}, status=201)


@once(SCOPE)
def of_card(request: HttpRequest, card: str) -> HttpResponse:
    """List a card's loans, or lend it a book by a form."""
    loans = Loan.objects.filter(card=card)
    if request.method == "GET":
        return JsonResponse(document(loans))
    if loans.count() >= MOST:
        return HttpResponse("no more", status=409, content_type="text/plain")
    Loan.objects.create(card=card, book=request.POST["book"])
    return redirect("of-card", card=card)


def unguarded(request: HttpRequest) -> HttpResponse:
    """Lend a book in a view that knows nothing of keys, as most views of a monolith do."""
    Loan.objects.create(reader=request.user.pk, book=request.POST["book"])
    return JsonResponse({"ok": True}, status=201)


@sync_to_async
def _books(reader: Any) -> list[str]:
    return list(Loan.objects.filter(reader=reader).values_list("book", flat=True))


@transaction.non_atomic_requests(using="library")
@transaction.non_atomic_requests
async def later(request: HttpRequest) -> HttpResponse:
    """List the visitor's loans from an async view."""
    reader = await request.auser()
    return JsonResponse({"loans": await _books(reader.pk), "title": "later"})


@ensure_csrf_cookie
def token(request: HttpRequest) -> HttpResponse:
    """Hand out the CSRF cookie."""
    return HttpResponse()


def outside(request: HttpRequest) -> HttpResponse:
    """Answer what belongs to no service."""
    return JsonResponse({"outside": True})
