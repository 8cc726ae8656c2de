"""The verbs on VMs as pages and the API call them: what is refused, at which field, and what one click leaves in the rows."""

from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied

from accounts.models import Grant
from accounts.permissions import grant
from jobs.errors import ObjectBusy
from jobs.models import Job, Lock
from portal.errors import FieldError, NotPossible
from storage.models import Disk, DiskContent, DiskStatus, StorageStatus
from tests.build import attach, make_cluster, make_disk, make_host, make_network, make_storage, make_template, make_user, make_vm
from vms import services
from vms.models import VM, Template, VmStatus
from vms.services import NewVm

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


@pytest.fixture
def cluster():
    """A cluster with a host, a network, storage and a template."""
    made = make_cluster(name="Default")
    make_host(name="node1", cluster=made)
    make_network(name="guests", cluster=made)
    storage = make_storage(name="shared", data_center=made.data_center)
    make_template(name="tiny", data_center=made.data_center, disks=[make_disk(domain=storage)])
    return made


@pytest.fixture
def creator(cluster):
    """One who may create VMs in the cluster, with its networks and storage; templates are another's to grant."""
    return make_user("creator", role="VmCreator", on=cluster.data_center)


def new(cluster, **fields):
    return NewVm(**{"name": "web-01", "cluster": cluster} | fields)


def refused_at(user, asked):
    with pytest.raises(FieldError) as refused:
        services.create(user, asked)
    assert refused.value.text
    assert not VM.objects.filter(name="web-01").exists()
    assert not Job.objects.exists()
    return refused.value.field


def test_a_new_vm_is_locked_with_its_drafts_and_its_owner_may_do_everything_with_it(creator, cluster):
    template = Template.objects.get(name="tiny")
    grant("TemplateUser", template, user=creator)
    vm, job = services.create(creator, new(cluster, template=template, tags=("b", " a ", "b"), start=True))
    vm.refresh_from_db()
    assert (vm.status, vm.owner, vm.tags) == (VmStatus.IMAGE_LOCKED, creator, ["a", "b"])
    disk = Disk.objects.get(attachments__vm=vm)
    assert (disk.status, disk.backing, disk.domain) == (DiskStatus.LOCKED, template.disks.get(), template.disks.get().domain)
    assert vm.nics.get().network.name == "guests"
    assert (job.kind, job.object_id, job.params) == ("vm.create", vm.pk, {"start": True})
    assert set(Lock.objects.filter(job=job).values_list("object_id", flat=True)) == {vm.pk, disk.pk}
    assert Grant.objects.get(user=creator, object_type="vm").object_id == vm.pk


def test_a_blank_vm_has_a_disk_of_the_size_asked_for_and_boots_the_iso(admin, cluster):
    iso = make_disk(domain=make_storage(data_center=cluster.data_center), content=DiskContent.ISO)
    vm, _job = services.create(admin, new(cluster, iso=iso, disk_bytes=3 << 30))
    drive, disk = vm.attachments.order_by("target")
    assert (drive.device, drive.disk, drive.read_only) == ("cdrom", iso, True)
    assert (disk.disk.capacity_bytes, disk.disk.backing) == (3 << 30, None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"memory_mib": 0}, "memory_mib"),
        ({"memory_mib": -1}, "memory_mib"),
        ({"memory_mib": 1 << 40}, "memory_mib"),
        ({"memory_mib": "512"}, "memory_mib"),
        ({"memory_mib": None}, "memory_mib"),
        ({"vcpus": 0}, "vcpus"),
        ({"vcpus": 513}, "vcpus"),
        ({"disk_bytes": 0}, "disk_bytes"),
        ({"disk_bytes": 65 << 40}, "disk_bytes"),
        ({"tags": ("x" * 65,)}, "tags"),
        ({"tags": tuple(str(number) for number in range(51))}, "tags"),
        ({"cluster": None}, "cluster"),
    ],
)
def test_bad_values_are_refused_at_their_field(admin, cluster, fields, field):
    assert refused_at(admin, new(**{"cluster": cluster} | fields)) == field


