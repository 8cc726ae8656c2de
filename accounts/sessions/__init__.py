"""Who is signed in, from where, and for how long."""
