from django.urls import path

from portal.pages import dashboard, search

app_name = "portal"
urlpatterns = [
    path("", dashboard.start, name="dashboard"),
    path("search/", search.search, name="search"),
]