def test_a_name_that_exists_is_refused_whatever_its_case(admin, cluster):
    make_vm(cluster=cluster, name="WEB-01")
    assert refused_at(admin, new(cluster)) == "name"
    services.create(admin, new(cluster, name="web-02"))


def foreign_template(cluster, user):
    return {"template": Template.objects.get(name="tiny")}


def foreign_iso(cluster, user):
    return {"iso": make_disk(domain=make_storage(data_center=cluster.data_center), content=DiskContent.ISO)}


def foreign_network(cluster, user):
    other = make_cluster(data_center=cluster.data_center)
    grant("NetworkAdmin", other, user=user)
    return {"network": make_network(cluster=other)}


def foreign_storage(cluster, user):
    return {"storage_domain": make_storage()}


def foreign_host(cluster, user):
    return {"host": make_host(cluster=make_cluster(data_center=cluster.data_center))}


def unseen_host(cluster, user):
    return {"host": cluster.hosts.get()}


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        (foreign_template, "template"),
        (foreign_iso, "iso"),
        (foreign_network, "network"),
        (foreign_storage, "storage_domain"),
        (foreign_host, "host"),
        (unseen_host, "host"),
    ],
)
def test_what_the_user_may_not_use_is_refused_at_its_field_and_not_named(creator, cluster, chosen, field):
    fields = chosen(cluster, creator)
    with pytest.raises(FieldError) as refused:
        services.create(creator, new(cluster, **fields))
    assert refused.value.field == field
    assert fields[field].name not in refused.value.text
    assert not VM.objects.exists()


def test_what_fits_no_data_center_is_refused_even_to_who_may_do_everything(admin, cluster):
    elsewhere = make_storage()
    assert refused_at(admin, new(cluster, template=make_template())) == "template"
    assert refused_at(admin, new(cluster, storage_domain=elsewhere)) == "storage_domain"
    assert refused_at(admin, new(cluster, network=make_network())) == "network"
    assert refused_at(admin, new(cluster, host=make_host())) == "host"
    assert refused_at(admin, new(cluster, iso=make_disk(domain=elsewhere, content=DiskContent.ISO))) == "iso"


def test_a_disk_is_no_iso_and_an_iso_that_still_uploads_is_not_ready(admin, cluster):
    storage = make_storage(data_center=cluster.data_center)
    assert refused_at(admin, new(cluster, iso=make_disk(domain=storage))) == "iso"
    assert refused_at(admin, new(cluster, iso=make_disk(domain=storage, content=DiskContent.ISO, status=DiskStatus.LOCKED))) == "iso"


def test_storage_that_rests_takes_no_disks(admin, cluster):
    resting = make_storage(data_center=cluster.data_center, status=StorageStatus.MAINTENANCE)
    assert refused_at(admin, new(cluster, storage_domain=resting)) == "storage_domain"


def test_who_may_not_create_is_refused_before_anything_is_looked_at(cluster):
    with pytest.raises(PermissionDenied, match=r"vm\.create"):
        services.create(make_user(), new(cluster, name="", memory_mib=0))


@pytest.mark.parametrize("call", ["start", "poweroff", "remove", "edit", "make_template"])
def test_who_only_sees_a_vm_changes_nothing(call):
    vm = make_vm(host=make_host())
    user = make_user(role="ReadOnlyAdmin")
    calls = {
        "remove": lambda: services.remove(user, vm),
        "edit": lambda: services.edit(user, vm, {"name": "mine"}),
        "make_template": lambda: services.make_template(user, vm, "mine"),
    }
    with pytest.raises(PermissionDenied):
        calls.get(call, lambda: services.act(user, vm, call))()
    assert not Job.objects.exists()


