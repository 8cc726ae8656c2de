"""The access table: every URL, API operation and WebSocket as every predefined role. `table.tsv` is reviewed like code.

A row is: what is asked, the method, who is let in. «signed out» lets anybody in; «signed in» every user, granted or not.
`python -m tests.access` writes it anew; the test compares.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts.directory.models import IdentityProvider
from accounts.directory.saml import metadata
from accounts.models import Group, Token, User, UserKey
from accounts.objects import MODEL_OF, model_of
from accounts.permissions import PREDEFINED_ROLES
from accounts.quotas.models import Quota, QuotaHolder
from accounts.sessions.models import UserSession
from audit import chain, log
from audit.models import Entry
from events.models import Event, Notification
from hosts.models import MigrationPolicy, PowerAgent, SchedulingPolicy
from hosts.power.can import ACTIONS as POWER_ACTIONS
from hosts.power.services import SWITCHES
from jobs.models import Job
from portal.routing import websocket_urlpatterns
from storage.images.models import Upload
from storage.models import FoundVolume
from tests.build import attach, make_disk, make_host, make_network, make_nic, make_snapshot, make_storage, make_template, make_user, make_vm
from tests.saml_provider import Provider
from vms.can import ACTIONS as VM_ACTIONS
from vms.guest.can import ACTIONS as GUEST_ACTIONS
from vms.models import AffinityGroup, InstanceType, Pool

TABLE = Path(__file__).parent / "table.tsv"
SIGNED_OUT, NOBODY, ONE_VM = "signed out", "no grant", "UserRole on the VM alone"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What stands in for a route's text parameters; every action of a kind has a row of its own.
NAMES = {
    "vms:action": tuple(name for name in VM_ACTIONS if name not in ("console", "edit", "template", "remove")),
    "hosts:action": ("activate", "maintenance", "refresh", "remove"),
    "storage:action": ("activate", "maintenance", "remove", "scan"),
    "networks:action": ("apply", "remove"),
    "api:act_on_vm": ("start", "shutdown", "pause", "reboot"),
    "api:act_on_host": ("activate", "maintenance", "remove", *POWER_ACTIONS),
    "hosts:power-action": tuple(SWITCHES),
    "hosts:change-power-agent": ("remove", "up", "down"),
    "api:act_on_guest": tuple(GUEST_ACTIONS),
    "api:explain": ("vm",),
    "vms:guest-action": tuple(name for name in GUEST_ACTIONS if name not in ("password", "freeze")),
}


class World:
    """One object of each kind, which all roles are tried on."""

    def __init__(self) -> None:
        self.template = make_template()
        self.host = make_host()
        self.agent = PowerAgent.objects.create(host=self.host, agent="fence_redfish", position=1)
        self.vm = make_vm(host=self.host, template=self.template)
        self.network = make_network(cluster=self.host.cluster)
        self.domain = make_storage(data_center=self.host.cluster.data_center)
        self.disk = make_disk(domain=self.domain)
        self.attachment = attach(self.vm, self.disk)
        self.found = FoundVolume.objects.create(domain=self.domain, name="stray", path="/stray", format="raw", capacity_bytes=1, allocated_bytes=1)
        make_nic(self.vm, self.network)
        self.person = make_user("somebody")
        self.group = Group.objects.create(name="some group")
        self.job = Job.objects.create(kind="vm.start", title="a job", object_type="vm", object_id=self.vm.pk)
        self.provider = IdentityProvider.objects.create(kind="ldap", name="a directory")
        self.saml = IdentityProvider.objects.create(kind="saml", name="a SAML provider", enabled=True, settings=metadata.read(Provider().metadata()))
        self.mapping = self.provider.mappings.create(directory_group="cn=g", group=self.group)
        self.token = Token.objects.create(user=self.person, name="t", digest="0" * 64)
        self.key = UserKey.objects.create(user=self.person, name="k", public_key="ssh-ed25519 AAAA", fingerprint="SHA256:k")
        self.size = InstanceType.objects.create(name="a size", vcpus=1, memory_mib=512)
        self.session = UserSession.objects.create(user=self.person, session_key="x" * 32)
        self.passkey = self.person.passkeys.create(name="p", credential_id="x", public_key=b"")
        self.quota = Quota.objects.create(name="a quota", data_center=self.host.cluster.data_center)
        self.holder = QuotaHolder.objects.create(quota=self.quota, user=self.person)
        self.pool = Pool.objects.create(name="a pool", cluster=self.host.cluster, template=self.template)
        self.policy = SchedulingPolicy.objects.create(name="a policy")
        self.migration_policy = MigrationPolicy.objects.create(name="a migration policy")
        self.affinity = AffinityGroup.objects.create(name="an affinity group", cluster=self.host.cluster)
        self.machine = make_vm(name="lent", cluster=self.host.cluster, pool=self.pool, taken_by=self.person)
        self.notice = Notification.objects.create(user=self.person, event=Event.objects.create(kind="vm.x", message="x", object_type="system"))
        self.snapshot = make_snapshot(self.vm)
        self.upload = Upload.objects.create(user=self.person, domain=self.domain, name="u", file_name="u", length=1, expires_at=timezone.now())
        self.root = make_user("root", role="SuperUser")
        log.append("vm.start", "an entry", user=self.root)
        chain.seal()
        self.entry = Entry.objects.get(action="vm.start")
        self.grant = self.person.grants.create(role=self.root.grants.get().role, object_type="vm", object_id=self.vm.pk)

    def subjects(self) -> dict[str, User | None]:
        found: dict[str, User | None] = {
            SIGNED_OUT: None,
            NOBODY: make_user("nobody"),
            ONE_VM: make_user("eve", role="UserRole", on=self.vm),
        }
        return found | {name: make_user(f"is-{name.lower()}", role=name) for name in PREDEFINED_ROLES}

    def key_of(self, route: str, before: str) -> Any:
        """The object that a route's id names; `before`: the part in front of the id, which tells when a route has several."""
        nested = {"give-back": self.machine, "holders": self.holder, "attachments": self.attachment, "found": self.found, "snapshots": self.snapshot, "agents": self.agent}
        if before in nested:
            return nested[before].pk
        objects = {
            "vms/": self.vm, "templates/": self.template, "hosts/": self.host, "clusters/": self.host.cluster, "data-centers/": self.host.cluster.data_center,
            "storage/": self.domain, "disks/": self.disk, "networks/": self.network, "jobs/": self.job, "users/": self.person, "groups/": self.group,
            "roles/": self.grant.role, "me/tokens/": self.token, "grants/": self.grant, "permissions/": self.vm, "permissions/vm/": self.vm, "metrics/": self.vm, "enrol/": self.host,
            "me/keys/": self.key, "my/vms/": self.vm, "instance-types/": self.size, "me/notifications/": self.notice, "pools/": self.pool, "quotas/": self.quota, "quota-holders/": self.holder,
            "policies/": self.policy, "migration-policies/": self.migration_policy, "affinity-groups/": self.affinity, "uploads/": self.upload, "images/": self.upload,
            "audit/": self.entry, "sessions/": self.session, "me/factors/": self.passkey, "tokens/": self.token, "providers/<uuid:pk>/try-saml/": self.saml, "sign-in/saml/": self.saml, "providers/": self.provider, "group-mappings/": self.mapping,
        }  # fmt: skip
        path = route.removeprefix("api/v1/")
        return next((obj.pk for start, obj in objects.items() if path.startswith(start)), None)


