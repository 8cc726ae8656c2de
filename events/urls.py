from django.urls import path

from events import pages

app_name = "events"
urlpatterns = [path("events/", pages.event_list, name="list")]