def test_a_grant_on_one_vm_reaches_no_other():
    host = make_host()
    own, other = make_vm(host=host), make_vm(host=host)
    user = make_user(role="UserRole", on=own)
    services.act(user, own, "start")
    with pytest.raises(PermissionDenied):
        services.act(user, other, "start")


def test_a_second_click_on_run_is_told_what_runs_already(admin):
    vm = make_vm(host=make_host(), name="web-01")
    first = services.act(admin, vm, "start")
    with pytest.raises(ObjectBusy, match="Run web-01") as refused:
        services.act(admin, vm, "start")
    assert refused.value.holder == first
    assert list(Job.objects.all()) == [first]


def test_an_action_that_the_state_forbids_is_refused_with_the_reason(admin):
    vm = make_vm(host=make_host(), name="web-01", status=VmStatus.UP)
    with pytest.raises(NotPossible, match="web-01 is running already"):
        services.act(admin, vm, "start")
    with pytest.raises(NotPossible, match="Power web-01 off first"):
        services.remove(admin, vm)


@pytest.mark.parametrize("action", ["console", "edit", "template", "remove", "fly", ""])
def test_what_is_no_plain_action_is_refused(admin, action):
    with pytest.raises(NotPossible):
        services.act(admin, make_vm(host=make_host()), action)


@pytest.mark.parametrize("key", ["not an id", "' OR 1=1", 7])
def test_run_once_refuses_what_is_no_iso(admin, key):
    vm = make_vm(host=make_host())
    elsewhere = make_disk(content=DiskContent.ISO)
    for iso in (key, str(uuid4()), str(elsewhere.pk)):
        with pytest.raises(FieldError) as refused:
            services.act(admin, vm, "run_once", iso=iso)
        assert refused.value.field == "iso"
    assert not Job.objects.exists()


def test_run_once_refuses_an_iso_that_the_user_may_not_see():
    vm = make_vm(host=make_host())
    iso = make_disk(domain=make_storage(data_center=vm.cluster.data_center), content=DiskContent.ISO)
    user = make_user(role="UserRole", on=vm)
    with pytest.raises(FieldError):
        services.act(user, vm, "run_once", iso=str(iso.pk))
    grant("StorageAdmin", iso, user=user)
    assert services.act(user, vm, "run_once", iso=str(iso.pk), paused=True).params == {"iso": str(iso.pk), "paused": True}


def test_shutdown_falls_to_power_off_only_when_asked(admin):
    host = make_host()
    vms = [make_vm(host=host, status=VmStatus.UP) for _ in range(2)]
    assert services.act(admin, vms[0], "shutdown").params == {}
    assert services.act(admin, vms[1], "shutdown", force=True).params == {"force": True}


def test_a_running_vm_keeps_its_hardware_until_its_next_run(admin):
    vm = make_vm(host=make_host(), status=VmStatus.UP, memory_mib=512)
    vm, job = services.edit(admin, vm, {"memory_mib": 1024, "vcpus": 1, "description": "now"})
    vm.refresh_from_db()
    assert (job.kind, vm.memory_mib, vm.next_run, vm.description) == ("vm.edit", 512, {"memory_mib": 1024}, "now")
    vm, _job = services.edit(admin, vm, {"vcpus": 2})
    assert vm.next_run == {"memory_mib": 1024, "vcpus": 2}
    vm, _job = services.edit(admin, vm, {"memory_mib": 512, "vcpus": 1})
    assert vm.next_run == {}, "what it has already needs no restart"


def test_a_vm_that_is_off_changes_at_once_and_its_domain_with_it(admin):
    vm = make_vm(host=make_host(), memory_mib=512)
    vm, job = services.edit(admin, vm, {"memory_mib": 1024})
    vm.refresh_from_db()
    assert (vm.memory_mib, vm.next_run, job.kind) == (1024, {}, "vm.edit")


