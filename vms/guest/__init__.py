"""The guest's side of a VM: what it is told at its first boot, and what its agent tells and does."""
