"""Random faults, by a seed, on a running Vireo with three real hosts; what must hold is looked at all the time, and after each."""
