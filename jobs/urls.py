from django.urls import path

from jobs import pages

app_name = "jobs"
urlpatterns = [
    path("jobs/", pages.job_list, name="list"),
    path("jobs/tray/", pages.tray, name="tray"),
    path("jobs/<uuid:pk>/", pages.job_detail, name="job"),
    path("jobs/<uuid:pk>/cancel/", pages.cancel, name="cancel"),
]
