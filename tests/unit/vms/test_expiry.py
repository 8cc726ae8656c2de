"""Machines that are lent for a time: notice, end, grace, and prolonging. Time is an argument; nothing sleeps."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounts.permissions import grant
from events.models import Event
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from tests.build import attach, make_disk, make_host, make_storage, make_template, make_user, make_vm
from vms import can, expiry, services

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
END = datetime(2031, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def terms(settings):
    settings.PORTAL_VM_DAYS, settings.EXPIRY_NOTICE_DAYS, settings.EXPIRY_GRACE_DAYS = 30, 3, 7


@pytest.fixture
def vm():
    return make_vm(host=make_host(), name="lent", status="up", expires_at=END)


def jobs():
    return list(Job.objects.values_list("kind", "user"))


def test_notice_is_given_once_for_each_date(vm):
    expiry.sweep(END - 4 * DAY)
    assert not Event.objects.exists()
    for _ in range(2):
        expiry.sweep(END - 2 * DAY)
    assert Event.objects.filter(kind="vm.expires_soon").count() == 1
    type(vm).objects.update(expires_at=END + DAY)
    expiry.sweep(END - DAY)
    assert Event.objects.filter(kind="vm.expires_soon").count() == 2
    assert not Job.objects.exists()


@pytest.mark.parametrize(("status", "kind"), [("up", "vm.shutdown"), ("powering_up", "vm.shutdown"), ("paused", "vm.poweroff"), ("not_responding", "vm.poweroff")])
def test_at_its_date_it_is_shut_down_by_one_ordinary_job(vm, status, kind):
    type(vm).objects.update(status=status)
    expiry.sweep(END - DAY)
    assert not jobs()
    for _ in range(2):
        expiry.sweep(END)
    assert jobs() == [(kind, None)]
    assert Job.objects.get().params == ({"force": True} if kind == "vm.shutdown" else {})


@pytest.mark.parametrize("status", ["unknown", "image_locked", "migrating_from"])
def test_what_nobody_knows_to_run_is_left_alone(vm, status):
    type(vm).objects.update(status=status)
    expiry.sweep(END + 100 * DAY)
    assert not jobs()


def test_after_the_grace_it_is_removed_with_its_disks_unless_it_is_protected(vm):
    disk = make_disk()
    attach(vm, disk)
    type(vm).objects.update(status="down", delete_protected=True)
    expiry.sweep(END + 100 * DAY)
    assert not jobs()
    type(vm).objects.update(delete_protected=False)
    expiry.sweep(END + 6 * DAY)
    assert not jobs()
    for _ in range(2):
        expiry.sweep(END + 7 * DAY)
    assert jobs() == [("vm.remove", None)]
    assert Job.objects.get().locks.filter(object_id=disk.pk).exists()


def test_a_removal_that_failed_is_not_tried_again_at_once(vm):
    type(vm).objects.update(status="down")
    after = END + 7 * DAY
    Job.objects.create(kind="vm.remove", title="t", object_type="vm", object_id=vm.pk, status="failed", finished_at=after)
    expiry.sweep(after + timedelta(minutes=30))
    assert len(jobs()) == 1
    expiry.sweep(after + timedelta(minutes=61))
    assert len(jobs()) == 2


def test_prolonging_is_for_who_may_edit_and_from_the_notice_on(vm):
    user, looker = make_user(), make_user(role="UserRole", on=vm)
    grant("UserVmManager", vm, user=user)
    with pytest.raises(NotPossible, match="can be prolonged from"):
        expiry.prolong(user, vm, END - 10 * DAY)
    with pytest.raises(PermissionDenied):
        expiry.prolong(looker, vm, END - DAY)
    assert expiry.prolong(user, vm, END - DAY).expires_at == END + 29 * DAY
    type(vm).objects.update(expires_at=None)
    vm.refresh_from_db()
    with pytest.raises(NotPossible, match="no end"):
        expiry.prolong(user, vm, END)


def test_without_a_term_only_an_administrator_prolongs(vm, settings):
    settings.PORTAL_VM_DAYS = 0
    user, admin = make_user(role="UserVmManager", on=vm), make_user(role="ClusterAdmin", on=vm.cluster)
    with pytest.raises(NotPossible, match="Only an administrator"):
        expiry.prolong(user, vm, END)
    with pytest.raises(PermissionDenied):
        expiry.set_expiry(user, vm, None)
    with pytest.raises(FieldError):
        expiry.set_expiry(admin, vm, END, now=END)
    assert expiry.set_expiry(admin, vm, END + DAY, now=END).expires_at == END + DAY
    assert expiry.set_expiry(admin, vm, None).expires_at is None


def test_what_is_being_removed_is_not_prolonged(vm):
    type(vm).objects.update(status="down")
    expiry.sweep(END + 8 * DAY)
    with pytest.raises(NotPossible, match="being removed"):
        expiry.prolong(make_user(role="SuperUser"), vm, END + 8 * DAY)


def test_a_machine_that_was_prolonged_meanwhile_is_not_removed(vm):
    type(vm).objects.update(status="down")
    due = type(vm).objects.filter(expires_at__lte=END)
    stale = due.get()
    type(vm).objects.update(expires_at=END + 30 * DAY)
    assert not expiry._submit(stale, due, END + 8 * DAY, "vm.remove", "t", {})
    assert not jobs()


def test_what_ended_does_not_start_again(vm):
    type(vm).objects.update(status="down", expires_at=timezone.now() - DAY)
    vm.refresh_from_db()
    assert "prolong it first" in can.check("start", vm).reason
    with pytest.raises(NotPossible):
        services.act(make_user(role="SuperUser"), vm, "start")
    assert can.check("remove", vm)


def test_users_make_lent_machines_and_administrators_do_not():
    host = make_host()
    template = make_template(data_center=host.cluster.data_center, disks=[make_disk(domain=make_storage(data_center=host.cluster.data_center))])
    user = make_user(role="VmCreator")
    grant("TemplateUser", template, user=user)
    made, _job = services.create(user, services.NewVm(name="a", cluster=host.cluster, template=template))
    kept, _job = services.create(make_user(role="SuperUser"), services.NewVm(name="b", cluster=host.cluster, template=template))
    assert kept.expires_at is None
    assert abs(made.expires_at - timezone.now() - 30 * DAY) < timedelta(minutes=1)


def test_the_pages_say_it_and_prolong(client, vm):
    user = make_user()
    grant("UserVmManager", vm, user=user)
    type(vm).objects.update(expires_at=timezone.now() + DAY, status="down")
    client.force_login(user)
    assert "v-machine-note" in client.get("/").content.decode()
    assert "It is shut down then." in client.get(vm.get_absolute_url()).content.decode()
    assert client.get(f"/vms/{vm.pk}/expiry/").status_code == 403
    client.post(f"/my/vms/{vm.pk}/prolong/")
    vm.refresh_from_db()
    assert vm.expires_at > timezone.now() + 29 * DAY
    client.force_login(make_user(role="SuperUser"))
    assert client.post(f"/vms/{vm.pk}/expiry/", {"expires_at": "2020-01-01"}).status_code == 422
    assert client.post(f"/vms/{vm.pk}/expiry/", {"expires_at": ""}).status_code == 302
    vm.refresh_from_db()
    assert vm.expires_at is None
    assert "never" in client.get(vm.get_absolute_url() + "?tab=settings").content.decode()
