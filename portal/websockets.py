"""Which pages may open a WebSocket: only our own."""

from django.conf import settings


def allowed_origins() -> list[str]:
    """The hosts that serve our pages, as Channels' OriginValidator takes them."""
    return list(settings.ALLOWED_HOSTS)
