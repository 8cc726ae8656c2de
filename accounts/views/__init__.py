"""Pages of accounts: signing in, one's own account, users and groups, grants."""
