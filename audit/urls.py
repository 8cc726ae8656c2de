from django.urls import path

from audit import pages

app_name = "audit"
urlpatterns = [
    path("audit/", pages.entry_list, name="list"),
    path("audit/<int:pk>/", pages.entry, name="entry"),
]
