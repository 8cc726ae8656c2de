"""Moving running VMs between hosts."""
