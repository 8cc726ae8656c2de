"""The kinds of job that VMs and templates have: importing this registers them."""

from vms import jobs_change, jobs_create, jobs_run
from vms.migration import jobs as migration

__all__ = ["jobs_change", "jobs_create", "jobs_run", "migration"]
