"""The guest agent of a real guest: told, asked, frozen and thawed."""

from datetime import timedelta

from django.utils import timezone

from hosts.connect import link_of
from hypervisor import guest_agent
from jobs.models import Job, JobStatus
from tests.lab.test_vm_jobs import create, guest_answers
from tests.waiting import until
from vms.guest import services
from vms.guest.models import GuestPassword, GuestReport
from vms.models import VM


def ask(registered, vm, action, **options):
    return registered.run(services.act(registered.admin, vm, action, **options))


def test_the_agent_tells_and_does(registered):
    vm = create(registered, start=True)
    until(lambda: guest_answers(vm), 60, "the guest's agent to answer")
    vm.guest_hostname = "tiny"
    vm.save()

    job = ask(registered, vm, "look")
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    facts = services.report_of(vm).facts
    assert facts["hostname"] == "tiny"
    assert [nic["mac"] for nic in facts["nics"] if nic["name"] == "eth0"] == [vm.nics.get().mac]

    code, said = guest_agent.execute(link_of(vm.host), str(vm.pk), "/bin/sh", ("-c", "echo hello; exit 3"), 20)
    assert (code, said) == (3, "hello\n")
    code, _said = guest_agent.execute(
        link_of(vm.host),
        str(vm.pk),
        "/bin/sh",
        ("-c", "echo root:x:0:0::/root:/bin/sh > /etc/passwd; echo root:x::::::: > /etc/shadow"),
        20,
    )
    assert code == 0

    job = ask(registered, vm, "seal")
    assert job.status == JobStatus.FAILED and "no cloud-init" in job.error

    job = ask(registered, vm, "freeze", seconds=30)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.error_detail)
    until_then = services.report_of(vm).frozen_until
    assert timedelta(0) < until_then - timezone.now() <= timedelta(seconds=30)
    GuestReport.objects.filter(vm=vm).update(frozen_until=timezone.now())
    assert services.thaw_due() == 1
    thaw = registered.run(Job.objects.get(kind="vm.guest_thaw"))
    assert thaw.status == JobStatus.SUCCEEDED, (thaw.error, thaw.error_detail)
    assert services.report_of(vm).frozen_until is None

    job = ask(registered, vm, "password", account="nobody-here", password="x")
    assert job.status == JobStatus.FAILED and "nobody-here" in job.error
    assert not GuestPassword.objects.exists(), "it is forgotten however the job ends"


def test_an_agent_that_does_not_answer_is_named(registered):
    vm = create(registered, start=True)
    VM.objects.filter(pk=vm.pk).update(guest_hostname="tiny")
    vm.refresh_from_db()
    job = ask(registered, vm, "time")  # it has only begun to boot
    assert job.status == JobStatus.FAILED
    assert job.error == "The guest agent of web-01 does not answer."
