"""Adding, changing and removing hosts, before any host is asked."""

import pytest
from django.core.exceptions import PermissionDenied

from hosts import inventory, services
from hosts.models import Host, HostStatus
from jobs.errors import ObjectBusy
from jobs.models import Job
from portal.errors import FieldError, NotPossible
from tests.build import make_cluster, make_disk, make_host, make_storage, make_user, make_vm
from vms.models import VmStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin():
    return make_user(role="SuperUser")


def new_host(**fields):
    return services.NewHost(**{"name": "node1", "cluster": fields.get("cluster") or make_cluster(), "address": "192.0.2.11"} | fields)


def test_added_host_is_installing_and_has_a_job(admin):
    host, job = services.add(admin, new_host())
    assert host.status == HostStatus.INSTALLING
    assert (job.kind, job.object_id, job.user) == ("host.add", host.pk, admin)


def test_host_that_must_enrol_waits_without_a_job(admin):
    host, job = services.add(admin, new_host(enrol=True))
    assert job is None
    assert "enrolment command" in host.status_reason


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"address": ""}, "address"),
        ({"address": "a b"}, "address"),
        ({"address": "node;reboot"}, "address"),
        ({"address": "-oProxyCommand=x"}, "address"),
        ({"address": "10.0.0"}, "address"),
        ({"address": "0.0.0.0"}, "address"),
        ({"port": 70000}, "port"),
        ({"transport": "carrier pigeon"}, "transport"),
        ({"transport": "ssh", "ssh_user": "root;id"}, "ssh_user"),
    ],
)
def test_bad_input_is_refused_at_its_field(admin, fields, at_fault):
    with pytest.raises(FieldError) as refused:
        services.add(admin, new_host(**fields))
    assert refused.value.field == at_fault
    assert not Host.objects.exists()


def test_name_that_exists_is_refused_whatever_its_case(admin):
    make_host(name="Node1")
    with pytest.raises(FieldError) as refused:
        services.add(admin, new_host(name="node1"))
    assert refused.value.field == "name"


def test_address_that_exists_is_refused_and_names_the_host_that_has_it(admin):
    services.add(admin, new_host())
    with pytest.raises(FieldError, match="node1") as refused:
        services.add(admin, new_host(name="other"))
    assert refused.value.field == "address"


def test_usual_port_written_out_is_the_same_address(admin):
    services.add(admin, new_host())
    with pytest.raises(FieldError, match="node1"):
        services.add(admin, new_host(name="other", port=16514))


def test_only_who_may_create_hosts_in_the_cluster_adds_one():
    cluster = make_cluster()
    services.add(make_user(role="HostAdmin", on=cluster), new_host(cluster=cluster))
    with pytest.raises(PermissionDenied):
        services.add(make_user(role="HostAdmin", on=cluster), new_host(name="other", address="192.0.2.12"))


def test_second_click_on_activate_is_refused_because_the_host_is_busy(admin):
    host = make_host(status=HostStatus.MAINTENANCE)
    services.activate(admin, host)
    with pytest.raises((NotPossible, ObjectBusy), match="busy"):
        services.activate(admin, host)


def test_maintenance_names_the_vms_that_cannot_leave_and_why(admin):
    host = make_host()
    make_vm(host=host, cluster=host.cluster, name="web-01", status=VmStatus.UP)
    make_vm(host=host, cluster=host.cluster, name="frozen", status=VmStatus.PAUSED)
    make_vm(host=host, cluster=host.cluster, name="idle", status=VmStatus.DOWN)
    make_vm(host=host, cluster=host.cluster, name="asleep", status=VmStatus.SUSPENDED)
    with pytest.raises(NotPossible) as refused:
        services.maintenance(admin, host)
    assert refused.value.reason.startswith(f"2 VMs cannot leave {host.name}: frozen: it is paused; web-01: VMs move from host to host over TLS")
    assert "idle" not in refused.value.reason and "asleep" not in refused.value.reason


def test_maintenance_may_shut_down_what_cannot_leave(admin):
    host = make_host()
    make_vm(host=host, cluster=host.cluster, name="web-01", status=VmStatus.UP)
    job = services.maintenance(admin, host, shut_down=True)
    assert job.params == {"shut_down": True}
    assert [step.name for step in job.steps.all()] == ["prepare", "evacuate", "rest"]


def test_host_in_use_is_not_removed(admin):
    with pytest.raises(NotPossible, match="maintenance first"):
        services.remove(admin, make_host())


def test_dead_host_with_vms_that_may_still_run_is_not_removed(admin):
    host = make_host(status=HostStatus.NON_RESPONSIVE)
    make_vm(host=host, name="db", status=VmStatus.UNKNOWN)
    with pytest.raises(NotPossible, match="may still run"):
        services.remove(admin, host)


def test_host_with_local_disks_is_not_removed(admin):
    host = make_host(status=HostStatus.MAINTENANCE)
    make_disk(name="data", domain=make_storage(data_center=host.cluster.data_center, kind="local_dir"), host=host)
    with pytest.raises(NotPossible, match="data"):
        services.remove(admin, host)


def test_address_changes_only_out_of_use_and_is_then_tried(admin):
    host = make_host(transport="ssh", ssh_host_keys="ssh-ed25519 AAAA")
    with pytest.raises(NotPossible):
        services.edit(admin, host, {"address": "192.0.2.99"})
    host = Host.objects.get(pk=host.pk)
    host.status = HostStatus.NON_RESPONSIVE
    host.save()
    host, job = services.edit(admin, host, {"address": "192.0.2.99"})
    assert job.kind == "host.add"
    assert host.ssh_host_keys == ""


def test_edit_of_what_cannot_change_is_refused(admin):
    with pytest.raises(FieldError) as refused:
        services.edit(admin, make_host(), {"status": "up"})
    assert refused.value.field == "status"


def test_edit_without_a_difference_does_nothing(admin):
    host = make_host()
    assert services.edit(admin, host, {"name": host.name}) == (host, None)
    assert not Job.objects.exists()


def test_cluster_with_hosts_is_not_removed_and_says_which(admin):
    host = make_host()
    with pytest.raises(NotPossible, match=host.name):
        inventory.remove_cluster(admin, host.cluster)


def test_data_center_names_are_unique(admin):
    inventory.create_data_center(admin, "Berlin")
    with pytest.raises(FieldError):
        inventory.create_data_center(admin, "BERLIN")
