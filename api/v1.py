"""REST v1: the routes together, their authentication and their errors."""

from ninja import NinjaAPI

from api import problems
from api.auth import AUTH
from api.routes import audit, disks, guest, images, instance_types, inventory, jobs, people, pools, power, quotas, snapshots, uploads, vms

api = NinjaAPI(
    title="Vireo",
    version="1",
    urls_namespace="api",
    auth=AUTH,
    docs_url=None,  # its page loads scripts from elsewhere; ours is api.pages.reference
    openapi_url="/openapi.json",
    description="Everything that a page does, by the same services. Lists answer {items, count}; an action answers 202 with its job.",
)
problems.install(api)
# Before the VMs' own, which take any word after an id for an action.
api.add_router("", disks.router)
api.add_router("", guest.router)
api.add_router("/vms", snapshots.router)
api.add_router("/vms", vms.router)
api.add_router("/pools", pools.router)
api.add_router("", power.router)  # before the hosts' own, for the same reason
api.add_router("", inventory.router)
api.add_router("", instance_types.router)
api.add_router("", people.router)
api.add_router("", quotas.router)
api.add_router("", images.router)
api.add_router("", uploads.router)
api.add_router("", jobs.router)
api.add_router("", audit.router)
