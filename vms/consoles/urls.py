"""URLs of consoles, included by vms.urls under `vms/<uuid:vm_id>/`."""

from django.urls import path

from vms.consoles import views

urlpatterns = [
    path("console/", views.console, name="console"),
    path("console/state/", views.state, name="console-state"),
    path("console/ticket/", views.ticket, name="console-ticket"),
    path("thumbnail.png", views.thumbnail, name="thumbnail"),
]
