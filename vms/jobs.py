"""The kinds of job that VMs and templates have: importing this registers them."""

from vms import jobs_change, jobs_create, jobs_run
from vms.guest import jobs as guest_jobs
from vms.guest import steps as guest_steps
from vms.migration import jobs as migration

__all__ = ["guest_jobs", "guest_steps", "jobs_change", "jobs_create", "jobs_run", "migration"]
