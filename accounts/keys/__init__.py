"""A user's SSH keys: the public halves, so that nobody has to look for them when a machine asks."""
