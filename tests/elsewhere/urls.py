from django.contrib import admin
from django.urls import path

from tests.elsewhere.desk import views

urlpatterns = [
    path("mine/", views.MyLoans.as_view(), name="mine"),
    path("later/", views.later),
    path("cards/<slug:card>/", views.of_card, name="of-card"),
    path("unguarded/", views.unguarded),
    path("token/", views.token),
    path("outside/", views.outside),
    path("admin/", admin.site.urls),
]
