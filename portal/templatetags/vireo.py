"""What repeats on pages: icons, statuses, sizes, times, meters, action buttons. No query in here."""

from datetime import datetime
from functools import lru_cache
from typing import Any

from django import template
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.statuses import look_of

register = template.Library()


@lru_cache(maxsize=1)
def _sprite() -> str:
    """The sprite's URL; a page asks for it hundreds of times."""
    return static("dist/icons.svg")


_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@register.simple_tag
def icon(name: str, small: bool = False) -> SafeString:
    """Decoration only: what it stands beside says it in words."""
    return format_html(
        '<svg class="icon{}" aria-hidden="true"><use href="{}#{}"></use></svg>', " icon-sm" if small else "", _sprite(), name
    )


@register.simple_tag
def status(value: str, label: str = "", reason: str = "", since: datetime | None = None) -> SafeString:
    """A state as word, icon and colour; one that passes also says since when."""
    look = look_of(value)
    words = label or value.replace("_", " ")
    words = words if label[:1].isdigit() else words.lower()
    age = format_html(' <time datetime="{}"></time>', since.isoformat()) if since and look.spins else ""
    return format_html(
        '<span class="v-status{}" title="{}" data-status="{}"><svg class="icon{}" aria-hidden="true"><use href="{}#{}"></use></svg>{}{}</span>',
        f" v-status-{look.tone}" if look.tone else "",
        reason,
        value,
        " v-spin" if look.spins else "",
        _sprite(),
        look.icon,
        words,
        age,
    )


@register.filter
def size(value: float | None) -> str:
    """Bytes in binary units; whole numbers below 10 of a unit keep one decimal."""
    if not isinstance(value, int | float):
        return "—"
    amount = float(value)
    for unit in _UNITS:
        if abs(amount) < 1024 or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 or amount == int(amount) else f"{amount:.1f} {unit}"
        amount /= 1024
    return ""


@register.filter
def mib(value: int | None) -> str:
    """MiB as people write it."""
    return size(value * 2**20) if isinstance(value, int) else "—"


@register.filter
def percent(value: float | None) -> str:
    return f"{value:.0f} %" if isinstance(value, int | float) else "—"


@register.simple_tag
def when(value: datetime | None, exact: bool = False) -> SafeString:
    """A time that the page turns into "3 min ago"; without JavaScript it reads as UTC."""
    if value is None:
        return SafeString('<span class="v-muted">—</span>')
    return format_html(
        '<time datetime="{}"{}>{} UTC</time>',
        value.isoformat(),
        SafeString(" data-exact") if exact else "",
        value.strftime("%Y-%m-%d %H:%M"),
    )


@register.simple_tag
def meter(value: float | None, top: float, label: str) -> SafeString:
    """A bar of a share, hot above 90 %; blank without a value."""
    if not isinstance(value, int | float) or not top:
        return SafeString("")
    share = max(0.0, min(1.0, value / top))
    return format_html(
        '<progress class="v-meter{}" max="100" value="{}" aria-label="{}"></progress>',
        " v-meter-hot" if share > 0.9 else "",
        round(share * 100),
        label,
    )


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: Any) -> str:
    """The page's own query string with some parameters changed; empty ones go."""
    parameters = context["request"].GET.copy()
    parameters.pop("page", None) if "page" not in changes else None
    for name, value in changes.items():
        if value in (None, ""):
            parameters.pop(name, None)
        else:
            parameters[name] = str(value)
    return f"?{parameters.urlencode()}" if parameters else "?"


@register.filter
def get(mapping: Any, key: Any) -> Any:
    """mapping[key], or None."""
    return mapping.get(key) if hasattr(mapping, "get") else None


_OBJECT_URLS = {
    "vm": "vms:vm",
    "template": "vms:template",
    "host": "hosts:host",
    "cluster": "hosts:cluster",
    "data_center": "hosts:data-center",
    "storage_domain": "storage:storage-domain",
    "disk": "storage:disk",
    "network": "networks:network",
    "job": "jobs:job",
    "user": "accounts:user",
    "group": "accounts:group",
    "role": "accounts:role",
    "quota": "accounts:quota",
}


@register.simple_tag
def object_link(object_type: str, object_id: Any, name: str = "") -> SafeString:
    """A link to an object that an event or job names; the object may be gone, and its page then says so."""
    view = _OBJECT_URLS.get(object_type)
    if view is None or not object_id:
        return format_html("{}", name or "—")
    return format_html('<a href="{}">{}</a>', reverse(view, args=[object_id]), name or object_type)
