"""Each step of "create VM" and "make template" broken in turn, and each done twice: all is there in the end, or nothing."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from jobs import kinds
from jobs.errors import StepFailed
from jobs.models import JobStatus
from storage.models import Disk, DiskStatus
from tests.lab.test_recovery import assert_made, assert_nothing_left, volumes_of
from tests.lab.test_vm_jobs import create
from vms import services
from vms.models import VM, Template
from vms.services import NewVm


@contextmanager
def changed(name, change):
    """The kind of job with other steps."""
    kind = kinds.kind_of(name)
    kinds.register(name, change(kind.steps(None)), cancellable=kind.cancellable, on_end=kind.on_end)
    try:
        yield
    finally:
        kinds.register(name, kind.steps, cancellable=kind.cancellable, on_end=kind.on_end)


def breaking(broken, done):
    """The steps, one of which fails: after its work when it is `done`, or before it."""

    def do_of(step):
        def do(context):
            if done:
                step.do(context)
            raise StepFailed(f"{step.name} broke")

        return do

    return lambda steps: [replace(step, do=do_of(step)) if step.name == broken else step for step in steps]


def twice(steps):
    def do_of(step):
        def do(context):
            step.do(context)
            step.do(context)

        return do

    def undo_of(step):
        def undo(context):
            step.undo(context)
            step.undo(context)

        return undo

    return [replace(step, do=do_of(step), undo=undo_of(step) if step.undo else None) for step in steps]


def names_of(kind):
    return [step.name for step in kinds.kind_of(kind).steps(None)]


@pytest.mark.parametrize("place", ["shared", "local"])
def test_whichever_step_of_a_create_fails_nothing_is_left(registered, place):
    domain = getattr(registered, place)
    for step in names_of("vm.create"):
        for done in (False, True):
            with changed("vm.create", lambda steps, step=step, done=done: breaking(step, done)(twice(steps))):
                new = NewVm(
                    name="web-01", cluster=registered.cluster, template=registered.template, memory_mib=128, storage_domain=domain, start=True
                )
                _vm, job = services.create(registered.admin, new)
                job = registered.run(job)
            assert (job.status, job.error) == (JobStatus.FAILED, f"{step} broke")
            assert not job.steps.filter(status="undo_failed").exists()
            assert_nothing_left(registered)
            for node in registered.lab.nodes():
                assert list((node.root / "local").iterdir()) == []


def test_a_create_whose_every_step_is_done_twice_is_made_once(registered):
    with changed("vm.create", twice):
        new = NewVm(name="web-01", cluster=registered.cluster, template=registered.template, memory_mib=128, start=True)
        vm, job = services.create(registered.admin, new)
        registered.run(job)
    assert_made(registered, (vm.pk, job.pk))


def test_whichever_step_of_a_template_fails_only_the_vm_is_left(registered):
    vm = create(registered)
    before = set(Disk.objects.all()), volumes_of(registered)
    for step in names_of("template.create"):
        for done in (False, True):
            with changed("template.create", breaking(step, done)):
                job = registered.run(services.make_template(registered.admin, vm, "golden"))
            assert (job.status, job.error) == (JobStatus.FAILED, f"{step} broke")
            assert list(Template.objects.all()) == [registered.template]
            assert (set(Disk.objects.all()), volumes_of(registered)) == before


def test_every_step_done_twice_makes_one_template_and_removes_one_vm(registered):
    vm = create(registered)
    with changed("template.create", twice):
        job = registered.run(services.make_template(registered.admin, vm, "golden"))
    assert job.status == JobStatus.SUCCEEDED, job.error
    made = Template.objects.get(name="golden").disks.get()
    assert made.status == DiskStatus.OK
    with changed("vm.remove", twice):
        job = registered.run(services.remove(registered.admin, vm))
    assert job.status == JobStatus.SUCCEEDED, job.error
    assert not VM.objects.exists()
    assert volumes_of(registered) == [made.volume_name]
