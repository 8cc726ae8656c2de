"""High availability: what ran on a host that is off, or crashed, runs again, and never twice."""
