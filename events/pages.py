"""The list of events."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from events.visible import visible_events
from portal.pages import lists
from portal.pages.filtering import FilterField

LIST = lists.ListPage(
    title="Events",
    row_template="events/row.html",
    columns=(
        lists.Column("at", "Time", "id", lambda event: event.at.isoformat()),
        lists.Column("severity", "Severity", "severity", lambda event: event.severity),
        lists.Column("message", "What happened", "", lambda event: event.message),
        lists.Column("object", "Object", "object_name", lambda event: event.object_name),
        lists.Column("user", "User", "user_name", lambda event: event.user_name),
    ),
    empty=lists.Empty(
        "bell", "No events yet", "What happens to hosts and VMs, and who asked for it, is written here and cannot be changed."
    ),
    live="event",
    filters={
        "severity": FilterField("severity", "choice"),
        "kind": FilterField("kind"),
        "object": FilterField("object_name"),
        "type": FilterField("object_type", "choice"),
        "user": FilterField("user_name"),
    },
    default_sort="-at",
    free=("message",),
    hint="severity:error object:web-01 user:admin",
)


@require_GET
def event_list(request: HttpRequest) -> HttpResponse:
    return lists.show(request, LIST, visible_events(request.user).select_related("job"))
