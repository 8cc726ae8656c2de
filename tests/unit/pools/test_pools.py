"""Pools: taking, giving back, keeping complete; twenty at once for the last machine."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection

from accounts.models import Grant, UserKey
from accounts.permissions import allowed, grant
from events.models import Event
from jobs.models import Job, Lock
from portal.errors import FieldError, NotPossible
from tests.build import make_cluster, make_disk, make_host, make_storage, make_template, make_user
from vms.guest.first_boot import settings_of
from vms.models import VM, Template, VmStatus
from vms.pools import services
from vms.pools.models import Pool
from vms.pools.sweep import sweep

pytestmark = pytest.mark.django_db


def jobs_end(status=VmStatus.DOWN):
    """What the workers would have done with the new machines, and with starts."""
    Lock.objects.all().delete()
    Job.objects.update(status="succeeded")
    VM.objects.filter(status=VmStatus.IMAGE_LOCKED).update(status=status)


class Site:
    def __init__(self, **fields):
        self.cluster = make_cluster(name="Default")
        make_host(name="node1", cluster=self.cluster)
        storage = make_storage(name="shared", data_center=self.cluster.data_center)
        self.template = make_template(name="tiny", data_center=self.cluster.data_center, disks=[make_disk(domain=storage)])
        self.root = make_user("root", role="SuperUser")
        self.pool = services.save(self.root, Pool(name="desk", cluster=self.cluster, template=self.template, **{"size": 2} | fields))
        self.eve = make_user("eve", role="VmPoolUser", on=self.pool)
        sweep()
        jobs_end()


@pytest.fixture
def site():
    return Site()


def test_the_sweep_makes_what_is_missing_once(site):
    assert sorted(site.pool.machines.values_list("name", flat=True)) == ["desk-1", "desk-2"]
    sweep()
    assert site.pool.machines.count() == 2
    site.pool.machines.first().delete()
    sweep()
    assert site.pool.machines.count() == 2


def test_the_keepers_own_keys_are_in_none_of_its_machines(site):
    UserKey.objects.create(user=site.root, name="k", public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5q", fingerprint="SHA256:k")
    Template.objects.update(set_up_by="cloud-init")
    Pool.objects.update(size=3)
    sweep()
    told = settings_of(VM.objects.get(name="desk-3"))
    assert told.by == "cloud-init" and told.ssh_keys == () and told.user == ""


def test_who_may_use_it_takes_one_which_runs_and_is_theirs_alone(site):
    vm = services.take(site.eve, site.pool)
    assert allowed(site.eve, "vm.console", vm) and not allowed(site.eve, "vm.edit", vm)
    assert Job.objects.filter(kind="vm.start", object_id=vm.pk).exists()
    assert VM.objects.visible_to(site.eve).count() == 1
    assert Event.objects.filter(kind="pool.taken", user=site.eve).exists()


def test_nobody_takes_more_than_is_theirs_or_than_there_is(site):
    services.take(site.eve, site.pool)
    with pytest.raises(NotPossible, match="You have 1 of desk already"):
        services.take(site.eve, site.pool)
    other, third = (make_user(name, role="VmPoolUser", on=site.pool) for name in ("other", "third"))
    services.take(other, site.pool)
    with pytest.raises(NotPossible, match="are taken"):
        services.take(third, site.pool)
    with pytest.raises(PermissionDenied):
        services.take(make_user("stranger"), site.pool)


def test_one_that_runs_is_taken_first(site):
    VM.objects.filter(name="desk-2").update(status=VmStatus.UP)
    assert services.take(site.eve, site.pool).name == "desk-2"
    assert not Job.objects.filter(kind="vm.start").exists()


def test_what_is_given_back_is_nobodys_and_is_made_anew(site):
    vm = services.take(site.eve, site.pool)
    jobs_end()
    VM.objects.filter(pk=vm.pk).update(status=VmStatus.UP)
    services.give_back(site.eve, VM.objects.get(pk=vm.pk))
    assert not allowed(site.eve, "vm.view", vm) and not Grant.objects.filter(user=site.eve, object_type="vm").exists()
    sweep()
    assert Job.objects.filter(kind="vm.poweroff", object_id=vm.pk).exists()
    assert site.pool.machines.filter(to_reset=False).count() == 2  # another is made meanwhile
    jobs_end()
    VM.objects.filter(pk=vm.pk).update(status=VmStatus.DOWN)
    sweep()
    assert Job.objects.filter(kind="vm.remove", object_id=vm.pk).exists()


def test_one_that_is_kept_goes_to_the_next_as_it_is():
    site = Site(stateless=False, size=1)
    vm = services.take(site.eve, site.pool)
    services.give_back(site.eve, VM.objects.get(pk=vm.pk))
    other = make_user("other", role="VmPoolUser", on=site.pool)
    assert services.take(other, site.pool) == vm


def test_only_who_has_it_or_keeps_the_pool_gives_it_back(site):
    vm = VM.objects.get(pk=services.take(site.eve, site.pool).pk)
    with pytest.raises(PermissionDenied):
        services.give_back(make_user("other", role="VmPoolUser", on=site.pool), vm)
    services.give_back(site.root, vm)
    with pytest.raises(NotPossible):
        services.give_back(site.eve, VM.objects.get(pk=vm.pk))


def test_some_run_before_they_are_taken():
    Site(size=3, prestarted=2)
    sweep()
    started = set(Job.objects.filter(kind="vm.start").values_list("object_id", flat=True))
    assert len(started) == 2
    VM.objects.filter(pk__in=started).update(status=VmStatus.UP)
    Lock.objects.all().delete()
    sweep()
    assert Job.objects.filter(kind="vm.start").count() == 2


def test_a_smaller_pool_loses_free_machines_alone(site):
    taken = services.take(site.eve, site.pool)
    jobs_end()
    site.pool.size = 1
    services.save(site.root, site.pool)
    sweep()
    assert list(site.pool.machines.filter(to_reset=False)) == [taken]


def test_a_pool_goes_when_nobody_has_any_of_it(site):
    vm = services.take(site.eve, site.pool)
    with pytest.raises(NotPossible, match="1 of its machines"):
        services.remove(site.root, site.pool)
    services.give_back(site.root, VM.objects.get(pk=vm.pk))
    services.remove(site.root, site.pool)
    assert not Pool.objects.exists() and VM.objects.filter(to_reset=True).count() == 2


@pytest.mark.parametrize("change", [{"size": 0}, {"size": 10_000}, {"prestarted": 9}, {"most_per_user": 0}, {"name": ""}])
def test_bad_pools_are_refused(site, change):
    for name, value in change.items():
        setattr(site.pool, name, value)
    with pytest.raises(FieldError):
        services.save(site.root, site.pool)


def test_a_template_of_another_is_refused(site):
    keeper = make_user("keeper", role="ClusterAdmin", on=site.cluster)
    foreign = make_template(name="foreign")
    with pytest.raises(FieldError) as error:
        services.save(keeper, Pool(name="x", cluster=site.cluster, template=foreign))
    assert error.value.field == "template"
    with pytest.raises(PermissionDenied):
        services.save(keeper, Pool(name="x", cluster=make_cluster(name="other"), template=site.template))


def test_pages(client, site):
    client.force_login(site.root)
    assert "desk" in client.get("/pools/").content.decode()
    body = {"name": "more", "cluster": site.cluster.pk, "template": site.template.pk, "size": 1, "prestarted": 0, "most_per_user": 1}
    assert client.post("/pools/new/", body | {"prestarted": 5}).status_code == 422
    assert client.post("/pools/new/", body).status_code == 302
    assert client.post(f"/pools/{site.pool.pk}/edit/", body | {"name": "desk", "size": 3}).status_code == 302
    client.force_login(site.eve)
    home = client.get("/").content.decode()
    assert "Take one" in home and "2 of 3 free" in home
    assert client.post(f"/pools/{site.pool.pk}/take/").headers["Location"].startswith("/vms/")
    home = client.get("/").content.decode()
    assert "Give back" in home and "give one back first" in home
    vm = VM.objects.get(taken_by=site.eve)
    assert client.post(f"/vms/{vm.pk}/give-back/").headers["Location"] == "/"
    assert client.get(f"/vms/{vm.pk}/").status_code == 404
    assert client.post(f"/pools/{Pool.objects.get(name='more').pk}/take/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_of_twenty_who_want_the_last_one_gets_it():
    site = Site(size=1)
    users = [make_user(f"user{number}") for number in range(20)]
    for user in users:
        grant("VmPoolUser", site.pool, user=user)
    gate = threading.Barrier(len(users))

    def ask(user) -> str:
        gate.wait(30)
        try:
            services.take(user, site.pool)
        except NotPossible as error:
            return str(error)
        finally:
            connection.close()
        return ""

    with ThreadPoolExecutor(len(users)) as together:
        answers = list(together.map(ask, users))
    assert answers.count("") == 1 and answers.count("All machines of desk are taken.") == 19
    assert VM.objects.exclude(taken_by=None).count() == 1
    assert Grant.objects.filter(object_type="vm", role__name="UserRole").count() == 1
