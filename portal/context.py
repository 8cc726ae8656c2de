"""What every page's shell shows: the navigation that this user has, and their theme."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from accounts.permissions import ADMINISTRATIVE, anywhere

UNREAD_SHOWN = 100


@dataclass(frozen=True)
class Place:
    """An entry of the navigation; shown to whoever holds `permission` on anything."""

    view: str
    title: str
    icon: str
    permission: str
    go: str = ""


@dataclass(frozen=True)
class Home:
    """The first entry of the navigation: what `/` is for this user."""

    title: str
    icon: str


SECTIONS: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (
        "Compute",
        (
            Place("vms:list", "Virtual machines", "device-desktop", "vm.view", "vms"),
            Place("vms:templates", "Templates", "template", "template.view", "templates"),
            Place("vms:pools", "Pools", "devices", "pool.edit", "pools"),
            Place("vms:sizes", "Instance types", "adjustments", "template.edit"),
        ),
    ),
    (
        "Infrastructure",
        (
            Place("hosts:list", "Hosts", "server-2", "host.view", "hosts"),
            Place("hosts:clusters", "Clusters", "sitemap", "cluster.view", "clusters"),
            Place("hosts:policies", "Scheduling policies", "scale", "cluster.edit"),
            Place("hosts:migration-policies", "Migration policies", "arrows-exchange", "cluster.edit"),
            Place("hosts:data-centers", "Data centers", "building", "data_center.view", "data-centers"),
            Place("storage:list", "Storage domains", "database", "storage_domain.view", "storage"),
            Place("storage:disks", "Disks and ISOs", "disc", "disk.view", "disks"),
            Place("storage:images", "Images", "photo", "disk.view"),
            Place("networks:list", "Networks", "network", "network.view", "networks"),
        ),
    ),
    (
        "Activity",
        (
            Place("jobs:list", "Jobs", "list-check", "", "jobs"),
            Place("vms:migrations", "Migrations", "arrows-exchange", "vm.migrate"),
            Place("events:list", "Events", "bell", "", "events"),
            Place("audit:list", "Audit", "certificate", "system.view"),
        ),
    ),
    (
        "People",
        (
            Place("accounts:users", "Users", "user", "user.view", "users"),
            Place("accounts:groups", "Groups", "users-group", "user.view", "groups"),
            Place("accounts:roles", "Roles", "shield", "role.view", "roles"),
            Place("accounts:quotas", "Quotas", "scale", "quota.view"),
            Place("accounts:sessions", "Sessions", "devices", "user.manage", "sessions"),
            Place("accounts:tokens", "API tokens", "api", "user.manage", "tokens"),
            Place("accounts:providers", "Sign-in", "key", "user.manage", "providers"),
        ),
    ),
)

# What somebody has who administers nothing: fewer places, named as theirs.
PORTAL_SECTIONS: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (
        "",
        (
            Place("selfservice:new", "New machine", "plus", "vm.create"),
            Place("vms:templates", "Templates", "template", "template.create", "templates"),
            Place("vms:sizes", "Instance types", "adjustments", "template.edit"),
        ),
    ),
    (
        "Activity",
        (
            Place("jobs:list", "Jobs", "list-check", "", "jobs"),
            Place("events:list", "Events", "bell", "", "events"),
        ),
    ),
)
HOMES = {True: Home("Dashboard", "dashboard"), False: Home("My machines", "devices")}


def shell(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    may = anywhere(user)
    navigation = []
    administers = not ADMINISTRATIVE.isdisjoint(may)
    for title, places in SECTIONS if administers else PORTAL_SECTIONS:
        links = []
        for place in places:
            if not place.permission or place.permission in may:
                url = reverse(place.view)
                links.append(
                    {"url": url, "title": place.title, "icon": place.icon, "go": place.go, "current": request.path.startswith(url)}
                )
        if links:
            navigation.append({"title": title, "links": links})
    return {
        "may": may,
        "theme": user.preferences.get("theme", "auto"),
        "navigation": navigation,
        "looking": getattr(request, "viewer", None),
        "home": HOMES[administers],
        "unread": user.notifications.filter(read_at=None)[:UNREAD_SHOWN].count(),
    }
