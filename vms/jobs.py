"""The kinds of job that VMs and templates have: importing this registers them."""

from vms import jobs_change, jobs_create, jobs_run
from vms.snapshots import copies as jobs_copies
from vms.snapshots import jobs as jobs_snapshots

__all__ = ["jobs_change", "jobs_copies", "jobs_create", "jobs_run", "jobs_snapshots"]
