"""Verbs on domains, on libvirt's test driver."""

import pytest

from hypervisor import domains
from hypervisor.domain_xml import drift, from_xml, to_xml
from hypervisor.domains import DomainState
from hypervisor.errors import AlreadyExists, InvalidState, NotFound, NotSupported
from hypervisor.links import HostLink
from hypervisor.spec import DiskSpec, DomainSpec, Metadata

UUID = "6f1d5a5e-3c39-4f3c-9b0b-0d3a3b2b7c11"
CD = DiskSpec("", "sda", bus="scsi", device="cdrom", format="raw", readonly=True)
SPEC = DomainSpec(
    uuid=UUID, name="vm1", memory_mib=192, virt_type="test", cpu_mode="", disks=(CD,), metadata=Metadata("id1", "alice", ("a",))
)


def test_a_defined_domain_is_listed_shut_off_without_drift(test_host: HostLink) -> None:
    assert domains.define(test_host, to_xml(SPEC)) == UUID
    (record,) = domains.list_domains(test_host)
    assert (record.uuid, record.name, record.state, record.persistent) == (UUID, "vm1", DomainState.SHUTOFF, True)
    assert (record.has_managed_save, record.autostart) == (False, False)
    assert record == domains.get(test_host, UUID)
    assert drift(SPEC, from_xml(record.xml)) == ()
    assert from_xml(record.xml).metadata == SPEC.metadata


def test_the_states_of_a_run(test_host: HostLink) -> None:
    domains.define(test_host, to_xml(SPEC))
    domains.create(test_host, UUID)
    assert domains.state(test_host, UUID) == (DomainState.RUNNING, "booted")
    domains.suspend(test_host, UUID)
    assert domains.state(test_host, UUID) == (DomainState.PAUSED, "user")
    domains.resume(test_host, UUID)
    assert domains.state(test_host, UUID) == (DomainState.RUNNING, "unpaused")
    domains.shutdown(test_host, UUID)
    assert domains.state(test_host, UUID) == (DomainState.SHUTOFF, "shutdown")
    domains.create(test_host, UUID)
    domains.destroy(test_host, UUID)
    assert domains.state(test_host, UUID) == (DomainState.SHUTOFF, "destroyed")
    domains.undefine(test_host, UUID)
    assert domains.list_domains(test_host) == []


def test_a_second_start_is_refused_as_the_wrong_state(test_host: HostLink) -> None:
    domains.define(test_host, to_xml(SPEC))
    domains.create(test_host, UUID)
    with pytest.raises(InvalidState):
        domains.create(test_host, UUID)
    with pytest.raises(InvalidState):
        domains.create_once(test_host, to_xml(SPEC))


@pytest.mark.parametrize("verb", [domains.destroy, domains.suspend, domains.shutdown])
def test_stopping_what_does_not_run_is_the_wrong_state(test_host: HostLink, verb: object) -> None:
    domains.define(test_host, to_xml(SPEC))
    with pytest.raises(InvalidState):
        verb(test_host, UUID)  # type: ignore[operator]


@pytest.mark.parametrize("verb", [domains.get, domains.state, domains.create, domains.destroy, domains.undefine, domains.display])
def test_a_domain_that_is_not_there_is_not_found(test_host: HostLink, verb: object) -> None:
    with pytest.raises(NotFound):
        verb(test_host, UUID)  # type: ignore[operator]


def test_a_name_that_is_taken_is_said_so(test_host: HostLink) -> None:
    domains.define(test_host, to_xml(SPEC))
    other = to_xml(DomainSpec(uuid=UUID.replace("6f", "7f"), name="vm1", memory_mib=64, virt_type="test", cpu_mode=""))
    with pytest.raises(AlreadyExists):
        domains.define(test_host, other)


def test_running_once_leaves_the_definition(test_host: HostLink) -> None:
    domains.define(test_host, to_xml(SPEC))
    once = DomainSpec(uuid=UUID, name="vm1", memory_mib=64, virt_type="test", cpu_mode="")
    domains.create_once(test_host, to_xml(once))
    assert domains.state(test_host, UUID)[0] is DomainState.RUNNING
    assert from_xml(domains.get(test_host, UUID).xml).memory_mib == 192
    domains.destroy(test_host, UUID)
    assert from_xml(domains.get(test_host, UUID).xml).memory_mib == 192


def test_metadata_is_replaced_whole(test_host: HostLink) -> None:
    domains.define(test_host, to_xml(SPEC))
    wanted = Metadata("id2", "bob <1>", ("x", "y"))
    domains.set_metadata(test_host, UUID, wanted)
    assert from_xml(domains.get(test_host, UUID).xml).metadata == wanted


def test_a_screenshot_is_an_image(test_host: HostLink) -> None:
    domains.define(test_host, to_xml(SPEC))
    domains.create(test_host, UUID)
    mime, data = domains.screenshot(test_host, UUID)
    assert mime == "image/png"
    assert data.startswith(b"\x89PNG")


def test_what_the_driver_lacks_is_not_supported(test_host: HostLink) -> None:
    domains.define(test_host, to_xml(SPEC))
    domains.create(test_host, UUID)
    with pytest.raises(NotSupported):
        domains.agent_info(test_host, UUID)
    with pytest.raises(NotSupported):
        domains.change_media(test_host, UUID, "sda", "/x.iso")
    domains.destroy(test_host, UUID)
    with pytest.raises(NotSupported):
        domains.create(test_host, UUID, paused=True)


def test_media_of_a_drive_that_is_not_there(test_host: HostLink) -> None:
    domains.define(test_host, to_xml(SPEC))
    for target in ("sdz", "x']/..", ""):
        with pytest.raises(NotFound):
            domains.change_media(test_host, UUID, target, "/x.iso")


def test_a_domain_that_is_off_has_no_display(test_host: HostLink) -> None:
    domains.define(test_host, to_xml(SPEC))
    with pytest.raises(InvalidState):
        domains.display(test_host, UUID)


@pytest.mark.parametrize("password", ["", "123456789"])
def test_a_password_that_vnc_cannot_hold_is_refused(test_host: HostLink, password: str) -> None:
    with pytest.raises(ValueError):
        domains.set_graphics_password(test_host, UUID, password)


def test_memory_and_cpus_change_while_it_runs(test_host: HostLink) -> None:
    grown = DomainSpec(uuid=UUID, name="vm1", memory_mib=128, memory_max_mib=256, vcpus=1, vcpus_max=4, virt_type="test", cpu_mode="")
    domains.define(test_host, to_xml(grown))
    domains.create(test_host, UUID)
    domains.set_vcpus(test_host, UUID, 3)
    domains.set_memory(test_host, UUID, 256)
    live = from_xml(test_host.call(lambda connection: connection.lookupByUUIDString(UUID).XMLDesc()))
    assert (live.vcpus, live.memory_mib) == (3, 256)
