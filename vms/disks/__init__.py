"""The disks of a VM: attached, detached, limited, also while it runs."""
