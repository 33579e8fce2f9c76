"""The addresses that were cut out, answered by oscar's own views, once per key; the rest is there to be linked to."""

from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt
from oscar.core.loading import get_class

from router.idempotency.views import once
from tests.oscar.urls import urlpatterns as of_the_shop

PRODUCT = r"^catalogue/(?P<product_slug>[\w-]*)_(?P<product_pk>\d+)/reviews/"


def view(name: str) -> object:
    """Return one of oscar's views, taking effect once per idempotency key. The router has checked the CSRF token."""
    return csrf_exempt(once("reviews")(get_class("catalogue.reviews.views", name).as_view()))


def health(request: HttpRequest) -> HttpResponse:
    """Say that the service listens."""
    return HttpResponse("ok")


urlpatterns = [
    path("health/", health),
    path("health/ready/", health),
    re_path(rf"{PRODUCT}$", view("ProductReviewList")),
    re_path(rf"{PRODUCT}(?P<pk>\d+)/$", view("ProductReviewDetail")),
    re_path(rf"{PRODUCT}add/$", view("CreateProductReview")),
    re_path(rf"{PRODUCT}(?P<pk>\d+)/vote/$", view("AddVoteView")),
    *of_the_shop,
]
