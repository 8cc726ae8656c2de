"""The long-running observer: libvirt's events, statistics, liveness, the repair sweep. Hosts are shared out by lease.

Called by nobody; run as `manage.py watch`. May call: hypervisor, and the `observe` modules of the apps.
"""
