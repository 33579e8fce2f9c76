from django.conf.urls.i18n import i18n_patterns
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def exempt(request: HttpRequest) -> HttpResponse:
    """Answer terminals, which have no cookies."""
    return HttpResponse()


urlpatterns = i18n_patterns(path("exempt/", exempt))
