import pytest

from accounts.permissions import grant
from accounts.quotas import services
from accounts.quotas.models import Quota, Resource
from hosts.models import QuotaMode
from storage.models import StorageDomain
from tests.build import make_cluster, make_disk, make_host, make_storage, make_template, make_user
from vms.services import NewVm


class Site:
    """A data center that enforces quotas, a cluster with a template of 1 GiB, and somebody who may make VMs there."""

    def __init__(self) -> None:
        self.cluster = make_cluster(name="Default")
        self.data_center = self.cluster.data_center
        make_host(name="node1", cluster=self.cluster)
        self.storage: StorageDomain = make_storage(name="shared", data_center=self.data_center)
        self.template = make_template(name="tiny", data_center=self.data_center, disks=[make_disk(domain=self.storage)])
        self.root = make_user("root", role="SuperUser")
        self.eve = make_user("eve", role="VmCreator", on=self.data_center)
        grant("TemplateUser", self.template, user=self.eve)
        self.set_mode(QuotaMode.ENFORCED)

    def set_mode(self, mode: str) -> None:
        services.set_mode(self.root, self.data_center, mode)
        self.data_center.refresh_from_db()

    def quota(self, *, holder=None, name="small", places=None, **limits: int) -> Quota:
        """Limits by resource; `places`: (resource, id of a cluster or storage domain) -> amount."""
        wanted = {(Resource(resource), None): amount for resource, amount in limits.items()} | (places or {})
        grace = {"compute_grace": 0, "storage_grace": 0}
        made = services.save(self.root, Quota(name=name, data_center=self.data_center, **grace), wanted)
        services.add_holder(self.root, made, user=holder or self.eve)
        return made

    def new(self, name="web-01", **fields) -> NewVm:
        return NewVm(**{"name": name, "cluster": self.cluster, "template": self.template, "memory_mib": 512, "vcpus": 1} | fields)


@pytest.fixture
def site(db) -> Site:
    return Site()
