"""Real libvirt hosts on one machine, each in its own network, mount and UTS namespace; and a tiny guest to run on them.

Called by: the management command, tests and benches. May call: hosts.pki, hypervisor, and (register.py alone) services.
"""
