"""REST v1: the routes together, their authentication and their errors."""

from ninja import NinjaAPI

from api import problems
from api.auth import AUTH
from api.routes import audit, disks, instance_types, inventory, jobs, people, pools, quotas, vms

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
api.add_router("", disks.router)  # before the VMs: theirs takes any word for an action
api.add_router("/vms", vms.router)
api.add_router("/pools", pools.router)
api.add_router("", inventory.router)
api.add_router("", instance_types.router)
api.add_router("", people.router)
api.add_router("", quotas.router)
api.add_router("", jobs.router)
api.add_router("", audit.router)
