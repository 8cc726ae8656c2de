"""Where VMs run: pure functions over a snapshot of a cluster. Rows become the snapshot in vms.placement."""
