"""URLs of enrolment, included by hosts.urls; names are in the hosts namespace."""

from django.urls import path

from hosts import views_enrol as views

urlpatterns = [
    path("enrol/<uuid:enrolment_id>/script.sh", views.script, name="enrol-script"),
    path("enrol/<uuid:enrolment_id>/csr", views.csr, name="enrol-csr"),
    path("enrol/<uuid:enrolment_id>/ready", views.ready, name="enrol-ready"),
]
