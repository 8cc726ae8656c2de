"""The kinds of job that VMs and templates have: importing this registers them."""

from vms import jobs_change, jobs_create, jobs_run
from vms.disks import jobs as jobs_disks
from vms.disks import resize, transfer_jobs

__all__ = ["jobs_change", "jobs_create", "jobs_disks", "jobs_run", "resize", "transfer_jobs"]
