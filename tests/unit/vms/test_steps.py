"""What the steps of VM jobs make of a host's refusals."""

import pytest

from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists, InvalidState
from hypervisor.spec import VolumeSpec
from jobs.errors import NotNow
from tests.build import make_disk
from vms import steps

pytestmark = pytest.mark.django_db
SPEC = VolumeSpec("copy.qcow2", 1 << 20, "qcow2")


class Copying:
    """Stands for the job's context."""

    def progress(self, done, total):
        """Copies tell how far they are."""


@pytest.fixture
def calls(monkeypatch):
    """What was asked of the host, by name; `answers` holds the errors it answers with, in turn."""
    made, answers = [], {}

    def fake(name, result=None):
        def call(*arguments, **options):
            made.append(name)
            if answers.get(name):
                raise answers[name].pop(0)
            return result

        monkeypatch.setattr(pools, name, call)

    fake("volume_names", frozenset())
    for name in ("refresh_pool", "copy_volume", "delete_volume"):
        fake(name)
    return made, answers


def test_a_source_that_another_host_made_is_looked_for_first(calls):
    made, _answers = calls
    steps.copy_volume(Copying(), None, "pool", make_disk(), SPEC)
    assert made == ["volume_names", "refresh_pool", "copy_volume"]


def test_half_a_copy_is_made_anew(calls):
    made, answers = calls
    answers["copy_volume"] = [AlreadyExists("copy.qcow2 is there")]
    steps.copy_volume(Copying(), None, "pool", make_disk(), SPEC)
    assert made[2:] == ["copy_volume", "delete_volume", "copy_volume"]


def test_a_copy_that_libvirtd_still_writes_for_a_dead_worker_is_waited_for(calls):
    _made, answers = calls
    answers["delete_volume"] = [InvalidState("volume 'copy.qcow2' is still being allocated.")]
    with pytest.raises(NotNow, match="still being allocated"):
        steps.delete_volume(None, "pool", "copy.qcow2")
