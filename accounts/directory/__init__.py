"""Sign-in by a directory: who people are, and which of our groups theirs lead to."""
