"""Logical networks: what is refused where, and what libvirt is told."""

import pytest

from jobs import runner
from jobs.models import JobStatus
from networks import on_host, services
from networks.models import Forward, Network
from portal.errors import FieldError, NotPossible
from tests.build import make_cluster, make_host, make_network, make_nic, make_user, make_vm
from vms.models import VmStatus


@pytest.fixture
def admin(db):
    return make_user(role="SuperUser")


def new(**fields):
    return services.NewNetwork(**{"name": "guests", "cluster": fields.get("cluster") or make_cluster()} | fields)


@pytest.mark.parametrize(
    "cidr", ["", "guests", "192.168.1.0", "192.168.1.1/24", "192.168.1.0/30", "10.0.0.0/8", "127.0.0.0/24", "224.0.0.0/24", "169.254.0.0/16", "fd00::/64", "240.0.0.0/24"]
)
def test_addresses_that_cannot_be_a_network_are_refused(admin, cidr):
    with pytest.raises(FieldError) as refused:
        services.create(admin, new(cidr=cidr))
    assert refused.value.field == "cidr"


def test_addresses_of_another_network_of_the_cluster_are_refused_with_its_name(admin):
    network = make_network(cidr="10.20.0.0/16")
    with pytest.raises(FieldError, match=network.name):
        services.create(admin, new(cluster=network.cluster, cidr="10.20.30.0/24"))
    services.create(admin, new(cidr="10.20.30.0/24"))


def test_name_that_exists_is_refused(admin):
    network = make_network(name="guests")
    with pytest.raises(FieldError) as refused:
        services.create(admin, new(cluster=network.cluster, name="Guests", cidr="10.20.30.0/24"))
    assert refused.value.field == "name"


def test_network_with_nics_is_not_removed(admin):
    network = make_network()
    make_nic(make_vm(), network)
    with pytest.raises(NotPossible, match="1 NIC of a VM is on"):
        services.remove(admin, network)


def test_addresses_do_not_change_under_a_running_vm(admin):
    network = make_network()
    make_nic(make_vm(status=VmStatus.UP), network)
    with pytest.raises(NotPossible, match="running VM"):
        services.edit(admin, network, {"cidr": "10.9.0.0/24"})


def test_name_changes_without_a_job(admin):
    network, job = services.edit(admin, make_network(), {"name": "lan"})
    assert (network.name, job) == ("lan", None)


def test_gateway_has_the_first_address_and_dhcp_the_rest():
    spec = on_host.spec_of(Network(name="x", cidr="10.1.2.0/29", forward=Forward.NAT))
    assert (spec.address, spec.dhcp_start, spec.dhcp_end, spec.forward) == ("10.1.2.1/29", "10.1.2.2", "10.1.2.6", "nat")
    assert len(spec.bridge) <= 15


@pytest.mark.django_db(transaction=True)
def test_network_is_defined_changed_and_removed_on_a_host(admin):
    from hosts.connect import link_of
    from hypervisor.networks import NetworkState, network_state

    host = make_host()
    network, job = services.create(admin, new(cluster=host.cluster, cidr="10.44.0.0/24", forward="isolated"))
    runner.run(job.pk)
    assert network_state(link_of(host), network.libvirt_name) == NetworkState.ACTIVE
    network, job = services.edit(admin, network, {"cidr": "10.45.0.0/24"})
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED, job.error
    job = services.remove(admin, network)
    runner.run(job.pk)
    assert network_state(link_of(host), network.libvirt_name) == NetworkState.MISSING
    assert not Network.objects.exists()