def test_protection_alone_leaves_the_domain_alone(admin):
    vm, job = services.edit(admin, make_vm(host=make_host()), {"delete_protected": True})
    assert job is None
    with pytest.raises(NotPossible, match="protected"):
        services.remove(admin, vm)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"status": "up"}, "status"),
        ({"owner": None}, "owner"),
        ({"display_secret": "x"}, "display_secret"),
        ({"name": ""}, "name"),
        ({"name": "TAKEN"}, "name"),
        ({"memory_mib": 0}, "memory_mib"),
        ({"vcpus": 1000}, "vcpus"),
        ({"firmware": "coreboot"}, "firmware"),
        ({"tags": ["x" * 65]}, "tags"),
    ],
)
@pytest.mark.parametrize("status", [VmStatus.UP, VmStatus.DOWN])
def test_bad_changes_are_refused_at_their_field_and_change_nothing(admin, changes, field, status):
    vm = make_vm(host=make_host(), status=status)
    make_vm(cluster=vm.cluster, name="taken")
    before = VM.objects.filter(pk=vm.pk).values().get()
    with pytest.raises(FieldError) as refused:
        services.edit(admin, vm, {"description": "new"} | changes)
    assert refused.value.field == field
    assert VM.objects.filter(pk=vm.pk).values().get() == before


def test_a_selection_gets_an_answer_for_each_and_one_refusal_stops_no_other(admin):
    host = make_host()
    user = make_user()
    off, on, busy, hidden = (make_vm(host=host, name=name) for name in ("off", "on", "busy", "hidden"))
    VM.objects.filter(pk=on.pk).update(status=VmStatus.UP)
    on.refresh_from_db()
    services.act(admin, busy, "start")
    for vm in (off, on, busy):
        grant("UserRole", vm, user=user)
    results = {result.vm.name: result for result in services.bulk(user, [hidden, busy, on, off], "start")}
    assert results["off"].job.kind == "vm.start"
    assert [name for name, result in results.items() if result.job is None] == ["hidden", "busy", "on"]
    assert "vm.start" in results["hidden"].reason
    assert "Run busy" in results["busy"].reason
    assert "running already" in results["on"].reason


def test_a_selection_can_be_removed_with_or_without_its_disks(admin):
    host = make_host()
    storage = make_storage(data_center=host.cluster.data_center)
    vms = [make_vm(host=host) for _ in range(2)]
    disks = [make_disk(domain=storage) for _ in vms]
    for vm, disk in zip(vms, disks, strict=True):
        attach(vm, disk)
    [removed] = services.bulk(admin, vms[:1], "remove")
    [kept] = services.bulk(admin, vms[1:], "remove", keep_disks=True)
    assert set(Lock.objects.filter(job=removed.job).values_list("object_id", flat=True)) == {vms[0].pk, disks[0].pk}
    assert set(Lock.objects.filter(job=kept.job).values_list("object_id", flat=True)) == {vms[1].pk}


def test_disks_that_others_use_and_foreign_files_do_not_go_with_a_vm():
    host = make_host()
    storage = make_storage(data_center=host.cluster.data_center)
    vm, other = make_vm(host=host), make_vm(host=host)
    own, shared, golden = (make_disk(domain=storage) for _ in range(3))
    foreign, iso = make_disk(domain=None, host=host), make_disk(domain=storage, content=DiskContent.ISO)
    make_template(data_center=host.cluster.data_center, disks=[golden])
    for index, disk in enumerate((own, shared, golden, foreign, iso)):
        attach(vm, disk, f"vd{'abcde'[index]}")
    attach(other, shared)
    assert services.own_disks(vm) == [own]


def test_a_template_whose_disks_back_others_is_not_removed_and_names_them(admin, cluster):
    template = Template.objects.get(name="tiny")
    vm, _job = services.create(admin, new(cluster, template=template))
    with pytest.raises(NotPossible, match="web-01"):
        services.remove_template(admin, template)
