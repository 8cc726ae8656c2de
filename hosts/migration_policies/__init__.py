"""How the VMs of a cluster are moved, as data."""
