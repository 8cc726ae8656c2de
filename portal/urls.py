"""All URLs. Each app names its own; the access table in tests/ has a row for every one."""

from django.urls import include, path

urlpatterns = [
    path("", include("portal.pages.urls")),
    path("", include("portal.selfservice.urls")),
    path("", include("accounts.urls")),
    path("", include("hosts.urls")),
    path("", include("storage.urls")),
    path("", include("networks.urls")),
    path("", include("vms.urls")),
    path("", include("jobs.urls")),
    path("", include("events.urls")),
    path("", include("audit.urls")),
    path("", include("metrics.urls")),
    path("", include("lab.urls")),
    path("", include("api.urls")),
]

handler403 = "portal.pages.errors.forbidden"
handler404 = "portal.pages.errors.not_found"
