"""One's own notifications and what one wants to be told."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from events.notify import services
from events.notify.fan_out import may_be_told
from events.notify.models import Channel, Notification
from events.notify.topics import TOPICS
from portal.errors import NotPossible

SHOWN = 100


@require_GET
def notifications(request: HttpRequest) -> HttpResponse:
    """The newest, unread ones first; what one may no longer see is left out."""
    rows = Notification.objects.filter(user=request.user).select_related("event").order_by("-event_id")[:SHOWN]
    return render(request, "events/notifications.html", {"rows": [row for row in rows if may_be_told(request.user, row.event)]})  # type: ignore[arg-type]


@require_POST
def mark_all(request: HttpRequest) -> HttpResponse:
    services.mark_read(request.user)  # type: ignore[arg-type]
    return redirect("events:notifications")


@require_POST
def mark(request: HttpRequest, pk: UUID) -> HttpResponse:
    services.mark_read(request.user, pk)  # type: ignore[arg-type]
    return redirect("events:notifications")


def chosen(request: HttpRequest) -> HttpResponse:
    """The table of topics and channels."""
    user, errors = request.user, {}
    choice = services.choice_of(user)  # type: ignore[arg-type]
    if request.method == "POST":
        wanted = {topic.key: request.POST.getlist(topic.key) for topic in TOPICS}
        try:
            services.save_choice(user, wanted, request.POST.get("webhook_url", ""))  # type: ignore[arg-type]
        except ValidationError as error:
            choice.channels, choice.webhook_url = wanted, request.POST.get("webhook_url", "")[:2000]
            errors = error.message_dict
        else:
            messages.success(request, "Saved.")
            return redirect("events:notification-settings")
    rows = [(topic, [(channel, channel in choice.channels.get(topic.key, ())) for channel in Channel]) for topic in TOPICS]
    context = {"rows": rows, "choice": choice, "channels": Channel, "errors": errors, "mail_is_set_up": settings.MAIL_IS_SET_UP}
    return render(request, "events/notification_settings.html", context, status=422 if errors else 200)


@require_POST
def test(request: HttpRequest) -> HttpResponse:
    channel = request.POST.get("channel", "")
    try:
        services.send_test(request.user, channel)  # type: ignore[arg-type]
    except NotPossible as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The test was sent.")
    return redirect("events:notification-settings")
