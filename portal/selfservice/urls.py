"""URLs of the portal's own pages; `/` and a VM's page are shared with the administration."""

from django.urls import path

from portal.selfservice import create, expiry, machine

app_name = "selfservice"
urlpatterns = [
    path("my/new/", create.new, name="new"),
    path("my/vms/<uuid:pk>/resize/", machine.resize, name="resize"),
    path("my/vms/<uuid:pk>/share/", machine.share, name="share"),
    path("my/vms/<uuid:pk>/unshare/", machine.unshare, name="unshare"),
    path("my/vms/<uuid:pk>/prolong/", expiry.prolong, name="prolong"),
    path("vms/<uuid:pk>/expiry/", expiry.set_expiry, name="expiry"),
]
