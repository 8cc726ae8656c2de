from django.urls import path

from lab import pages

app_name = "lab"
urlpatterns = [path("templates/build-debian/", pages.build_debian, name="build-debian")]
