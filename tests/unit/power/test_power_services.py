"""The verbs on a host's power: who may, what is kept, and what stays secret."""

import json
import socket
import threading

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from audit.models import Entry
from events.models import Event
from hosts.models import Host, HostStatus
from hosts.power import fencing, guests, services, state
from hosts.power.models import HostPower, PowerAgent
from hosts.power.policy import Decision
from jobs.models import Job
from portal.errors import NotPossible
from tests.build import make_host, make_user, make_vm
from tests.unit.power.conftest import make_agent
from vms.models import VmStatus

pytestmark = pytest.mark.django_db(transaction=True)
GIVEN = {"ip": "bmc1", "username": "root", "password": "hunter2"}


@pytest.fixture
def admin(db):
    return make_user(role="SuperUser")


def test_agents_secrets_are_encrypted_and_in_no_log(admin, host):
    added = services.add_agent(admin, host, "fence_redfish", GIVEN)
    added.refresh_from_db()
    assert added.secrets == {"password": "hunter2"}
    assert added.options == {"ip": "bmc1", "username": "root"}
    assert "hunter2" not in added.secret
    told = json.dumps([*Event.objects.values("kind", "details"), *Entry.objects.values()], default=str)
    assert "agent_added" in told and "hunter2" not in told


def test_secret_that_is_left_empty_stays_but_goes_to_no_other_device(admin, host):
    row = services.add_agent(admin, host, "fence_redfish", GIVEN)
    services.edit_agent(admin, row, {**GIVEN, "password": "", "username": "admin"})
    row.refresh_from_db()
    assert (row.options["username"], row.secrets) == ("admin", {"password": "hunter2"})
    for moved in ({"ip": "evil.example"}, {"plug": "2"}, {"ssl": False}):
        with pytest.raises(ValidationError) as refusal:
            services.edit_agent(admin, row, {**GIVEN, "password": "", **moved})
        assert "password" in refusal.value.error_dict
        with pytest.raises(ValidationError):
            services.test(admin, host, "fence_redfish", {**GIVEN, "password": "", **moved}, row)
    services.edit_agent(admin, row, {**GIVEN, "ip": "bmc2", "password": "other"})
    row.refresh_from_db()
    assert row.secrets == {"password": "other"}


def test_test_says_what_the_agent_answered_with_options_that_are_not_stored(admin, host, machines):
    answer = services.test(admin, host, "fence_redfish", {**GIVEN, "plug": "new"})
    assert (answer.ok, answer.state) == (True, "on")
    assert machines.actions() == [("new", "status")]
    assert host.power_agents.count() == 1


def test_order_of_agents_changes_by_one_place(admin, host):
    second = services.add_agent(admin, host, "fence_redfish", GIVEN)
    third = services.add_agent(admin, host, "fence_apc", GIVEN)
    services.move_agent(admin, third, up=True)
    services.move_agent(admin, third, up=True)
    services.move_agent(admin, third, up=True)
    assert [row.pk for row in host.power_agents.all()][0::2] == [third.pk, second.pk]
    services.move_agent(admin, third, up=False)
    services.remove_agent(admin, second)
    assert [row.agent for row in host.power_agents.all()] == ["fence_redfish", "fence_apc"]


def test_who_may_not_edit_or_maintain_the_host_may_nothing(host):
    other = make_user(role="HostAdmin", on=make_host())
    reader = make_user(role="ReadOnlyAdmin")
    row = host.power_agents.get()
    for user in (other, reader):
        for attempt in (
            lambda user=user: services.add_agent(user, host, "fence_redfish", GIVEN),
            lambda user=user: services.edit_agent(user, row, GIVEN),
            lambda user=user: services.remove_agent(user, row),
            lambda user=user: services.move_agent(user, row, True),
            lambda user=user: services.configure(user, host, False, None),
            lambda user=user: services.test(user, host, "fence_redfish", GIVEN),
            lambda user=user: services.switch(user, host, "power_off"),
            lambda user=user: services.switch(user, host, "power_status"),
            lambda user=user: services.confirm_off(user, host, host.name),
        ):
            with pytest.raises(PermissionDenied):
                attempt()


def test_proxy_is_another_host_by_ssh_that_one_may_edit(admin, host):
    helper = make_host(transport="ssh", test_uri="")
    mine = make_user(role="HostAdmin", on=host)
    with pytest.raises(PermissionDenied):
        services.configure(mine, host, True, helper)
    for wrong in (make_host(), host):
        with pytest.raises(ValidationError):
            services.configure(admin, host, True, wrong)
    services.configure(admin, host, False, helper)
    power = state.of(host)
    assert (power.enabled, power.proxy) == (False, helper)
    services.configure(mine, host, True, helper)
    helper.delete()
    assert HostPower.objects.get(host=host).proxy is None


