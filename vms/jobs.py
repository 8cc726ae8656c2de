"""The kinds of job that VMs and templates have: importing this registers them."""

from vms import hotplug, jobs_change, jobs_create, jobs_run
from vms.disks import jobs as jobs_disks
from vms.disks import resize, sparsify, transfer_jobs
from vms.guest import jobs as guest_jobs
from vms.guest import steps as guest_steps
from vms.ha import jobs as ha_jobs
from vms.ha import leftovers
from vms.migration import jobs as migration
from vms.ova import jobs as ova_jobs
from vms.snapshots import copies as jobs_copies
from vms.snapshots import jobs as jobs_snapshots

__all__ = [
    "guest_jobs",
    "guest_steps",
    "ha_jobs",
    "hotplug",
    "jobs_change",
    "jobs_copies",
    "jobs_create",
    "jobs_disks",
    "jobs_run",
    "jobs_snapshots",
    "leftovers",
    "migration",
    "ova_jobs",
    "resize",
    "sparsify",
    "transfer_jobs",
]
