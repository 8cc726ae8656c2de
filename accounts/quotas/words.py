"""How amounts and limits are written for people."""

from accounts.quotas.models import QuotaLimit, Resource
from portal.templatetags.vireo import mib, size


def amount(resource: str, value: int) -> str:
    """«4», «4 GiB»: without the resource's name."""
    if resource == Resource.MEMORY:
        return str(mib(value))
    return str(size(value)) if resource == Resource.STORAGE else str(value)


def counted(resource: str, value: int) -> str:
    """«4 vCPUs», «1 VM», «4 GiB of memory»."""
    if resource in (Resource.MEMORY, Resource.STORAGE):
        return f"{amount(resource, value)} of {Resource(resource).label.lower()}"
    label = "snapshots" if resource == Resource.SNAPSHOTS else Resource(resource).label
    return f"{value} {label[:-1] if value == 1 else label}"


def place(limit: QuotaLimit) -> str:
    """« in cluster Default», or nothing for the whole data center."""
    if limit.cluster is not None:
        return f" in cluster {limit.cluster}"
    return f" in storage domain {limit.storage_domain}" if limit.storage_domain is not None else ""


def refusal(limit: QuotaLimit, used: int, more: int, grace: int, subject: str) -> str:
    """Why it cannot be had, in numbers."""
    resource = limit.resource
    allows = f"Quota {limit.quota} allows {counted(resource, limit.amount)}{place(limit)}"
    if grace:
        allows += f", and {grace} % more for a while"
    is_or_are = "is" if used == 1 and resource in (Resource.VMS, Resource.VCPUS, Resource.SNAPSHOTS) else "are"
    if resource in (Resource.VMS, Resource.SNAPSHOTS):
        return f"{allows}; {used} {is_or_are} used."
    return f"{allows}; {amount(resource, used)} {is_or_are} used and {subject} needs {amount(resource, more)}."
