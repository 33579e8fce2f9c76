"""The public site: JSON API, admin, storefront."""

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver

admin.site.site_header = "Figtree back office"
admin.site.site_title = "Figtree"
admin.site.index_title = "Shop and migration"

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/", include("legacy_shop.urls_api")),
    path("admin/", admin.site.urls),
    path("", include("legacy_shop.storefront.urls")),
]
if settings.SERVE_STATIC:
    urlpatterns.insert(0, path("static/<path:path>", serve, {"insecure": True}))
