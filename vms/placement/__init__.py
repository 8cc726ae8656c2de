"""Where VMs run: rows in, the scheduler's answer out, stored so that it can be explained."""
