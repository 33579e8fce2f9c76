"""The addresses of the orders service; those of orders are the monolith's own."""

from django.conf import settings
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from extracted.orders import health
from extracted.orders.api import handover, internal, views
from extracted.orders.faults import faults_view

urlpatterns = [
    path("api/orders/", views.OrderListView.as_view()),
    path("api/orders/<int:order_id>/", views.OrderDetailView.as_view()),
    path("api/orders/<int:order_id>/cancel/", views.OrderCancelView.as_view()),
    path("api/orders/<int:order_id>/address/", views.OrderAddressView.as_view()),
    path("api/staff/orders/", views.StaffOrderListView.as_view()),
    path("api/staff/orders/<int:order_id>/", views.StaffOrderDetailView.as_view()),
    path("internal/orders/<int:order_id>/paid/", internal.PaidView.as_view()),
    path("internal/orders/<int:order_id>/expire/", internal.ExpireView.as_view()),
    path("internal/orders/<int:order_id>/charge/", internal.ChargeView.as_view()),
    path("internal/orders/<int:order_id>/settle/", internal.SettleView.as_view()),
    path("internal/resume/", internal.ResumeView.as_view()),
    path("internal/orders/sold-lines/", internal.SoldLinesView.as_view()),
    path("api/schema/", SpectacularAPIView.as_view(authentication_classes=[], permission_classes=[])),
    path("health/", health.live),
    path("health/ready/", health.ready),
]
if settings.OWN_STORE:
    urlpatterns += [
        path("strangler/sync/", include("migrations_plan.sync.wire.urls")),
        path("internal/events/take/", handover.TakeView.as_view()),
    ]
if settings.FAULTS:
    urlpatterns.append(path("faults/", faults_view))
