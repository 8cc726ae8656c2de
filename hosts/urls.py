from django.urls import URLPattern, URLResolver

from hosts.urls_enrol import urlpatterns as enrolment

app_name = "hosts"
urlpatterns: list[URLPattern | URLResolver] = [*enrolment]
