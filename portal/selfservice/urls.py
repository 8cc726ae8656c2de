"""URLs of the portal's own pages; `/` and a VM's page are shared with the administration."""

from django.urls import path

from portal.selfservice import create

app_name = "selfservice"
urlpatterns = [
    path("my/new/", create.new, name="new"),
]
