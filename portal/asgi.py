"""The ASGI application: pages and API over HTTP, live topics and consoles over WebSockets."""

import gc
import os
from importlib import import_module

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402  models load only after Django is set up
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import OriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402

from accounts.looking_middleware import LookAsSocket  # noqa: E402
from audit.middleware import AuditSocket  # noqa: E402
from portal.routing import websocket_urlpatterns  # noqa: E402
from portal.websockets import allowed_origins  # noqa: E402
from storage.images.receiving import ReceiveUploads  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": ReceiveUploads(django_application),
        "websocket": OriginValidator(AuthMiddlewareStack(LookAsSocket(AuditSocket(URLRouter(websocket_urlpatterns)))), allowed_origins()),
    }
)

# What is loaded by now stays. A full collection that looked through it all again would stop every page for a tenth of a second.
import_module(settings.ROOT_URLCONF)
gc.collect()
gc.freeze()
