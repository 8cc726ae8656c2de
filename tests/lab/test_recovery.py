"""Creating a VM while everything under it dies: it ends whole or not at all, with no disk, domain or lock left behind."""

import os
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass

import libvirt
import pytest
import redis
from django.conf import settings as django_settings
from kombu import Connection

from events.models import Event
from hosts.models import Host
from jobs import engine, runner
from jobs.models import Job, JobStatus, Lock
from jobs.tasks import run_job
from storage.models import Disk, DiskStatus
from tests.processes import running, worker
from tests.waiting import until
from vms import services
from vms.guest.settings import FirstBoot, SetUpBy
from vms.models import VM, VmStatus
from vms.services import NewVm

# Short, so that a dead worker's job is found soon; a worker serves no pages, so it need not load them to check them.
SOON = {"VIREO_JOB_STALE_SECONDS": "2", "VIREO_JOB_HEARTBEAT_SECONDS": "0.5", "CELERY_SKIP_CHECKS": "true"}
# Each step of vm.create, and what it changes in the world.
EFFECTS = {
    "place": "vms.observe.placed",
    "disks": "hypervisor.storage.create_volume",
    "seed": "hypervisor.storage.upload",
    "domain": "hypervisor.domains.define",
    "start": "hypervisor.domains.create",
    "settle": "vms.observe.created",
}
NAMES = ["web-01", "web-02", "web-03", "web-04", "web-05", "web-06"]
FOREIGN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""


@dataclass
class Held:
    """A worker that waits at a point."""

    process: object
    gate: object

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def let_on(self):
        self.gate.write_text("")


@contextmanager
def held_at(points, directory, **extra):
    """The worker once it holds a job at each of the points."""
    gate = directory / "gate"
    os.mkfifo(gate)
    hold = {"VIREO_TEST_HOLD_AT": ",".join(points), "VIREO_TEST_HOLD_DIR": str(directory)}
    command = ("-m", "tests.lab.worker_main", "--pool", "threads", "--concurrency", "6", "--loglevel", "WARNING")
    with running(*command, **hold, **(SOON | extra)) as process:
        until(lambda: len(list(directory.glob("held-*"))) == len(points), 30, f"the worker to be at {points}")
        yield Held(process, gate)


def submit(registered, name="web-01"):
    told = FirstBoot(by=SetUpBy.CLOUD_INIT, user="alice")
    new = NewVm(name=name, cluster=registered.cluster, template=registered.template, memory_mib=128, start=True, first_boot=told)
    vm, job = services.create(registered.admin, new)
    return vm.pk, job.pk


def ended(job, seconds=40):
    def row():
        found = Job.objects.get(pk=job)
        return found if found.status in JobStatus.finished() else None

    return until(row, seconds, "the job to end")


def domains_of(lab):
    """The ids of all domains, with the host of each."""
    found = []
    for node in lab.nodes():
        connection = libvirt.open(node.uri)
        found += [(domain.UUIDString(), node.name) for domain in connection.listAllDomains()]
        connection.close()
    return sorted(found)


def volumes_of(registered):
    """What lies in the shared directory beyond the template."""
    kept = {disk.volume_name for disk in registered.template.disks.all()}
    return sorted(file.name for file in registered.lab.shared.iterdir() if file.name not in kept)


def assert_made(registered, *asked):
    """Each (VM, job) is whole, and there is nothing else."""
    for vm, job in asked:
        row = Job.objects.get(pk=job)
        assert row.status == JobStatus.SUCCEEDED, (row.error, row.error_detail)
        assert Event.objects.filter(kind="job.succeeded", job_id=job).count() == 1
        assert VM.objects.get(pk=vm).status in (VmStatus.POWERING_UP, VmStatus.UP)
    assert domains_of(registered.lab) == sorted((str(vm), Host.objects.get(vms__pk=vm).name) for vm, _job in asked)
    disks = list(Disk.objects.filter(attachments__vm__in=[vm for vm, _job in asked]))
    assert {disk.status for disk in disks} == {DiskStatus.OK}
    assert volumes_of(registered) == sorted(disk.volume_name for disk in disks)
    assert not Lock.objects.exists()


def assert_nothing_left(registered, foreign=()):
    assert not VM.objects.exists()
    assert set(Disk.objects.all()) == set(registered.template.disks.all())
    assert domains_of(registered.lab) == sorted(foreign)
    assert volumes_of(registered) == []
    assert not Lock.objects.exists()


@pytest.mark.parametrize("step", EFFECTS)
def test_creates_whose_worker_is_killed_are_finished_by_another(registered, tmp_path, step):
    """One is killed before the step's effect, the other after it and before the step is noted as done."""
    asked = [submit(registered, name) for name in NAMES[:2]]
    with held_at([f"{EFFECTS[step]}:before", f"{EFFECTS[step]}:after"], tmp_path) as held, worker(**SOON):
        held.kill()
        for _vm, job in asked:
            ended(job)
    assert {job.attempts for job in Job.objects.filter(kind="vm.create")} == {2}
    assert_made(registered, *asked)


