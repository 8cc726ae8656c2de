"""Machines that wait to be taken: who needs one takes it, and gives it back."""
