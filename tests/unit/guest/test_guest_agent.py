"""The agent's words are a stranger's; its verbs are asked only of a guest that can hear them."""

import json
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone
from passlib.hash import sha512_crypt

from accounts.permissions import grant
from audit.models import Entry
from events.models import Event
from hypervisor.guest_agent import facts_from
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from portal.secrets import decrypt
from tests.build import make_host, make_nic, make_user, make_vm
from vms.guest import can, observe, services
from vms.guest.models import GuestPassword, GuestReport

pytestmark = pytest.mark.django_db
FACTS = {
    "hostname": "web",
    "os.pretty-name": "Debian GNU/Linux 12",
    "os.kernel-release": "6.1.0",
    "timezone.name": "UTC",
    "fs.count": 1,
    "fs.0.mountpoint": "/",
    "fs.0.fstype": "ext4",
    "fs.0.total-bytes": 2 << 30,
    "fs.0.used-bytes": 1 << 30,
    "user.count": 1,
    "user.0.name": "alice",
    "user.0.login-time": 1_700_000_000_000,
}
NICS = {
    "lo": {"addrs": [{"addr": "127.0.0.1", "prefix": 8}]},
    "eth0": {"hwaddr": "52:54:00:00:00:01", "addrs": [{"addr": "192.0.2.5", "prefix": 24}]},
}


@pytest.fixture
def vm():
    return make_vm(
        name="web-01", host=make_host(capabilities={"features": ["agent"]}), status="up", guest_hostname="web", guest_os="Debian"
    )


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


def test_a_report_is_kept_and_shown(vm, admin, client):
    make_nic(vm, name="nic1", mac="52:54:00:00:00:01")
    observe.reported(vm.pk, facts_from(FACTS, NICS))
    client.force_login(admin)
    page = client.get(f"/vms/{vm.pk}/?tab=guest").content.decode()
    for text in ("Debian GNU/Linux 12", "6.1.0", "alice", "192.0.2.5/24", ">nic1<", "ext4", "1 GiB", "2 GiB"):
        assert text in page, text
    assert "127.0.0.1/8" not in page


def test_what_a_hostile_guest_says_is_bounded_and_escaped(vm, admin, client):
    evil = "<script>alert(1)</script>\x00\x1b[2J\u202e" + "x" * 100_000
    facts = {
        "hostname": evil,
        "os.name": evil,
        "fs.count": 10**9,
        "user.count": 200,
        **{f"fs.{index}.mountpoint": evil for index in range(200)},
        "fs.0.total-bytes": -5,
        "fs.0.used-bytes": 1 << 80,
        **{f"user.{index}.name": evil for index in range(200)},
        "user.0.login-time": 1 << 62,
    }
    nics = {evil + str(index): {"hwaddr": evil, "addrs": [{"addr": evil, "prefix": evil}] * 1000} for index in range(100)}
    observe.reported(vm.pk, facts_from(facts, nics))
    kept = GuestReport.objects.get(vm=vm).facts
    assert len(json.dumps(kept)) < 64_000
    assert "\x1b" not in kept["hostname"] and "\u202e" not in kept["hostname"]
    assert kept["filesystems"][0]["used_bytes"] == 0
    client.force_login(admin)
    assert "<script>alert(1)" not in client.get(f"/vms/{vm.pk}/?tab=guest").content.decode()


@pytest.mark.parametrize(
    ("fields", "action", "reason"),
    [
        ({"status": "down"}, "time", "is not running"),
        ({"status": "paused"}, "look", "is not running"),
        ({"guest_hostname": "", "guest_os": ""}, "time", "agent of web-01 does not answer"),
        ({"guest_os": "Microsoft Windows 11"}, "seal", "sysprep"),
        ({}, "thaw", "not frozen"),
    ],
)
def test_each_verb_says_why_it_cannot_be(vm, fields, action, reason):
    for name, value in fields.items():
        setattr(vm, name, value)
    verdict = can.check(action, vm, None)
    assert not verdict and reason in verdict.reason


def test_a_frozen_guest_can_only_be_thawed(vm):
    report = GuestReport(vm=vm, frozen_until=timezone.now() + timedelta(minutes=1))
    assert [name for name in can.ACTIONS if can.check(name, vm, report)] == ["thaw"]


def test_a_password_reaches_the_job_alone(vm, admin):
    job = services.act(admin, vm, "password", account="root", password="pass word 9")
    kept = GuestPassword.objects.get()
    assert job.params == {"account": "root", "kept": str(kept.pk)}
    secret = json.loads(decrypt(kept.secret))
    assert secret["hashed"] and sha512_crypt.verify("pass word 9", secret["value"])
    assert "pass word 9" not in repr([list(Entry.objects.values()), list(Job.objects.values()), kept.secret])


def test_windows_gets_the_password_itself(vm, admin):
    vm.guest_os = "Microsoft Windows Server 2022"
    vm.save()
    services.act(admin, vm, "password", account="Administrator", password="x")
    assert json.loads(decrypt(GuestPassword.objects.get().secret)) == {"value": "x", "hashed": False}


@pytest.mark.parametrize(("account", "password"), [("", "x"), ("a:b", "x"), ("root\n", "x"), ("root", ""), ("root", "a\nb")])
def test_no_password_for_what_is_no_account(vm, admin, account, password):
    with pytest.raises(FieldError):
        services.act(admin, vm, "password", account=account, password=password)


def test_who_only_runs_a_vm_changes_nothing_in_its_guest(vm):
    user = make_user()
    grant("UserRole", vm, user=user)
    for action in set(can.ACTIONS) - {"look"}:
        with pytest.raises(PermissionDenied):
            services.act(user, vm, action)
    services.act(user, vm, "look")


def test_what_was_frozen_long_enough_is_thawed(vm, admin):
    GuestReport.objects.create(vm=vm, frozen_until=timezone.now() - timedelta(seconds=1))
    assert services.thaw_due() == 1
    assert services.thaw_due() == 0, "it is asked for once"
    assert Job.objects.get().kind == "vm.guest_thaw"


def test_a_guest_that_ended_is_frozen_no_more(vm):
    vm.status = "down"
    vm.save()
    GuestReport.objects.create(vm=vm, frozen_until=timezone.now() - timedelta(seconds=1))
    assert services.thaw_due() == 0
    assert GuestReport.objects.get().frozen_until is None


def test_an_agent_that_never_thaws_is_told_of_and_let_be(vm):
    for _ in range(services.THAW_TRIES):
        Job.objects.create(kind="vm.guest_thaw", title="Thaw", object_type="vm", object_id=vm.pk, status="failed")
    GuestReport.objects.create(vm=vm, frozen_until=timezone.now() - timedelta(seconds=1))
    assert services.thaw_due() == 0
    assert GuestReport.objects.get().frozen_until is None
    assert Event.objects.filter(kind="vm.thaw_failed", severity="warning").exists()


def test_the_seconds_of_a_freeze_have_limits(vm, admin):
    for seconds in (0, 4, 601, -1):
        with pytest.raises(FieldError):
            services.act(admin, vm, "freeze", seconds=seconds)
    with pytest.raises(NotPossible):
        services.act(admin, vm, "thaw")