@pytest.mark.parametrize(
    ("status", "running", "action", "allowed"),
    [
        (HostStatus.UP, 0, "power_off", False),
        (HostStatus.UP, 0, "power_status", True),
        (HostStatus.PREPARING_FOR_MAINTENANCE, 1, "power_restart", False),
        (HostStatus.MAINTENANCE, 0, "power_off", True),
        (HostStatus.MAINTENANCE, 1, "power_off", False),
        (HostStatus.NON_OPERATIONAL, 1, "power_restart", False),
        (HostStatus.NON_RESPONSIVE, 1, "power_restart", True),
        (HostStatus.FENCING, 0, "power_off", False),
        (HostStatus.DOWN, 0, "power_on", True),
        (HostStatus.UP, 0, "power_on", False),
    ],
)
def test_power_is_switched_only_where_that_harms_nobody(admin, host, status, running, action, allowed):
    Host.objects.filter(pk=host.pk).update(status=status)
    host.refresh_from_db()
    for _number in range(running):
        make_vm(cluster=host.cluster, host=host, status=VmStatus.UNKNOWN)
    if allowed:
        assert services.switch(admin, host, action).kind == f"host.{action}"
    else:
        with pytest.raises(NotPossible):
            services.switch(admin, host, action)


def test_host_without_agent_can_only_be_confirmed_by_hand(admin, machines):
    host = make_host(status=HostStatus.NON_RESPONSIVE)
    for action in ("power_on", "power_off", "power_restart", "power_status"):
        with pytest.raises(NotPossible, match="no fence agent"):
            services.switch(admin, host, action)
    assert services.confirm_off(admin, host, f" {host.name} ").kind == "host.confirm_off"


def test_confirmation_takes_the_hosts_name_and_a_host_that_does_not_answer(admin, host):
    with pytest.raises(NotPossible):
        services.confirm_off(admin, host, host.name)
    Host.objects.filter(pk=host.pk).update(status=HostStatus.NON_RESPONSIVE)
    host.refresh_from_db()
    with pytest.raises(ValidationError):
        services.confirm_off(admin, host, "yes")
    assert not Job.objects.exists()


class Greeter:
    """A server that says something to whoever connects, as QEMU's VNC does."""

    def __init__(self, words: bytes) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.words = words
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        try:
            while True:
                connection, _peer = self.socket.accept()
                connection.sendall(self.words)
                connection.close()
        except OSError:
            return


def test_guests_are_heard_by_their_vnc_servers_and_nothing_else_counts(host):
    qemu, web = Greeter(b"RFB 003.008\n"), Greeter(b"HTTP/1.1 400\r\n")
    host.address = "127.0.0.1"
    try:
        assert guests.answering(host, range(qemu.port, qemu.port + 1)) == 1
        assert guests.answering(host, range(web.port, web.port + 1)) == 0
    finally:
        qemu.socket.close()
        web.socket.close()


def test_host_without_agent_is_said_to_be_unfenced_once(machines):
    from django.utils import timezone

    host = make_host(status=HostStatus.NON_RESPONSIVE, last_seen_at=timezone.now())
    make_host(cluster=host.cluster, last_seen_at=timezone.now())
    for _sweep in range(3):
        fencing.sweep()
    assert Event.objects.filter(kind="host.not_fenced").count() == 1
    assert HostPower.objects.get(host=host).decision == Decision.UNCLAIMED
    Host.objects.filter(pk=host.pk).update(status=HostStatus.UP)
    fencing.sweep()
    assert HostPower.objects.get(host=host).decision == ""


def test_two_of_three_hosts_cut_at_once_are_not_fenced(machines):
    from datetime import timedelta

    from django.utils import timezone

    long_ago = timezone.now() - timedelta(hours=1)
    first = make_host(last_seen_at=long_ago)
    hosts = [first, *(make_host(cluster=first.cluster, last_seen_at=long_ago) for _number in range(2))]
    for host in hosts:
        make_agent(host)
    Host.objects.filter(pk__in=[host.pk for host in hosts[:2]]).update(status=HostStatus.NON_RESPONSIVE, status_since=long_ago)
    fencing.sweep()
    assert not Job.objects.exists()
    assert Event.objects.filter(kind="host.not_fenced", message__contains="2 of the cluster's 3 hosts").count() == 2
    assert PowerAgent.objects.count() == 3
