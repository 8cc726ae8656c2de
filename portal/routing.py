"""All WebSockets. The access table in tests/ has a row for every one."""

from django.urls import URLPattern

websocket_urlpatterns: list[URLPattern] = []
