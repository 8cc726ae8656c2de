from django.urls import path

from events import pages
from events.notify import pages as notify

app_name = "events"
urlpatterns = [
    path("events/", pages.event_list, name="list"),
    path("me/notifications/", notify.notifications, name="notifications"),
    path("me/notifications/read/", notify.mark_all, name="mark-all-read"),
    path("me/notifications/<uuid:pk>/read/", notify.mark, name="mark-read"),
    path("me/notifications/settings/", notify.chosen, name="notification-settings"),
    path("me/notifications/test/", notify.test, name="test-notification"),
]
