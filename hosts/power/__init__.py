"""Switching hosts on and off through fence agents, and fencing those that do not answer."""