def test_cancelled_creates_whose_worker_is_killed_leave_nothing(registered, tmp_path, settings):
    """One in each step, with the step's work done and not yet noted; the next worker has to undo them."""
    asked = [submit(registered, name) for name in NAMES]
    with held_at([f"{step}:after" for step in EFFECTS], tmp_path) as held:
        held.kill()
    settings.JOB_STALE_SECONDS = 0
    for _vm, job in asked:
        engine.cancel(registered.admin, Job.objects.get(pk=job))
        assert runner.run(job)
        assert Job.objects.get(pk=job).status == JobStatus.CANCELLED
    assert_nothing_left(registered)


def test_a_create_that_is_cancelled_while_it_runs_leaves_nothing(registered, tmp_path):
    _vm, job = submit(registered)
    with held_at(["start:after"], tmp_path) as held:
        engine.cancel(registered.admin, Job.objects.get(pk=job))
        for _ in range(2):  # a heartbeat may be under way: the one after it carries the wish
            last = Job.objects.get(pk=job).heartbeat_at
            until(lambda last=last: Job.objects.get(pk=job).heartbeat_at > last, 10, "a heartbeat")
        held.let_on()
        assert ended(job).status == JobStatus.CANCELLED
    assert_nothing_left(registered)


def test_undos_whose_worker_is_killed_are_finished_by_another(registered, tmp_path):
    """Both hosts refuse the domains, for foreign ones have their names; the worker dies while it removes the disks."""
    foreign = []
    for node in registered.lab.nodes():
        connection = libvirt.open(node.uri)
        foreign += [(connection.defineXML(FOREIGN.format(name=name)).UUIDString(), node.name) for name in NAMES[:2]]
        connection.close()
    asked = [submit(registered, name) for name in NAMES[:2]]
    remove = "hypervisor.storage.delete_volume"
    with held_at([f"{remove}:before", f"{remove}:after"], tmp_path) as held, worker(**SOON):
        held.kill()
        for name, (_vm, job) in zip(NAMES, asked, strict=False):
            row = ended(job)
            assert row.status == JobStatus.FAILED
            assert name in row.error
    assert_nothing_left(registered, foreign)


def test_libvirtd_that_stops_under_a_create_fails_it_and_the_undo_waits_for_its_return(registered, tmp_path):
    vm, job = submit(registered)
    with held_at(["start:after"], tmp_path) as held:
        name = Host.objects.get(vms__pk=vm).name
        registered.lab.stop_libvirtd(name)
        try:
            held.let_on()
            waiting = until(lambda: Job.objects.filter(pk=job, status=JobStatus.QUEUED, undoing=True).first(), 40, "the undo to wait")
            assert waiting.error
            assert "Waits to undo" in waiting.message
            assert Lock.objects.filter(job=job).exists(), "what is half undone must stay locked"
        finally:
            registered.lab.start_libvirtd(name)
        assert ended(job).status == JobStatus.FAILED
    assert_nothing_left(registered)


def test_a_message_that_two_workers_get_is_run_once(registered, tmp_path):
    vm, job = submit(registered)
    patient = SOON | {"VIREO_JOB_STALE_SECONDS": "30"}
    with (
        held_at(["disks:after"], tmp_path, **patient) as held,
        worker(**patient),
        redis.Redis.from_url(django_settings.REDIS_URL) as broker,
    ):
        until(lambda: len([one for one in broker.client_list() if one["cmd"] == "brpop"]) == 2, 30, "both workers to listen")
        for _ in range(6):
            run_job.delay(str(job))
        until(lambda: broker.llen("celery") == 0 and broker.hlen("unacked") == 0, 10, "all messages to be taken")
        held.let_on()
        ended(job)
    assert Job.objects.get(pk=job).attempts == 1
    assert_made(registered, (vm, job))


@contextmanager
def private_redis(directory):
    """Its URL and how to start it again; without persistence, so each start is empty."""
    socket, started = directory / "redis.sock", []
    url = f"unix://{socket}"

    def ready():
        try:
            with redis.Redis.from_url(url) as client:
                return client.ping()
        except redis.RedisError:
            return False

    def restart():
        while started:
            process = started.pop()
            process.kill()
            process.wait(10)
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(directory)]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        until(ready, 10, "the private Redis")

    restart()
    try:
        yield url, restart
    finally:
        started[0].kill()
        started[0].wait(10)


def test_a_queued_create_survives_a_redis_that_comes_back_empty(registered, tmp_path, monkeypatch):
    with private_redis(tmp_path) as (url, restart), Connection(url.replace("unix://", "redis+socket://")) as broker:
        send = run_job.apply_async
        monkeypatch.setattr(run_job, "apply_async", lambda args, **options: send(args, connection=broker, **options))
        vm, job = submit(registered)
        with redis.Redis.from_url(url) as client:
            assert client.llen("celery") == 1, "the job must be queued there"
        with worker(REDIS_URL=url, **SOON) as listening:
            restart()
            with redis.Redis.from_url(url) as client:
                assert client.llen("celery") == 0
            ended(job)
            assert listening.poll() is None
    assert_made(registered, (vm, job))
