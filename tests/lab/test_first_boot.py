"""First boot settings on real hosts: a CD that is made, made anew and deleted with its VM."""

import io

import pycdlib
import pytest
import yaml

from accounts.keys.services import add as keep_key
from accounts.permissions import grant
from hosts.connect import link_of
from hypervisor import domains
from jobs.models import JobStatus
from storage.models import Disk
from tests.build import make_user
from tests.lab.test_every_step import breaking, changed, twice
from tests.lab.test_vm_jobs import act, create
from vms import services
from vms.guest import first_boot
from vms.guest.settings import FirstBoot, SetUpBy
from vms.models import VM, VmStatus
from vms.services import NewVm

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGzOhjE7ULjC1pdrXGx2mJLxbF0dUCXKYe3KAuWDlGnf"
CLOUD = FirstBoot(by=SetUpBy.CLOUD_INIT, user="alice", ssh_keys=(KEY,))


def seed_file(registered, vm):
    return registered.lab.shared / first_boot.seed_of(vm).disk.volume_name


def text_of(file, name):
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(file.read_bytes()))
    out = io.BytesIO()
    iso.get_file_from_iso_fp(out, rr_path=f"/{name}")
    iso.close()
    return yaml.safe_load(out.getvalue())


def definition(vm):
    return domains.get(link_of(vm.host), str(vm.pk)).xml


def test_the_cd_lives_and_dies_with_its_vm(registered):
    vm = create(registered, first_boot=CLOUD, start=True)
    file = seed_file(registered, vm)
    nic = vm.nics.get()
    assert text_of(file, "user-data")["users"][0]["ssh_authorized_keys"] == [KEY]
    assert text_of(file, "network-config")["ethernets"]["nic1"]["match"]["macaddress"] == nic.mac
    assert str(file.name) in definition(vm) and "<target dev='sdb' bus='scsi'/>" in definition(vm)
    first = text_of(file, "meta-data")["instance-id"]

    assert first_boot.change(registered.admin, vm, FirstBoot(by=SetUpBy.CLOUD_INIT, user="bob")) is None
    assert text_of(file, "meta-data")["instance-id"] == first, "its guest still reads the CD"
    act(registered, vm, "poweroff")
    act(registered, vm, "start")
    assert text_of(file, "user-data")["users"][0]["name"] == "bob"
    assert text_of(file, "meta-data")["instance-id"] != first
    act(registered, vm, "poweroff")

    job = registered.run(services.remove(registered.admin, vm, keep_disks=True))
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert not file.exists()
    assert [disk.name for disk in Disk.objects.filter(templates=None)] == ["web-01_disk1"]


def test_a_vm_gets_its_cd_later_and_loses_it_again(registered):
    vm = create(registered)
    job = registered.run(first_boot.change(registered.admin, vm, CLOUD))
    assert job.status == JobStatus.SUCCEEDED, job.error
    file = seed_file(registered, vm)
    assert str(file.name) in definition(vm) and text_of(file, "user-data")["users"][0]["name"] == "alice"
    with changed("vm.first_boot", twice):
        job = registered.run(first_boot.change(registered.admin, vm, FirstBoot()))
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert not file.exists() and str(file.name) not in definition(vm)
    assert first_boot.seed_of(vm) is None
    act(registered, vm, "start")
    vm.refresh_from_db()
    assert vm.status == VmStatus.POWERING_UP


@pytest.mark.parametrize("step", ["seed", "settle"])
def test_a_create_that_fails_leaves_no_cd(registered, step):
    before = {file.name for file in registered.lab.shared.iterdir()}
    with changed("vm.create", lambda steps: breaking(step, True)(twice(steps))):
        new = NewVm(name="web-01", cluster=registered.cluster, template=registered.template, memory_mib=128, first_boot=CLOUD, start=True)
        _vm, job = services.create(registered.admin, new)
        assert registered.run(job).status == JobStatus.FAILED
    assert {file.name for file in registered.lab.shared.iterdir()} == before
    assert not VM.objects.exists() and not Disk.objects.filter(templates=None).exists()


def test_a_self_service_user_finds_their_keys_in_the_machine(registered, client):
    user = make_user("ann.lee")
    keep_key(user, f"{KEY} laptop")
    registered.template.set_up_by = SetUpBy.CLOUD_INIT
    registered.template.save()
    for role, on in (("VmCreator", registered.cluster), ("TemplateUser", registered.template), ("VmCreator", registered.shared)):
        grant(role, on, user=user)
    client.force_login(user)
    answer = client.post("/my/new/", {"template": registered.template.pk, "name": "mine", "size": ""})
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    from jobs.models import Job

    job = registered.run(Job.objects.get(kind="vm.create"))
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    (told,) = text_of(seed_file(registered, VM.objects.get(name="mine")), "user-data")["users"]
    assert (told["name"], told["ssh_authorized_keys"]) == ("ann-lee", [KEY])
