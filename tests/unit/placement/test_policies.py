"""Policies are data: the predefined ones stay, copies of them are changed, and a cluster follows what it has."""

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from hosts.policies import remove
from hosts.scheduling import policies
from hosts.scheduling.models import SchedulingPolicy
from hosts.scheduling.weights import WEIGHTS
from portal.errors import FieldError, NotPossible
from tests.build import make_cluster, make_host, make_user, make_vm
from vms.models import VmStatus
from vms.placement.services import choose

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


def test_the_predefined_are_there_and_stay(admin):
    assert set(SchedulingPolicy.objects.values_list("name", flat=True)) == set(policies.PREDEFINED)
    assert set(policies.WORDS) == set(WEIGHTS)
    even = SchedulingPolicy.objects.get(name="Even")
    for verb in (lambda: policies.save(admin, even, {}), lambda: remove(admin, even)):
        with pytest.raises(NotPossible, match="predefined"):
            verb()
    policies.ensure_predefined()
    assert SchedulingPolicy.objects.count() == len(policies.PREDEFINED)


def test_a_cluster_follows_its_policy(admin):
    cluster = make_cluster()
    full, _empty = make_host(name="full", cluster=cluster), make_host(name="empty", cluster=cluster)
    make_vm(host=full, memory_mib=1024, status=VmStatus.UP)
    cluster.policy = SchedulingPolicy.objects.get(name="Packed")
    cluster.save()
    assert choose(make_vm(cluster=cluster, host=None, status=VmStatus.DOWN)) == full
    own = policies.save(admin, SchedulingPolicy(name="Ours"), {"even": 5, "packed": 0})
    assert own.weights == {"even": 5}
    cluster.policy = own
    cluster.save()
    assert choose(make_vm(cluster=cluster, host=None, status=VmStatus.DOWN)) != full
    with pytest.raises(NotPossible, match=f"Ours is the policy of {cluster.name}"):
        remove(admin, own)


@pytest.mark.parametrize("weights", [{"even": 11}, {"even": -1}, {"patience": 1}])
def test_an_impossible_factor_is_refused(admin, weights):
    with pytest.raises(FieldError):
        policies.save(admin, SchedulingPolicy(name="Ours"), weights)


@pytest.mark.parametrize("fields", [{"memory_overcommit": 50}, {"memory_overcommit": 500}, {"spare_hosts": 17}, {"cpu_overcommit": 101}])
def test_an_impossible_limit_is_refused(admin, fields):
    with pytest.raises(ValidationError):
        policies.save(admin, SchedulingPolicy(name="Ours", **fields), {})


def test_a_name_is_taken_once_and_only_who_edits_clusters_makes_one(admin):
    with pytest.raises(FieldError, match="already"):
        policies.save(admin, SchedulingPolicy(name="EVEN"), {})
    with pytest.raises(PermissionDenied):
        policies.save(make_user("eve"), SchedulingPolicy(name="Mine"), {})
