"""All WebSockets. The access table in tests/ has a row for every one."""

from django.urls import URLPattern, path

from portal.consumers import LiveConsumer
from vms.consoles.consumers import SerialConsumer, VncConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/live", LiveConsumer.as_asgi()),
    path("ws/vms/<uuid:vm_id>/vnc", VncConsumer.as_asgi()),
    path("ws/vms/<uuid:vm_id>/serial", SerialConsumer.as_asgi()),
]