def routes() -> Iterator[tuple[str, str]]:
    """(route, full name) of every URL."""

    def walk(resolver: Any, prefix: str, namespaces: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for entry in resolver.url_patterns:
            if isinstance(entry, URLResolver):
                yield from walk(entry, prefix + str(entry.pattern), namespaces + ((entry.namespace,) if entry.namespace else ()))
            elif isinstance(entry, URLPattern):
                yield prefix + str(entry.pattern), ":".join([*namespaces, entry.name or ""])

    return walk(get_resolver(), "", ())


def requests(world: World) -> Iterator[tuple[str, str]]:
    """(label in the table, concrete path), each path once."""
    seen = set()
    for route, name in routes():
        for word in NAMES.get(name, ("",)):
            label, path = [], []
            parts = route.split("/")
            for before, part in zip(["", *parts], parts, strict=False):
                if part.startswith("<"):
                    kind = part.strip("<>")
                    is_key = kind.startswith(("uuid", "int"))
                    value = str(world.key_of(route, before)) if is_key else "vm" if kind == "str:object_type" else word
                    label.append("ID" if is_key else value)
                    path.append(value)
                else:
                    label.append(part)
                    path.append(part)
            shown = "/" + "/".join(label)
            if shown not in seen:
                seen.add(shown)
                yield shown, "/" + "/".join(path)


# Operations that read nothing of who asks before their body is one: what they are sent.
BODIES = {
    "/resize": {"capacity_bytes": 1 << 40},
    "/move": {"storage_domain": "some storage"},
    "/copy": {"storage_domain": "some storage", "name": "a copy"},
    "/export": {"format": "raw"},
    "/snapshots": {"name": "new"},
    "/clone": {"name": "new"},
    "/template": {"name": "new"},
    "/power/agents": {"agent": "fence_redfish", "options": {"ip": "192.0.2.1"}},
    "/power/agents/ID": {"options": {"ip": "192.0.2.1"}},
}


def _body(method: str, path: str) -> bytes:
    body = next((body for ends, body in BODIES.items() if _UUID.sub("ID", path).endswith(ends)), {})
    return json.dumps(body).encode() if method != "GET" else b""


_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def outcome(client: Client, method: str, path: str) -> str:
    """«yes», «no», or «-» when there is no such method. Nothing that the request did stays."""
    cookies = client.cookies.copy()
    with transaction.atomic():
        kind = "application/json" if path.startswith("/api/v1") else "application/x-www-form-urlencoded"
        answer = client.generic(method, path, _body(method, path) if kind.endswith("json") else b"", content_type=kind)
        transaction.set_rollback(True)
    client.cookies = cookies
    if answer.status_code == 405:
        return "-"
    if answer.status_code in (401, 403, 404) or (answer.status_code == 302 and answer.headers["Location"].startswith("/sign-in/?next=")):
        return "no"
    return "yes"


def build() -> list[str]:
    """The rows of the table as the product is."""
    world = World()
    subjects = world.subjects()
    clients = {}
    for name, user in subjects.items():
        clients[name] = Client(raise_request_exception=False)
        if user is not None:
            clients[name].force_login(user)
    rows = []
    for label, path in requests(world):
        for method in METHODS if path.startswith("/api/v1") else METHODS[:2]:
            if outcome(clients["SuperUser"], method, path) == "-":
                continue  # there is no such method, for nobody
            found = {name: outcome(client, method, path) for name, client in clients.items()}
            if set(found.values()) - {"-", "no"} or (found["SuperUser"] == "no" and found[SIGNED_OUT] != "-"):
                rows.append(f"{label}\t{method}\t{_who({name for name, answer in found.items() if answer == 'yes'}, subjects)}")
    rows += [f"live {kind}:ID\tSUBSCRIBE\t{_who(_seeing(kind, world, subjects), subjects)}" for kind in MODEL_OF]
    rows += [f"/{entry.pattern}\tWEBSOCKET\t{_socket(str(entry.pattern))}" for entry in websocket_urlpatterns]
    return rows


def _seeing(kind: str, world: World, subjects: dict[str, User | None]) -> set[str]:
    model = model_of(kind)
    return {name for name, user in subjects.items() if user is not None and model._default_manager.visible_to(user).exists()}  # type: ignore[attr-defined]


def _socket(pattern: str) -> str:
    """What the sockets' own tests prove: tests/unit/portal/test_live_socket.py, tests/unit/consoles/."""
    return "signed in; each topic is checked" if pattern == "ws/live" else "who holds a ticket (see the row of its URL)"


def _who(names: set[str], subjects: dict[str, User | None]) -> str:
    if SIGNED_OUT in names:
        return SIGNED_OUT
    if names == set(subjects) - {SIGNED_OUT}:
        return "signed in"
    return ", ".join(name for name in subjects if name in names) or "nobody"


def write(rows: list[str]) -> None:
    TABLE.write_text("what\tmethod\twho is let in\n" + "\n".join(rows) + "\n")


assert settings.configured
